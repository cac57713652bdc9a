use super::*;

/// The set as text: `~` in front of a literal in any case, `!` behind a set that proves.
fn set(pattern: &str) -> String {
    let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
    match required(&hir) {
        Ok(required) => {
            let one = |literal: &Literal| format!("{}{}", if literal.ignores_case() { "~" } else { "" }, literal.text());
            let all: Vec<String> = required.literals.iter().map(|(literal, _)| one(literal)).collect();
            format!("{}{}", all.join("|"), if required.proves { "!" } else { "" })
        }
        Err(reason) => format!("none: {}", reason.as_str()),
    }
}

#[test]
fn each_pattern_has_its_cheapest_set() {
    let cases = [
        // Whole texts prove the pattern; look-around, gaps and mixed case do not.
        ("OOMKilled", "OOMKilled!"),
        ("(?i)OOMKilled", "~oomkilled!"),
        ("(?i:out) of memory", "~out of memory"),
        (r"\bOOMKilled\b", "OOMKilled"),
        ("^OOMKilled$", "OOMKilled"),
        ("CrashLoopBackOff|Back-off restarting", "Back-off restarting|CrashLoopBackOff!"),
        ("(?:disk|memory|pid)Pressure", "diskPressure|memoryPressure|pidPressure!"),
        ("timeouts?", "timeout!"),
        ("Readiness (?:probe|check) failed", "Readiness check failed|Readiness probe failed!"),
        // Inner texts count, and the rarer one is taken.
        (r"\d+ ms: quota exceeded", " ms: quota exceeded"),
        ("the.*xylophone", "xylophone"),
        ("(?:goroutine .* )+running", "goroutine "),
        (r"(?i)x509|certificate.*expired|tls.{3}handshake", "~expired|~handshake|~x509"),
        // Repetition.
        ("(?:abc){2}", "abcabc!"),
        ("(?:abcdef){2,}", "abcdefabcdef"),
        ("(?:abcdef)+", "abcdef"),
        ("(?:abcdef)*xyz", "xyz"),
        ("(?:abcdef)?", "none: matches_empty"),
        // Case folding of k and s, and of bytes.
        ("(?i)kiosk", "~kiosk!"),
        ("(?i-u)kiosk", "~kiosk!"),
        ("[kK]iosk", "~kiosk"),
        ("[ks]afe", "kafe|safe!"),
        // Classes.
        ("error 5[0-9]{2}", "error 5"),
        ("E[12]000", "E1000|E2000!"),
        (r"quota\scode", "quota"),
        // What JSON may escape, and what is not ASCII, ends a text.
        ("path/to/nowhere", "nowhere"),
        ("say \"hello\" twice", " twice"),
        ("caf\u{e9} closed", " closed"),
        ("a\\\\b<c>d&e", "none: escapable"),
        ("\u{e9}\u{e8}", "none: escapable"),
        // Nothing to hold on to.
        (".*", "none: matches_empty"),
        ("", "none: matches_empty"),
        (r"\d{3}", "none: too_short"),
        ("timeout|.{80}", "none: alternative"),
        ("timeout|x", "none: alternative"),
        ("a|b|c", "none: too_short"),
        // It matches nothing, and so needs nothing.
        (r"[a&&b]", "!"),
    ];
    let wrong: Vec<_> =
        cases.iter().map(|(pattern, wanted)| (pattern, wanted, set(pattern))).filter(|(_, wanted, got)| got != *wanted).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn large_patterns_stay_within_bounds() {
    let keywords = (0..1000).map(|n| format!("keyword-{n:04}")).collect::<Vec<_>>().join("|");
    assert_eq!(set(&format!("(?i){keywords}")).matches('|').count(), 999);
    assert_eq!(set("(?:[ab][cd]){20}xylophone"), "xylophone");
    assert_eq!(set("[ab][cd][ef][gh][ij][kl][mn]").matches('|').count(), MAX_PRODUCT - 1);
    assert_eq!(set(&format!("(?:{keywords}|(?:[ab][cd]){{9}}|x{{5000}})")).matches('|').count(), 1064);
}
