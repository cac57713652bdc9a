//! The keys that were given out.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::Presented;
use crate::model::{Egress, Secret};
use crate::serve::config::{KeyConfig, RedactConfig, Role};

/// Shorter keys can be guessed. `openssl rand -hex 16` makes one of 32 characters.
const SHORTEST: usize = 16;

/// Longer texts are no keys.
const LONGEST: usize = 4096;

/// The keys in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Vec<KeyConfig>,
    known: ArcSwap<Vec<Known>>,
}

/// A key as it is kept: only its hash.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    digest: [u8; 32],
    role: Role,
    /// What its holder is not to see; `None` where the listener says.
    egress: Option<Egress>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Two keys have the same name.
    #[error("serve.auth.keys: the name {0:?} is given twice")]
    SameName(String),
    /// Two keys have the same text, so that nobody can tell whose role counts.
    #[error("serve.auth.keys: {0:?} has the same key as another one")]
    SameKey(String),
    /// Neither or both of `key_file` and `key`.
    #[error("serve.auth.keys: {0:?} needs either key_file or key")]
    Source(String),
    /// Too short to be safe, or too long to be sent.
    #[error("serve.auth.keys: the key of {name:?} has {length} characters, and must have from 16 to 4096; openssl rand -hex 16 makes one")]
    Length {
        /// Which key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Not a text that a header can carry.
    #[error("serve.auth.keys: the key of {0:?} has characters other than visible ASCII")]
    Characters(String),
    /// The file cannot be read.
    #[error("serve.auth.keys: the key of {name:?} cannot be read from {}", file.display())]
    File {
        /// Which key.
        name: String,
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Keys {
    /// Reads all keys.
    ///
    /// # Errors
    /// With every problem of every key.
    pub fn load(config: &[KeyConfig]) -> Result<Self, Vec<KeyError>> {
        let known = read_all(config)?;
        Ok(Self(Arc::new(Inner { config: config.to_vec(), known: ArcSwap::from_pointee(known) })))
    }

    /// Reads the key files again. True when a key has changed.
    ///
    /// # Errors
    /// With every problem of every key; the keys in force stay as they were.
    pub fn reload(&self) -> Result<bool, Vec<KeyError>> {
        let known = read_all(&self.0.config)?;
        let changed = known != **self.0.known.load();
        if changed {
            self.0.known.store(Arc::new(known));
        }
        Ok(changed)
    }

    /// True when no key is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.config.is_empty()
    }

    /// True when some key comes from a file, so that it can change.
    #[must_use]
    pub fn from_files(&self) -> bool {
        self.0.config.iter().any(|key| key.key_file.is_some())
    }

    /// What the headers of a request bring, a bearer token or the password of basic authentication, and what its holder is not to see where
    /// the key says so.
    #[must_use]
    pub fn presented(&self, headers: &HeaderMap) -> (Presented, Option<Egress>) {
        const UNKNOWN: (Presented, Option<Egress>) = (Presented::Unknown, None);
        let Some(value) = headers.get(AUTHORIZATION) else { return (Presented::Nothing, None) };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else { return UNKNOWN };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            self.known(rest.as_bytes())
        } else if scheme.eq_ignore_ascii_case("basic") {
            password(rest).map_or(UNKNOWN, |password| self.known(&password))
        } else {
            UNKNOWN
        }
    }

    /// Compares with every key in constant time: neither how much of a key was right nor which key it was shows in the time.
    fn known(&self, key: &[u8]) -> (Presented, Option<Egress>) {
        let digest = digest(key);
        let known = self.0.known.load();
        let mut found = u64::MAX;
        for (at, key) in (0u64..).zip(known.iter()) {
            found.conditional_assign(&at, key.digest.ct_eq(&digest));
        }
        let found = usize::try_from(found).ok().and_then(|at| known.get(at));
        found.map_or((Presented::Unknown, None), |key| (Presented::Role(key.role), key.egress))
    }
}

