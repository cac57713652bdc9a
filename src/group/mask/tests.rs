use proptest::prelude::*;

use super::*;

fn masked(line: &str) -> String {
    let mut out = String::new();
    mask(line.as_bytes(), &mut out);
    out
}

#[test]
fn each_shape_has_its_name() {
    let cases = [
        // Times.
        ("2026-01-02T03:04:05.678Z boot", "boot"),
        ("2026-01-02 03:04:05,678 +0100 boot", "boot"),
        ("at 2026-01-02T03:04:05+01:00 x", "at <TS> x"),
        ("since 2026/01/02 03:04:05, ok", "since <TS>, ok"),
        ("Jun 14 15:16:01 combo sshd[19939]: x", "combo sshd[<NUM>]: x"),
        ("Dec  1 06:55:46 host x", "host x"),
        ("[Sun Dec 04 04:47:44 2005] [error] x", "[<TS>] [error] x"),
        ("date: Mon, 02 Jan 2006 15:04:05 GMT.", "date: <TS>."),
        ("1.2.3.4 - - [02/Jan/2006:15:04:05 +0000] x", "<IP> - - [<TS>] x"),
        ("17/06/09 20:10:40 INFO x", "INFO x"),
        ("E0102 15:04:05.678901   12345 file.go:123] x", "E<TS> <NUM> file.go:<NUM>] x"),
        ("20171223-22:15:29:606|Step", "|Step"),
        ("20171223-22:15:0:6|Step", "|Step"),
        ("I may go, Mon is a day", "I may go, Mon is a day"),
        // Identifiers.
        ("id 550e8400-e29b-41d4-a716-446655440000.", "id <UUID>."),
        ("id deadbeef-E29B-41d4-A716-446655440000.", "id <UUID>."),
        ("trace 4bf92f3577b34da6a3ce929d0e0e4736", "trace <HEX>"),
        ("at 0x7ffe12ab, 0xFF", "at <HEX>, <HEX>"),
        ("commit a1b2c3d done", "commit <HEX> done"),
        ("feedback decade", "feedback decade"),
        ("mac de:ad:be:ef:00:01 up", "mac <MAC> up"),
        ("mac 00-1B-44-11-3A-B7 up", "mac <MAC> up"),
        ("pod api-7b9c4d6f8-xk2m3 died", "pod api-<POD> died"),
        ("pod web-5d8f7c6b9d-qwert died", "pod web-<POD> died"),
        ("pod kube-proxy-x7x9z died", "pod kube-proxy-<POD> died"),
        ("pod kube-proxy-bcdfg died", "pod kube-proxy-<POD> died"),
        ("my-nginx traefik-https", "my-nginx traefik-https"),
        ("key 01ARZ3NDEKTSV4RRFFQ69G5FAV x", "key <ID> x"),
        ("user=\"u-12345678\" x", "user=\"<STR>\" x"),
        // Addresses.
        ("dial tcp 10.1.2.3:5432: refused", "dial tcp <IP>: refused"),
        ("from fe80::1%eth0 and ::1 and [2001:db8::1]:443", "from <IP> and <IP> and [<IP>]:<NUM>"),
        ("0:0:0:0:0:0:0:1:2181 x", "<IP>:<NUM> x"),
        ("std::io::Error dead::beef", "std::io::Error dead::beef"),
        ("mail to jo.doe+x@example.co.uk.", "mail to <EMAIL>."),
        ("root@localhost x@", "root@localhost x@"),
        ("GET https://api.example.com/v1/users/42?x=1&y=2 failed", "GET https://api.example.com/v1/users/<NUM>?<QUERY> failed"),
        ("open /data/file12/part-3.log: x", "open /data/file<NUM>/part-<NUM>.log: x"),
        // Quantities.
        ("took 12ms, 1.5s, 1h30m0.5s, 350µs", "took <DUR>, <DUR>, <DUR>, <DUR>"),
        ("used 12MB of 1.5GiB, 95%", "used <SIZE> of <SIZE>, <NUM>%"),
        ("offset -12, 1.5, 1.5e-07, 3", "offset <NUM>, <NUM>, <NUM>, <NUM>"),
        ("nginx 1.25.3 and v1.2.3", "nginx <NUM> and v<NUM>"),
        ("blk_-6952295868487656571", "blk_<NUM>"),
        ("range 1-2", "range <NUM>-<NUM>"),
        // What says what happened stays.
        ("x509 ipv4 http2 P1 OOM2 sha256 k8s v1beta1 i18n", "x509 ipv4 http2 P1 OOM2 sha256 k8s v1beta1 i18n"),
        ("HTTP/1.1\" 404 17", "HTTP/1.1\" 404 <NUM>"),
        ("status=503 exit code 137 errno: -104 signal 9", "status=503 exit code 137 errno: -104 signal 9"),
        ("statusCode\":500", "statusCode\":500"),
        ("ORA-00942 ERROR 1045 (28000)", "ORA-00942 ERROR 1045 (<NUM>)"),
        ("E11000 duplicate key TS2304", "E11000 duplicate key TS2304"),
        ("error: 5 items, state 6", "error: <NUM> items, state <NUM>"),
        // White space and colour.
        ("  a   b\tc \r\n", "a b c"),
        ("\u{1b}[31merror\u{1b}[0m x", "error x"),
        ("naïve ☃ 5", "naïve ☃ <NUM>"),
        ("", ""),
    ];
    for (line, template) in cases {
        assert_eq!(masked(line), template, "{line:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_and_the_cut_falls_between_characters() {
    let mut out = String::from("old");
    mask(b"bad \xff\xfe byte 5", &mut out);
    assert_eq!(out, "bad \u{fffd}\u{fffd} byte <NUM>");
    for shift in 0..4 {
        let line = format!("{}{}", "a".repeat(shift), "ä☃🎉".repeat(200));
        let template = masked(&line);
        assert!(template.len() <= MAX_TEMPLATE && template.len() > MAX_TEMPLATE - 4);
        assert!(line.starts_with(&template));
    }
}

#[test]
fn a_huge_line_is_read_only_until_its_template_is_full() {
    let line = "word ".repeat(1 << 20);
    assert!(masked(&line).len() <= MAX_TEMPLATE);
    assert_eq!(masked(&"7".repeat(1 << 20)), "<NUM>");
}

proptest! {
    #[test]
    fn numbers_do_not_tell_templates_apart(a in 0u64.., b in 0u64.., word in "[a-z]{4,12}") {
        prop_assume!(!CODE_WORDS.iter().any(|(code, _)| word.as_bytes().ends_with(code)));
        prop_assert_eq!(masked(&format!("{word} {a} of {b}")), masked(&format!("{word} {b} of {a}")));
    }
}
