//! `events`: what a running process has found.

mod follow;
mod list;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::args::EventsArgs;
use super::{FINE, PROBLEMS};
use crate::app::{self, Overrides};

/// Longest wait for a connection, and for an answer with a page.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lists or follows.
pub(super) fn events(overrides: &Overrides, args: &EventsArgs) -> anyhow::Result<u8> {
    let server = match &args.server {
        Some(server) => server.trim_end_matches('/').to_owned(),
        None => match app::load_config(overrides) {
            Ok(loaded) => app::api_url(&loaded.config),
            Err(problems) => return super::output::problems(&problems, PROBLEMS),
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let key = args.key_file.as_deref().map(read).transpose()?.map(|key| String::from_utf8_lossy(&key).trim().to_owned());
        let authority = args.ca_file.as_deref().map(read).transpose()?;
        if args.follow {
            follow::follow(&server, key.as_deref(), authority, args).await
        } else {
            list::list(&server, key.as_deref(), authority, args).await
        }
    });
    match done {
        Ok(()) => Ok(FINE),
        // Our own output failed: who reads it has gone away.
        Err(error) if error.is::<io::Error>() && super::is_broken_pipe(&error) => Err(error),
        Err(error) => super::output::problems(&[format!("{error:#}")], PROBLEMS),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
