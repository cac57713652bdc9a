//! The program in this process.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;

use kube_sentinel::app::{App, Config};
use kube_sentinel::flow::Clock;
use kube_sentinel::model::Span;

use super::client::{Client, Figures};

/// A running program with a client. Dropped, it stops in order.
pub(crate) struct Program {
    app: Option<App>,
    client: Client,
}

/// The defaults on free ports, with a store in this folder.
pub(crate) fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    let free = Some("127.0.0.1:0".parse().expect("an address"));
    (config.serve.ingest.address, config.serve.api.address) = (free, free);
    (config.serve.otlp_grpc.address, config.serve.otlp_http.address) = (free, free);
    config.store.path = Some(folder.join("events.db"));
    // Most tests push single lines that may begin a trace, and should not wait for the rest of it.
    config.group.trace.hold = Span::secs(0);
    config
}

/// The same with these rules, from the file `rules.yaml` in the folder.
pub(crate) fn config_with_rules(folder: &Path, rules: &str) -> Config {
    let file = folder.join("rules.yaml");
    std::fs::write(&file, rules).expect("a file");
    let mut config = config(folder);
    config.rules.files = vec![file];
    config
}

impl Program {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_at(config, Clock::system())
    }

    /// With a clock that the test moves.
    pub(crate) fn start_at(config: Config, clock: Clock) -> Self {
        let app = App::start_at(config, clock).expect("it starts");
        let client = Client::new(app.ingest_url(), app.api_url());
        Self { app: Some(app), client }
    }

    /// Where it speaks the Forward protocol.
    pub(crate) fn forward_address(&self) -> SocketAddr {
        self.app.as_ref().expect("it runs").forward_address().expect("a door for it")
    }

    /// Where its ingest listener is.
    pub(crate) fn ingest_url(&self) -> &str {
        self.app.as_ref().expect("it runs").ingest_url()
    }

    /// What the process counts, without asking a listener that may want a key.
    pub(crate) fn own_figures(&self) -> Figures {
        Figures::of(self.app.as_ref().expect("it runs").metrics())
    }

    /// Address of a listener that can be switched off.
    pub(crate) fn url_of(&self, listener: &str) -> Option<&str> {
        self.app.as_ref()?.url_of(listener)
    }

    /// Where it takes syslog over `udp`, `tcp` or `tls`.
    pub(crate) fn syslog_address(&self, transport: &str) -> SocketAddr {
        let addresses = self.app.as_ref().expect("it runs").syslog_addresses();
        addresses.iter().find(|(name, _)| *name == transport).expect("a door for it").1
    }

    /// Stops it and gives the exit code.
    pub(crate) fn stop(mut self) -> u8 {
        self.app.take().map_or(0, App::stop)
    }
}

impl Deref for Program {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            // The code matters to tests that ask for it.
            let _code = app.stop();
        }
    }
}
