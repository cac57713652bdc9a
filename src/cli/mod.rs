//! The shell's side: arguments in, text and exit codes out.
//!
//! Exit codes: 0 fine; 1 problems found by a check or test, or a file that cannot be read; 64 bad usage, or `run` with a bad configuration;
//! 70 an internal fault.

mod args;
mod backup;
mod config;
mod events;
mod explain;
mod output;
mod replay;
mod replay_table;
mod rule_scenarios;
mod rules;
mod run;
mod scan;
mod scan_groups;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::app::Overrides;

use args::{Cli, Command};

/// Everything was fine.
const FINE: u8 = 0;
/// A check or a test found problems.
const PROBLEMS: u8 = 1;
/// Bad usage, or `run` with a bad configuration.
const USAGE: u8 = 64;
/// A fault of ours.
const INTERNAL: u8 = 70;

/// Does what the arguments ask for.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args::with_two_dashes(args)) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { FINE };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    // rustls panics at its first use when it is not told which provider to use; a second call finds the first one's.
    rustls::crypto::ring::default_provider().install_default().ok();

    let overrides =
        Overrides { config: cli.common.config, rules: cli.common.rules, data: cli.common.data, log_level: cli.common.log_level };
    let done = match cli.command {
        _ if cli.common.version => version(),
        None | Some(Command::Run) => run::run(&overrides),
        Some(Command::Scan(args)) => scan::scan(&overrides, &args),
        Some(Command::Replay(args)) => replay::replay(&overrides, &args),
        Some(Command::Events(args)) => events::events(&overrides, &args),
        Some(Command::Rules { command }) => rules::rules(&overrides, &command),
        Some(Command::Config { command }) => config::config(&overrides, &command),
        Some(Command::Backup { file }) => backup::backup(&overrides, &file),
        Some(Command::Version) => version(),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(FINE),
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::from(INTERNAL)
        }
    }
}

fn version() -> anyhow::Result<u8> {
    writeln!(io::stdout(), "{}", crate::app::version_line())?;
    Ok(FINE)
}

/// `kube-sentinel events | head` closes the pipe, which is no fault.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
