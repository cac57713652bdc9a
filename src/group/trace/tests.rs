use crate::group::mask::MAX_TEMPLATE;

use super::corpus::samples;
use super::*;

fn limits() -> Limits {
    TraceConfig::default().limits()
}

fn identity_of(text: &str) -> Option<String> {
    identity(text.as_bytes(), limits(), MAX_TEMPLATE)
}

#[test]
fn each_trace_has_the_identity_of_its_fault_and_prose_has_none() {
    let mut wrong = String::new();
    for sample in samples() {
        let got = identity_of(&sample.text());
        if got != sample.identity {
            wrong += &format!("{}\n  want {:?}\n  got  {got:?}\n", sample.name, sample.identity);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn carriage_returns_and_what_follows_a_trace_change_nothing() {
    for sample in samples().into_iter().filter(|sample| sample.identity.is_some()) {
        assert_eq!(identity_of(&sample.lines.join("\r\n")), sample.identity, "{}", sample.name);
        let followed = format!("{}\n2026-11-21 20:00:02 INFO all is well\nError: another one\n", sample.text());
        assert_eq!(identity_of(&followed), sample.identity, "{}", sample.name);
    }
}

#[test]
fn two_threads_of_rust_that_panic_after_each_other_are_two_faults() {
    for end in ["", " called `Option::unwrap()` on a `None` value"] {
        let lines = ["a", "b"].map(|thread| format!("thread '{thread}' panicked at src/store.rs:10:7:{end}"));
        let mut fold = Fold::begin(lines[0].as_bytes()).unwrap();
        assert_eq!(fold.step(lines[1].as_bytes(), limits()), Step::Ends, "{end:?}");
    }
}

#[test]
fn a_trace_of_ten_thousand_frames_and_one_of_a_mebibyte_keep_a_few_names() {
    let frames = |count: usize| (0..count).map(|n| format!("\n\tat com.shop.Deep{n}.call(Deep.java:{n})")).collect::<String>();
    let long = format!("java.lang.StackOverflowError{}", frames(9_999));
    let short = format!("java.lang.StackOverflowError{}", frames(20));
    assert_eq!(identity_of(&long), identity_of(&short));
    let wide = format!("java.lang.StackOverflowError: {}{}", "x".repeat(1 << 20), frames(20));
    assert_eq!(identity_of(&wide), identity_of(&short));
    let chain: String = (0..10_000).map(|n| format!("\nCaused by: a.b.E{}Exception: x\n\tat com.shop.A.b(A.java:1)", n % 7)).collect();
    let fold = identity_of(&format!("java.lang.StackOverflowError{chain}")).unwrap();
    assert!(fold.len() < MAX_TEMPLATE, "{fold}");
    for name in ["x".repeat(1 << 20), "\u{e9}".repeat(1 << 19)] {
        let identity = identity_of(&format!("java.lang.Error: x\n\tat a.{name}.b(A.java:1)\n\tat a.{name}2.b(A.java:1)")).unwrap();
        assert!(identity.len() <= MAX_TEMPLATE);
    }
}

#[test]
fn a_long_line_of_nothing_but_types_is_read_once() {
    // Read again for each of its words it would take long.
    for word in ["Error", "a.Exception", "E", "Error.", "Error::", "x=Error ", "Caused by: ", "panic", ":in '", "rescue in "] {
        let line = word.repeat((1 << 17) / word.len());
        for text in [line.clone(), format!("x= {line} z"), format!("{line})"), format!("  {line}'")] {
            look(text.as_bytes());
            assert_eq!(identity(text.as_bytes(), Limits { lines: 1000, bytes: 1 << 21 }, 512), None, "{word}");
        }
    }
}
