//! The door for the Forward protocol: what its section of the configuration comes to.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use metrics::Recorder;

use crate::collect::forward::{Forward, ForwardAuth, ForwardKeys};
use crate::collect::{Certificates, Doors, Socket, SocketLimits};
use crate::serve::config::{ForwardConfig, Secret};
use crate::serve::listener::{self, BindError};
use crate::serve::tls::Tls;

/// Shorter ones can be guessed, and the digest of one can be tried against by whoever listens. `openssl rand -hex 16` makes one of 32.
const SHORTEST_KEY: usize = 16;

/// What the section names and a start needs.
pub(super) struct ForwardAccess {
    config: ForwardConfig,
    pub(super) tls: Option<Tls>,
    auth: Option<ForwardAuth>,
}

impl ForwardAccess {
    /// Reads keys and certificates.
    ///
    /// # Errors
    /// With every problem, each beginning with its setting.
    pub(super) fn load(config: &ForwardConfig) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let keys = keys(config).map_err(|errors| problems.extend(errors)).unwrap_or_default();
        let some_key = config.shared_key_file.is_some() || config.shared_key.is_some();
        if !some_key && !config.users.is_empty() {
            problems.push("serve.forward.users: passwords need a shared key, too: add serve.forward.shared_key_file".to_owned());
        }
        let address = config.address;
        if !some_key && !config.allow_unauthenticated && !address.ip().to_canonical().is_loopback() {
            problems.push(format!(
                "serve.forward.address {address} is not on loopback, and there is no shared key: add serve.forward.shared_key_file, or set \
                 serve.forward.allow_unauthenticated: true to let everybody who can reach it send"
            ));
        }
        let tls = config.tls.as_ref().map(Tls::load).transpose();
        let tls = tls.map_err(|error| problems.push(format!("serve.forward.tls: {error}"))).unwrap_or_default();
        if problems.is_empty() { Ok(Self { config: config.clone(), tls, auth: keys.map(ForwardAuth::new) }) } else { Err(problems) }
    }

    /// Takes the address, and gives the door with it.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub(super) async fn open(&self, doors: Doors, recorder: &dyn Recorder) -> Result<(Forward, SocketAddr), BindError> {
        let (tcp, address) = listener::bind("forward", self.config.address).await?;
        let limits = SocketLimits {
            max_connections: self.config.max_connections,
            handshake_timeout: self.config.handshake_timeout.0,
            idle_timeout: self.config.idle_timeout.0,
            drain_timeout: self.config.drain_timeout.0,
        };
        let certificates = self.tls.clone().map(|tls| Certificates::new(move || tls.bare_config()));
        let socket = Socket { tcp, certificates, limits };
        Ok((Forward::new(socket, doors, self.auth.clone(), recorder), address))
    }

    /// Reads the files of the keys again, for as long as the process runs; `None` where no key comes from a file.
    pub(super) fn reload(&self) -> Option<impl Fn() -> Result<bool, String> + Clone + Send + 'static> {
        let from_files = self.config.shared_key_file.is_some() || self.config.users.iter().any(|user| user.password_file.is_some());
        let (auth, config) = (self.auth.clone().filter(|_| from_files)?, self.config.clone());
        Some(move || {
            let keys = keys(&config).map_err(|errors| errors.join("; "))?;
            Ok(keys.is_some_and(|keys| auth.exchange(keys)))
        })
    }
}

/// The keys that the section names.
fn keys(config: &ForwardConfig) -> Result<Option<ForwardKeys>, Vec<String>> {
    let mut problems = Vec::new();
    let mut shared_key = String::new();
    let some_key = config.shared_key_file.is_some() || config.shared_key.is_some();
    if some_key {
        match secret(&config.shared_key_file, &config.shared_key) {
            Ok(key) if key.len() < SHORTEST_KEY => problems.push(format!(
                "serve.forward.shared_key: the key has {} characters, and must have {SHORTEST_KEY} or more; openssl rand -hex 16 makes one",
                key.len()
            )),
            Ok(key) => shared_key = key,
            Err(error) => problems.push(format!("serve.forward.shared_key{error}")),
        }
    }
    let mut users: Vec<(String, String)> = Vec::new();
    for (at, user) in config.users.iter().enumerate() {
        let place = format!("serve.forward.users[{at}]");
        if user.name.is_empty() || users.iter().any(|(name, _)| *name == user.name) {
            problems.push(format!("{place}.name: {:?} is empty or given twice", user.name));
        }
        match secret(&user.password_file, &user.password) {
            Ok(password) if password.is_empty() => problems.push(format!("{place}.password: the password is empty")),
            Ok(password) => users.push((user.name.clone(), password)),
            Err(error) => problems.push(format!("{place}.password{error}")),
        }
    }
    if problems.is_empty() { Ok(some_key.then(|| ForwardKeys { shared_key: shared_key.into_bytes(), users })) } else { Err(problems) }
}

/// The secret from its file or the configuration. The error goes on where the name of the setting ends.
fn secret(file: &Option<PathBuf>, text: &Option<Secret>) -> Result<String, String> {
    match (file, text) {
        (Some(file), None) => {
            let text = fs::read_to_string(file).map_err(|error| format!("_file: {} cannot be read: {error}", file.display()))?;
            Ok(text.trim().to_owned())
        }
        (None, Some(text)) => Ok(text.expose().trim().to_owned()),
        _ => Err(": write either the file or the value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::config::ForwardUser;

    fn problems(config: ForwardConfig) -> String {
        ForwardAccess::load(&config).err().unwrap_or_default().join("\n")
    }

    #[test]
    fn what_cannot_work_is_told_with_its_setting_and_no_secret_is_shown() {
        let open = "0.0.0.0:24224".parse().expect("an address");
        let key = || Some(Secret::new("a-shared-key-0123456789".to_owned()));
        assert_eq!(problems(ForwardConfig::default()), "");
        assert!(problems(ForwardConfig { address: open, ..ForwardConfig::default() }).contains("is not on loopback"));
        assert_eq!(problems(ForwardConfig { address: open, allow_unauthenticated: true, ..ForwardConfig::default() }), "");
        assert_eq!(problems(ForwardConfig { address: open, shared_key: key(), ..ForwardConfig::default() }), "");
        let short = Some(Secret::new("hunter2".to_owned()));
        let told = problems(ForwardConfig { shared_key: short, ..ForwardConfig::default() });
        assert!(told.contains("has 7 characters") && !told.contains("hunter2"), "{told}");
        let both = ForwardConfig { shared_key: key(), shared_key_file: Some("/nowhere".into()), ..ForwardConfig::default() };
        assert!(problems(both).contains("serve.forward.shared_key: write either"));
        let gone = ForwardConfig { shared_key_file: Some("/nowhere/key".into()), ..ForwardConfig::default() };
        assert!(problems(gone).contains("serve.forward.shared_key_file: /nowhere/key cannot be read"));
        let user = |name: &str, password: Option<Secret>| ForwardUser { name: name.to_owned(), password_file: None, password };
        let users = vec![user("a", key()), user("a", key()), user("b", None)];
        let told = problems(ForwardConfig { users, ..ForwardConfig::default() });
        for part in ["need a shared key", "users[1].name: \"a\" is empty or given twice", "users[2].password: write either"] {
            assert!(told.contains(part), "{part} not in\n{told}");
        }
    }
}
