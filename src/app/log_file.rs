//! Log files as the commands that read them open them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::collect::files::unpacked;

/// Opens a log: `-` is standard input; what is compressed is read as what it was.
///
/// # Errors
/// When it cannot be opened, or its beginning cannot be read.
pub fn open_log(path: &Path) -> io::Result<Box<dyn Read>> {
    unpacked(if is_standard_input(path) { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) })
}

/// True for the name of standard input.
#[must_use]
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}
