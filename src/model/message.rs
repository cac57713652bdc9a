//! The message inside a structured line.
