//! How commands print.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints every problem on standard error, a line each, and gives the exit code.
pub(super) fn problems(problems: &[impl Display], code: u8) -> anyhow::Result<u8> {
    let mut out = io::stderr().lock();
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    writeln!(out, "{} {noun}", problems.len())?;
    Ok(code)
}

/// Prints warnings on standard error.
pub(super) fn warnings(warnings: &[impl Display]) -> anyhow::Result<()> {
    let mut out = io::stderr().lock();
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

/// Makes text from outside safe for a terminal: control characters become escapes.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_command_the_terminal() {
        assert_eq!(printable("red \u{1b}[31m\r\nüber"), "red \\u{1b}[31m\\r\\nüber");
    }
}
