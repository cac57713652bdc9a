//! `config check`, `config print` and `config schema`

use std::io::{self, Write};

use crate::app::{self, Config, Overrides};

use super::args::ConfigCommand;
use super::{FINE, PROBLEMS};

/// Checks or prints the configuration.
pub(super) fn config(overrides: &Overrides, command: &ConfigCommand) -> anyhow::Result<u8> {
    match command {
        ConfigCommand::Check => check(overrides),
        ConfigCommand::Print => print(overrides),
        ConfigCommand::Schema => {
            let schema = serde_json::to_string_pretty(&schemars::schema_for!(Config))?;
            writeln!(io::stdout(), "{schema}")?;
            Ok(FINE)
        }
    }
}

/// Does what `run` does before it opens a socket.
fn check(overrides: &Overrides) -> anyhow::Result<u8> {
    let loaded = match app::load_config(overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(&loaded.warnings)?;
    let problems = app::preflight(&loaded.config);
    if !problems.is_empty() {
        return super::output::problems(&problems, PROBLEMS);
    }
    let place = loaded.file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    writeln!(io::stdout(), "{place}: fine")?;
    Ok(FINE)
}

fn print(overrides: &Overrides) -> anyhow::Result<u8> {
    let loaded = match app::load_config(overrides) {
        Ok(loaded) => loaded,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    super::output::warnings(&loaded.warnings)?;
    write!(io::stdout(), "{}", app::print_config(&loaded.config)?)?;
    Ok(FINE)
}
