//! Errors in one line.

use std::error::Error;

/// What an error says and what each of its causes says, in this order and each once: several errors say their cause themselves.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is gone")]
    struct Gone;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot write")]
        Silent(#[source] Gone),
        #[error("cannot read: {0}")]
        Telling(#[source] Gone),
        #[error(transparent)]
        Cloak(Box<Outer>),
    }

    #[test]
    fn every_cause_is_said_once() {
        let (silent, telling) = (Outer::Silent(Gone), Outer::Telling(Gone));
        assert_eq!(with_causes(&silent), "cannot write: the disk is gone");
        assert_eq!(with_causes(&telling), "cannot read: the disk is gone");
        assert_eq!(with_causes(&Outer::Cloak(Box::new(silent))), "cannot write: the disk is gone");
        assert_eq!(with_causes(&Gone), "the disk is gone");
    }
}
