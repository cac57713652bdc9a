//! Which single bytes a match needs besides its literal.
//!
//! Of `failed to renew lease \S+/\S+` the literal is `failed to renew lease `, and a line that holds it without any `/` need not be tried: to
//! look for a byte costs a tenth of what the expression does.
//!
//! INVARIANT: a line in which the expression matches by an alternative holds every byte of that alternative, in the raw line as itself or, where
//! the match is in a decoded message, perhaps behind a `\`.

use regex_syntax::hir::{Hir, HirKind};

use super::{Text, analyse, frequency, unescaped};

/// A set of ASCII bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bytes(u128);

impl Bytes {
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The one that fewest lines hold and that the literal does not say already.
    pub(super) fn rarest_beside(self, literal: &str) -> Option<u8> {
        let is_news = |byte: &u8| self.0 >> byte & 1 == 1 && !literal.bytes().any(|known| known.eq_ignore_ascii_case(byte));
        let share = |byte: &u8| frequency::share_of_pairs(&[byte.to_ascii_lowercase()]);
        (b'!'..=b'~').filter(is_news).min_by(|left, right| share(left).total_cmp(&share(right)))
    }
}

/// The alternatives of an expression, each with its literals and with the bytes that its matches need. One without literals has none.
pub(super) fn bytes_by_alternative(hir: &Hir) -> Vec<(Vec<Text>, Bytes)> {
    let parts = match hir.kind() {
        HirKind::Capture(capture) => return bytes_by_alternative(&capture.sub),
        HirKind::Alternation(parts) => &parts[..],
        _ => std::slice::from_ref(hir),
    };
    parts.iter().map(|part| (analyse(part, unescaped).into_set().unwrap_or_default(), needed(part))).collect()
}

/// Letters that stand for both cases are classes, and so need nothing.
fn needed(hir: &Hir) -> Bytes {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => Bytes::default(),
        HirKind::Literal(literal) => Bytes(literal.0.iter().filter(|byte| byte.is_ascii_graphic()).fold(0, |set, byte| set | 1 << byte)),
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min == 0 => Bytes::default(),
        HirKind::Repetition(repetition) => needed(&repetition.sub),
        HirKind::Concat(parts) => Bytes(parts.iter().fold(0, |set, part| set | needed(part).0)),
        HirKind::Alternation(parts) => parts.iter().map(needed).reduce(Bytes::and).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::literals::cheapest;
    use crate::rules::Pattern;

    #[test]
    fn each_literal_has_the_rarest_byte_that_its_alternatives_need() {
        for (pattern, expected) in [
            (r"failed to renew lease \S+/\S+", &[("failed to renew lease ", Some('/'))][..]),
            (
                r"(?i)leader election lost|failed to renew lease \S+/\S+",
                &[("failed to renew lease ", Some('/')), ("leader election lost", None)],
            ),
            (r"(ERROR \d{4} \([0-9A-Z]{5}\)|has gone away)", &[("ERROR ", Some(')')), ("has gone away", None)]),
            // Either way of the inner alternation, or none of it, is a match.
            (r"lease (?:\S+/x|\S+#x)", &[("lease ", Some('x'))]),
            (r"lease (?:\S+/)?\d", &[("lease ", None)]),
            (r"lease (?:\S+/)+\d", &[("lease ", Some('/'))]),
            // One text finds both alternatives, so it may ask for nothing that one of them does not need.
            (r"renew lease \S+/|renew lease \S+#", &[("renew lease ", None)]),
            (r"renew lease \S+/|old renew lease \S+/#", &[("renew lease ", Some('/'))]),
            ("(?i)lease .*Z", &[("lease ", None)]),
            ("lease .*\u{e9}", &[("lease ", None)]),
        ] {
            let required = cheapest(&Pattern::try_new(pattern).unwrap().hir()).unwrap();
            let got: Vec<(&str, Option<char>)> = required.literals.iter().map(|(text, byte)| (text.text(), byte.map(char::from))).collect();
            assert_eq!(got, expected, "{pattern}");
        }
    }
}
