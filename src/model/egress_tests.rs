use proptest::prelude::*;

use super::*;

const ALL: Egress = Egress { ip: true, uuid: true, email: true, hex: true, max_length: None };

#[test]
fn what_is_to_be_hidden_is_hidden() {
    let cases = [
        ("mail bob.o-hara+x@mail.example.com, now", "mail <email>, now"),
        ("für jürgen@müller.de", "für <email>"),
        ("pod 550e8400-e29b-41d4-a716-446655440000 gone", "pod <uuid> gone"),
        ("x550E8400-E29B-41D4-A716-446655440000x", "x<uuid>x"),
        ("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.", "sha256:<hex:64>."),
        ("id 550e8400e29b41d4a716446655440000", "id <hex:32>"),
        ("dial tcp 10.0.0.1:8080: refused", "dial tcp <ip>:8080: refused"),
        ("from 192.168.1.255/24, 10.1.2.3-10.1.2.9.", "from <ip>/24, <ip>-<ip>."),
        ("at 010.001.000.009 and v1.2.3.4", "at <ip> and v<ip>"),
        ("addr=2001:db8::1 [fe80::1]:443", "addr=<ip> [<ip>]:443"),
        ("addr:fe80::1%eth0; id:fe80::2", "addr:<ip>%eth0; id:<ip>"),
        ("2001:db8:0:0:0:0:0:1:443 and ::1.", "<ip>:443 and <ip>."),
        ("peer ::ffff:10.0.0.1: closed", "peer <ip>: closed"),
        ("dial tcp fe80::1: refused, fe80::", "dial tcp <ip>: refused, <ip>"),
        ("postgres://app:<redacted>@db.example.com", "postgres://app:<redacted>@db.example.com"),
        ("bob@10.0.0.1", "bob@<ip>"),
    ];
    for (text, expected) in cases {
        assert_eq!(ALL.hide(text), expected, "{text:?}");
        assert_eq!(ALL.hide(expected), expected, "twice: {text:?}");
    }
}

#[test]
fn what_only_looks_alike_stays() {
    for text in [
        "at 12:34:56.789, line 3:14",
        "std::fade::Bed, a.rs:10:5",
        "1.3.6.1.4.1.311 and 300.1.2.3 and 1.2.3",
        "bob@localhost, a @ b, @media.x",
        "deadbeef 550e8400-e29b",
        "listening on [::]:8080",
        "aa:bb:cc:dd:ee:ff",
        "... :: . : .",
        "",
    ] {
        assert_eq!(ALL.hide(text), text);
    }
}

#[test]
fn each_row_is_a_choice_and_texts_are_cut_last_between_characters() {
    let text = "a@b.de 550e8400-e29b-41d4-a716-446655440000 550e8400e29b41d4a716446655440000 10.0.0.1 ü";
    let (mail, uuid, hex) = ("a@b.de", "550e8400-e29b-41d4-a716-446655440000", "550e8400e29b41d4a716446655440000");
    assert_eq!(Egress::default().hide(text), text);
    assert_eq!(Egress { ip: true, ..Egress::default() }.hide(text), format!("{mail} {uuid} {hex} <ip> ü"));
    assert_eq!(Egress { uuid: true, ..Egress::default() }.hide(text), format!("{mail} <uuid> {hex} 10.0.0.1 ü"));
    assert_eq!(Egress { email: true, ..Egress::default() }.hide(text), format!("<email> {uuid} {hex} 10.0.0.1 ü"));
    assert_eq!(Egress { hex: true, ..Egress::default() }.hide(text), format!("{mail} {uuid} <hex:32> 10.0.0.1 ü"));
    let all = "<email> <uuid> <hex:32> <ip> ü";
    assert_eq!(ALL.hide(text), all);
    assert_eq!(Egress { max_length: Some(all.len()), ..ALL }.hide(text), all);
    assert_eq!(Egress { max_length: Some(all.len() - 1), ..ALL }.hide(text), "<email> <uuid> <hex:32> <ip> ");
    assert_eq!(Egress { max_length: Some(0), ..ALL }.hide(text), "");
}

#[test]
fn what_a_cut_makes_an_address_is_hidden_too() {
    let most = |most| Egress { max_length: Some(most), ..ALL };
    assert_eq!(most(7).hide("1.2.3.4.5"), "<ip>");
    assert_eq!(most(20).hide("x@y.zz".repeat(9).as_str()).len(), 20);
}

#[test]
fn hostile_text_takes_linear_time() {
    for piece in ["1.", "a@", "::", "f:", "1.2.3.4", "a.", "0123456789abcdef", "550e8400-", ".@a", "ü"] {
        let text = piece.repeat((1 << 18) / piece.len());
        assert!(ALL.hide(&text).len() <= 2 * text.len());
    }
}

#[test]
fn labels_that_look_the_same_become_one() {
    let labels = Labels::try_new(["10.0.0.1", "10.0.0.2", "pod"].map(|name| (name.to_owned(), "10.0.0.3".to_owned())).into()).unwrap();
    let hidden = ALL.hide_labels(&labels);
    assert_eq!(hidden.iter().collect::<Vec<_>>(), [("<ip>", "<ip>"), ("pod", "<ip>")]);
}

fn piece() -> impl Strategy<Value = String> {
    let known = [
        "10.0.0.1",
        "1.",
        ".2",
        "255",
        "fe80::1",
        "::",
        ":",
        "abc",
        "550e8400-e29b-41d4-a716-446655440000",
        "-",
        "a@b.de",
        "@",
        ".de",
        "ü",
        "0123456789abcdef",
        "<ip>",
        "<hex:40>",
        "<",
        ">",
        "<redacted>",
        " ",
        "%",
        "x",
        "[",
        "]",
        "_",
    ];
    prop_oneof![proptest::sample::select(known.to_vec()).prop_map(str::to_owned), "[ -~]{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn hidden_twice_is_as_hidden_once(
        pieces in proptest::collection::vec(piece(), 0..16),
        (ip, uuid, email, hex) in any::<(bool, bool, bool, bool)>(),
        max_length in proptest::option::of(0..80_usize),
    ) {
        let egress = Egress { ip, uuid, email, hex, max_length };
        let text = pieces.concat();
        let once = egress.hide(&text);
        prop_assert_eq!(egress.hide(&once), once.as_ref());
        prop_assert!(max_length.is_none_or(|most| once.len() <= most));
    }
}
