//! The handshake of the protocol where a shared key is set: the server speaks first.
//!
//! ```text
//! server  ["HELO", {"nonce": bytes, "auth": bytes or empty, "keepalive": true}]
//! client  ["PING", hostname, salt, hex(SHA-512(salt + hostname + nonce + key)), user, hex(SHA-512(auth + user + password))]
//! server  ["PONG", ok, reason, hostname, hex(SHA-512(salt + hostname + nonce + key))]
//! ```

use sha2::{Digest, Sha512};
use subtle::{Choice, ConstantTimeEq};

use crate::collect::wire::DecodeError;

use super::msgpack::{Fault, Head, Walk, head, text};

/// Bytes of a nonce and of a salt.
pub const NONCE: usize = 16;

/// What we are called. A client that is called the same takes us for itself.
const HOSTNAME: &[u8] = b"kube-sentinel";

/// What one handshake began with. New for each connection.
#[derive(Debug, Clone, Copy)]
pub struct Challenge {
    /// Goes into the digest of the shared key.
    pub nonce: [u8; NONCE],
    /// Goes into the digest of a password; `None` where no user is asked for.
    pub auth: Option<[u8; NONCE]>,
}

/// What the client answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Ping<'b> {
    hostname: &'b [u8],
    salt: &'b [u8],
    digest: &'b [u8],
    user: &'b [u8],
    password: &'b [u8],
}

impl Challenge {
    /// The first message.
    #[must_use]
    pub fn helo(&self) -> Vec<u8> {
        let mut out = vec![0x92];
        push_text(&mut out, b"HELO");
        out.push(0x83);
        push_text(&mut out, b"nonce");
        push_bytes(&mut out, &self.nonce);
        push_text(&mut out, b"auth");
        match &self.auth {
            Some(auth) => push_bytes(&mut out, auth),
            None => push_text(&mut out, b""),
        }
        push_text(&mut out, b"keepalive");
        out.push(0xc3);
        out
    }

    /// Whether the client knows the shared key.
    #[must_use]
    pub fn knows_key(&self, ping: &Ping<'_>, key: &[u8]) -> bool {
        hex_digest(&[ping.salt, ping.hostname, &self.nonce, key]).ct_eq(ping.digest).into()
    }

    /// Whether the client is one of these users, named with their passwords. Every one is looked at, so that time does not tell which.
    #[must_use]
    pub fn knows_password<'u>(&self, ping: &Ping<'_>, users: impl Iterator<Item = (&'u [u8], &'u [u8])>) -> bool {
        let Some(auth) = &self.auth else { return true };
        let known = users.fold(Choice::from(0), |known, (name, password)| {
            known | (name.ct_eq(ping.user) & hex_digest(&[auth, name, password]).ct_eq(ping.password))
        });
        known.into()
    }

    /// The last message: that the client is let in, with the proof that we know the key.
    #[must_use]
    pub fn pong(&self, ping: &Ping<'_>, key: &[u8]) -> Vec<u8> {
        answer(true, b"", HOSTNAME, &hex_digest(&[ping.salt, HOSTNAME, &self.nonce, key]))
    }
}

/// The last message to a client that is not let in.
#[must_use]
pub fn refusal(reason: &str) -> Vec<u8> {
    answer(false, reason.as_bytes(), b"", b"")
}

fn answer(ok: bool, reason: &[u8], hostname: &[u8], digest: &[u8]) -> Vec<u8> {
    let mut out = vec![0x95];
    push_text(&mut out, b"PONG");
    out.push(if ok { 0xc3 } else { 0xc2 });
    for part in [reason, hostname, digest] {
        push_text(&mut out, part);
    }
    out
}

impl<'b> Ping<'b> {
    /// Reads the client's message and gives its length; `None` while there is not all of it.
    ///
    /// # Errors
    /// When it is another message.
    pub fn read(bytes: &'b [u8]) -> Result<Option<(Self, usize)>, DecodeError> {
        let mut walk = Walk { at: 0, left: 1 };
        match walk.go_on(bytes) {
            Ok(()) => {}
            Err(Fault::Short) => return Ok(None),
            Err(broken) => return Err(broken.into()),
        }
        let wrong = DecodeError::Forward { at: 0, what: "a handshake is expected: does the client have the shared key?" };
        let (Head::Array(6), mut at) = head(bytes, 0)? else { return Err(wrong) };
        let mut parts: [&[u8]; 6] = [b""; 6];
        for part in &mut parts {
            let Some((range, next)) = text(bytes, at)? else { return Err(wrong) };
            (*part, at) = (bytes.get(range).unwrap_or_default(), next);
        }
        let [kind, hostname, salt, digest, user, password] = parts;
        if kind != b"PING" { Err(wrong) } else { Ok(Some((Self { hostname, salt, digest, user, password }, at))) }
    }
}

/// The acknowledgement of a chunk.
#[must_use]
pub fn ack(chunk: &[u8]) -> Vec<u8> {
    let mut out = vec![0x81];
    push_text(&mut out, b"ack");
    push_text(&mut out, chunk);
    out
}

/// SHA-512 of all parts, as hex digits in lower case.
fn hex_digest(parts: &[&[u8]]) -> Vec<u8> {
    let digest = parts.iter().fold(Sha512::new(), |hash, part| hash.chain_update(part)).finalize();
    digest.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }).collect()
}

/// Texts of up to 255 bytes, which all of ours are.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..=31) => out.push(0xa0 | length),
        Ok(length) => out.extend_from_slice(&[0xd9, length]),
        Err(_) => {
            out.push(0xdb);
            out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8; NONCE]) {
    out.extend_from_slice(&[0xc4, NONCE as u8]);
    out.extend_from_slice(bytes);
}
