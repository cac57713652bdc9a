//! `backup`

use std::io::{self, Write};
use std::path::Path;

use crate::app::{self, Overrides};
use crate::store;
use crate::telemetry;

use super::{FINE, PROBLEMS};

/// Copies the store to a file, also while a process is using it.
pub(super) fn backup(overrides: &Overrides, file: &Path) -> anyhow::Result<u8> {
    let config = match app::load_config(overrides) {
        Ok(loaded) => loaded.config,
        Err(problems) => return super::output::problems(&problems, PROBLEMS),
    };
    match store::backup(&config.store_path(), file, |_| ()) {
        Ok(bytes) => {
            writeln!(io::stdout(), "wrote {} ({bytes} bytes)", file.display())?;
            Ok(FINE)
        }
        Err(error) => {
            writeln!(io::stderr(), "error: {}", telemetry::with_causes(&error))?;
            Ok(PROBLEMS)
        }
    }
}
