use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::group::redact_lines;
use crate::model::Egress;

const PEM: &str = "-----BEGIN RSA PRIVATE KEY-----";

#[test]
fn secrets_go() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_123";
    let cases = [
        (format!("got {jwt} from x"), "got <jwt> from x"),
        (format!("cut {}", &jwt[..20]), "cut <jwt>"),
        (format!("Authorization: Bearer {jwt}"), "Authorization: Bearer <jwt>"),
        ("Authorization: Bearer opaquetoken".into(), "Authorization: Bearer <token>"),
        (r#"{"authorization":"Basic dXNlcjpwYXNz"}"#.into(), r#"{"authorization":"Basic <token>"}"#),
        ("with bearer a1b2c3d4e5 sent".into(), "with bearer <token> sent"),
        ("password=hunter2 user=bob".into(), "password=<redacted> user=bob"),
        ("DB_PASSWORD: hunter, x".into(), "DB_PASSWORD: <redacted>, x"),
        ("?api_key=abc&x=1".into(), "?api_key=<redacted>&x=1"),
        ("api-key: abc apikey=\"a b\" pwd='x y'".into(), "api-key: <redacted> apikey=\"<redacted>\" pwd='<redacted>'"),
        (r#"{"password":"a\"b","user":"bob"}"#.into(), r#"{"password":"<redacted>","user":"bob"}"#),
        (r#"{"password":"a\\","user":"bob"}"#.into(), r#"{"password":"<redacted>","user":"bob"}"#),
        (r#"body="{\"token\":\"a\\\"b\",\"user\":\"bob\"}""#.into(), r#"body="{\"token\":\"<redacted>\",\"user\":\"bob\"}""#),
        ("\"client_secret\" => \"x\"".into(), "\"client_secret\" => \"<redacted>\""),
        ("userPassword=\"never ends".into(), "userPassword=\"<redacted>"),
        ("auth_token := abc; secret:abc".into(), "auth_token := <redacted>; secret:<redacted>"),
        ("{\"tokens\":1,\"token\":[\"abc\"]}".into(), "{\"tokens\":1,\"token\":[\"<redacted>\"]}"),
        ("secret={\"password\":\"x\"}".into(), "secret={\"password\":\"<redacted>\"}"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(), "aws_secret_access_key = <redacted>"),
        ("id AKIAIOSFODNN7EXAMPLE x".into(), "id <redacted> x"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789".into(), "<redacted>"),
        ("use github_pat_11ABCDEFG0abcdefghij_x".into(), "use <redacted>"),
        ("xoxb-123456789012-abcdef, glpat-abcdefghij0123456789".into(), "<redacted>, <redacted>"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv!".into(), "<redacted>!"),
        ("AccountName=a;AccountKey=abcd+/ef==;x".into(), "AccountName=a;AccountKey=<redacted>;x"),
        ("sk_live_abcdefgh1234 npm_abcdefghijklmnopqrstuvwxyz".into(), "<redacted> <redacted>"),
        ("exec mysql --password hunter2 -u bob".into(), "exec mysql --password <redacted> -u bob"),
        (
            "java -password hunter2; --token=abc --db-password 'a b'".into(),
            "java -password <redacted>; --token=<redacted> --db-password '<redacted>'",
        ),
        (r#"args: ["--api-key", "abc", "--token","--x"]"#.into(), r#"args: ["--api-key", "<redacted>", "--token","<redacted>"]"#),
        ("ALTER USER bob WITH PASSWORD 'a ''b'".into(), "ALTER USER bob WITH PASSWORD '<redacted>''b'"),
        (r#"login with password "a b" failed"#.into(), r#"login with password "<redacted>" failed"#),
        (r#"{"msg":"password \"a b\" refused"}"#.into(), r#"{"msg":"password \"<redacted>\" refused"}"#),
        ("sent Bearer abcdefghijklmnop to x".into(), "sent Bearer <token> to x"),
        ("postgres://bob:p@ss:w@db:5432/x".into(), "postgres://bob:<redacted>@db:5432/x"),
        ("redis://:hunter2@cache".into(), "redis://:<redacted>@cache"),
        ("client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJ/+VkFURQo= x".into(), "client-key-data: <redacted> x"),
        (r#"{"tls.key":"LS0tLS1CRUdJTiBSU0Eg","user":"bob"}"#.into(), r#"{"tls.key":"<redacted>","user":"bob"}"#),
        ("key%3ALS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg%3D%3D".into(), "key%3A<redacted>"),
        (format!("got LS0tLS1CRUdJTiB\\n{}\\nand so on", "QUJD".repeat(19)), "got <redacted>\\nand so on"),
        ("GET /in?next=%2Fx%3Fpassword%3Dhunter2%26user%3Dbob 500".into(), "GET /in?next=%2Fx%3Fpassword%3D<redacted>%26user%3Dbob 500"),
        ("token%3Dabc%2Fdef&x=1".into(), "token%3D<redacted>&x=1"),
        ("u=%252Fx%253Fapi_key%253dab%2526c%253D1".into(), "u=%252Fx%253Fapi_key%253d<redacted>%2526c%253D1"),
        ("%7B%22token%22%3A%22a%5C%22b%22%2C%22n%22%3A1%7D".into(), "%7B%22token%22%3A%22<redacted>%22%2C%22n%22%3A1%7D"),
        ("secret%3D%27a b".into(), "secret%3D%27<redacted> b"),
        (format!("key {PEM}\\nMIIE\\n-----END RSA PRIVATE KEY-----\\n end"), "key <redacted>\\n end"),
        (format!("key {PEM}\nMIIEpAIBAAKCAQEA\nnever ends"), "key <redacted>"),
    ];
    for (text, clean) in cases {
        assert_eq!(redact(&text), clean, "{text:?}");
        assert_eq!(redact(clean), clean, "twice: {text:?}");
    }
}

#[test]
fn what_only_speaks_of_secrets_stays_readable() {
    let cases = [
        "token expired",
        "secret \"db-credentials\" not found",
        "password authentication failed for user \"bob\"",
        "failed to refresh token: context deadline exceeded",
        "invalid token: signature is invalid",
        "error reading secret: not found",
        "couldn't get API key: Get \"https://x/y\": EOF",
        "max_tokens: 512, tokens=3",
        "secretName: db-credentials",
        "if token == nil",
        "password=null token: <nil>",
        "Access denied for user (using password: YES)",
        "Unexpected token } in JSON at position 0",
        "basic authentication failed",
        "bearer token missing",
        "bearer authentication failed",
        "WWW-Authenticate: Bearer error_description=\"expired\"",
        "password hunter",
        "user-password reset failed",
        "the flag --password is required",
        "--token --verbose",
        "Unexpected token \"x\" in JSON",
        "WWW-Authenticate: Bearer realm=\"https://auth\"",
        "GET http://host:8080/path@2x.png",
        "-----BEGIN CERTIFICATE-----",
        "unknown method tokenize: line 5",
        "token usage at 50%, secret 3%",
        "GET /in?next=%2Ftoken%2Frefresh 401",
        "LS0tLS1 is no key",
    ];
    for text in cases {
        assert_eq!(redact(text), text);
    }
}

#[test]
fn ordinary_lines_are_not_even_read_closely() {
    let lines = [
        "panic: runtime error: index out of range",
        "GET https://api.example.com/v1 500",
        "token expired",
        "connection to db:5432 refused",
    ];
    for line in lines {
        assert!(!may_hold_a_secret(line.as_bytes()), "{line:?}");
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    for piece in [
        "token=",
        "token%3D",
        "token%22%3A%22",
        "%252525",
        "LS0tLS1CRUdJTi",
        "token={",
        "token=\"",
        "token:'\\",
        "://a:",
        "eyJ",
        "bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "password      ",
        "--token x",
        "-token-",
        "password '",
        "password \\\\",
    ] {
        let text = piece.repeat((1 << 19) / piece.len());
        assert!(redact(&text).len() <= 2 * text.len());
    }
}

/// Lines as programs write them: those of the labelled sets where they are beside the project, and those of the examples.
fn real_lines() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("examples"), root.join("tests/corpus")];
    let labelled =
        ["../shared/data/loghub", "../../shared/data/loghub"].map(|place| root.join(place)).into_iter().find(|place| place.exists());
    match labelled {
        Some(folder) => folders.push(folder),
        None => eprintln!("the labelled sets are not here: the lines of the project alone are looked at"),
    }
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    let lines = files
        .filter_map(|file| fs::read(file).ok())
        .flat_map(|text| String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>());
    lines.collect()
}

#[test]
fn twice_is_once_for_the_lines_of_real_programs() {
    let lines = real_lines();
    assert!(lines.len() > 20, "there are lines");
    let egress = Egress { ip: true, uuid: true, email: true, hex: true, max_length: Some(120) };
    for line in &lines {
        let once = redact(line);
        assert_eq!(redact(&once), once, "{line}");
        let hidden = egress.hide(&once);
        assert_eq!(egress.hide(&hidden), hidden, "{line}");
    }
    for lines in lines.chunks(11) {
        let mut once = lines.to_vec();
        redact_lines(&mut once);
        let mut twice = once.clone();
        redact_lines(&mut twice);
        assert_eq!(twice, once);
    }
}

fn piece() -> impl Strategy<Value = String> {
    let known = [
        "password",
        "token",
        "secret",
        "api_key",
        "Bearer ",
        "basic ",
        "authorization:",
        "eyJhbGciOiJIUzI1NiJ9",
        "://u:",
        "@host",
        "sig=",
        "ghp_",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "AKIAIOSFODNN7EXAMPLE",
        "abcdefgh1234ABCD",
        "=",
        ":",
        " ",
        "\"",
        "\\",
        "'",
        "{",
        "}",
        "[",
        ",",
        "/",
        ".",
        "<redacted>",
        "<token>",
        "null",
        "expired",
        "\n",
        "ä",
        "=>",
        "==",
        "pwd",
        "--",
        "-",
        "_key",
        "?",
        "&",
        "%3D",
        "%253d",
        "%3A",
        "%22",
        "%26",
        "%5C",
        "%",
        "25",
        "LS0tLS1CRUdJTi",
    ];
    prop_oneof![proptest::sample::select(known.to_vec()).prop_map(str::to_owned), "[ -~]{0,4}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn twice_is_once(pieces in proptest::collection::vec(piece(), 0..16)) {
        let text = pieces.concat();
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once.as_ref());
        let egress = Egress { ip: true, uuid: true, email: true, hex: true, max_length: Some(60) };
        let hidden = egress.hide(&once);
        prop_assert_eq!(egress.hide(&hidden), hidden.as_ref());
    }
}
