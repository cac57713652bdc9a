//! The binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kube_sentinel::cli::run(std::env::args_os())
}
