//! The bench harness.

fn main() {}