fn read_all(config: &[KeyConfig]) -> Result<Vec<Known>, Vec<KeyError>> {
    let (mut known, mut problems) = (Vec::<Known>::new(), Vec::new());
    let mut names = HashSet::new();
    for key in config {
        if !names.insert(&key.name) {
            problems.push(KeyError::SameName(key.name.clone()));
        }
        match read(key) {
            Ok(digest) if known.iter().any(|other| other.digest == digest) => problems.push(KeyError::SameKey(key.name.clone())),
            Ok(digest) => known.push(Known { digest, role: key.role, egress: key.redact.as_ref().map(RedactConfig::egress) }),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(known) } else { Err(problems) }
}

fn read(config: &KeyConfig) -> Result<[u8; 32], KeyError> {
    let name = || config.name.clone();
    let text = match (&config.key_file, &config.key) {
        (Some(file), None) => read_file(file).map_err(|source| KeyError::File { name: name(), file: file.clone(), source })?,
        (None, Some(key)) => key.clone(),
        _ => return Err(KeyError::Source(name())),
    };
    let text = text.expose().trim().as_bytes();
    if !(SHORTEST..=LONGEST).contains(&text.len()) {
        return Err(KeyError::Length { name: name(), length: text.len() });
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(KeyError::Characters(name()));
    }
    Ok(digest(text))
}

fn read_file(file: &Path) -> io::Result<Secret> {
    fs::read_to_string(file).map(Secret::new)
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The password in the credentials of basic authentication.
fn password(credentials: &str) -> Option<Vec<u8>> {
    let plain = base64(credentials)?;
    let colon = plain.iter().position(|byte| *byte == b':')?;
    Some(plain[colon + 1..].to_vec())
}

/// Base64 with the usual alphabet; padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 || text.len() > 2 * LONGEST {
        return None;
    }
    let mut plain = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut bits: u32 = 0;
        for byte in chunk {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        plain.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "sender-key-0123456789";
    const OPERATOR: &str = "operator-key-0123456789";

    fn key(name: &str, role: Role, text: &str) -> KeyConfig {
        KeyConfig { name: name.to_owned(), role, key_file: None, key: Some(Secret::new(text.to_owned())), redact: None }
    }

    #[test]
    fn a_key_is_found_as_bearer_token_and_as_password() {
        let keys = Keys::load(&[key("agent", Role::Sender, SENDER), key("ops", Role::Operator, OPERATOR)]).expect("valid keys");
        let presented = |value: Option<&str>| {
            keys.presented(&value.map(|value| (AUTHORIZATION, value.parse().unwrap())).into_iter().collect::<HeaderMap>()).0
        };
        // agent:sender-key-0123456789, :operator-key-0123456789, and no colon at all.
        let cases = [
            (None, Presented::Nothing),
            (Some("Bearer sender-key-0123456789"), Presented::Role(Role::Sender)),
            (Some("bearer  operator-key-0123456789"), Presented::Role(Role::Operator)),
            (Some("Basic YWdlbnQ6c2VuZGVyLWtleS0wMTIzNDU2Nzg5"), Presented::Role(Role::Sender)),
            (Some("Basic Om9wZXJhdG9yLWtleS0wMTIzNDU2Nzg5"), Presented::Role(Role::Operator)),
            (Some("Basic c2VuZGVyLWtleS0wMTIzNDU2Nzg5"), Presented::Unknown),
            (Some("Basic !!!"), Presented::Unknown),
            (Some("Basic A"), Presented::Unknown),
            (Some("Bearer sender-key-012345678"), Presented::Unknown),
            (Some("Bearer "), Presented::Unknown),
            (Some("Digest sender-key-0123456789"), Presented::Unknown),
            (Some("sender-key-0123456789"), Presented::Unknown),
        ];
        for (value, expected) in cases {
            assert_eq!(presented(value), expected, "{value:?}");
        }
    }

    #[test]
    fn every_problem_of_every_key_is_named_and_no_key_is_shown() {
        let none = KeyConfig { key: None, ..key("none", Role::Reader, "") };
        let gone = KeyConfig { key: None, key_file: Some("/nowhere/key".into()), ..key("gone", Role::Reader, "") };
        let config = [
            key("a", Role::Sender, SENDER),
            key("a", Role::Sender, OPERATOR),
            key("same", Role::Reader, SENDER),
            key("short", Role::Reader, "hunter2"),
            key("umlaut", Role::Reader, "schlüssel-0123456789"),
            none,
            gone,
        ];
        let problems = Keys::load(&config).expect_err("six of them are wrong");
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(problems.len(), 6, "{text}");
        for part in ["\"a\" is given twice", "\"same\" has the same", "\"short\" has 7", "\"umlaut\"", "\"none\" needs", "/nowhere/key"] {
            assert!(text.contains(part), "{part:?} not in\n{text}");
        }
        assert!(!text.contains("hunter2") && !text.contains(SENDER));
    }

    #[test]
    fn a_key_file_that_changes_changes_the_key_and_a_bad_one_changes_nothing() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), format!("{SENDER}\n")).expect("written");
        let config = KeyConfig { key: None, key_file: Some(file.path().to_owned()), ..key("agent", Role::Sender, "") };
        let keys = Keys::load(&[config]).expect("valid");
        assert!(!keys.reload().expect("valid"), "nothing changed");
        fs::write(file.path(), OPERATOR).expect("written");
        assert!(keys.reload().expect("valid"));
        assert_eq!(keys.known(SENDER.as_bytes()).0, Presented::Unknown);
        fs::write(file.path(), "short").expect("written");
        assert_eq!(keys.reload().expect_err("too short").len(), 1);
        assert_eq!(keys.known(OPERATOR.as_bytes()).0, Presented::Role(Role::Sender));
    }
}
