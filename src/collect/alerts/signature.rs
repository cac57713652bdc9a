//! Signatures of webhooks: HMAC-SHA256 of the body as it was sent.

use std::time::Duration;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::model::{Secret, Timestamp};

/// Length of a block of SHA-256.
const BLOCK: usize = 64;

/// Signatures in one header that are looked at: a sender in the middle of a rotation has two.
const MOST: usize = 8;

/// A digest.
pub(super) type Mac = [u8; 32];

/// What the headers of a request bring as proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    /// Any of them may be right.
    macs: Vec<Mac>,
    /// Stands before the body in what is signed, with a dot behind it.
    stamp: Option<String>,
}

impl Claimed {
    /// `X-Alertmanager-Signature`, with the time in `X-Alertmanager-Timestamp` (contracts C.2).
    ///
    /// # Errors
    /// When there is none, or the time is missing or too far from ours.
    pub(super) fn of_alertmanager(headers: &HeaderMap, now: Timestamp, tolerance: Option<Duration>) -> Result<Self, &'static str> {
        let text = one(headers, "x-alertmanager-signature")?.ok_or("a signature is needed: X-Alertmanager-Signature")?;
        let mac = hex(text.strip_prefix("sha256=").unwrap_or(text)).ok_or("X-Alertmanager-Signature is no HMAC-SHA256 in hex")?;
        let stamp = one(headers, "x-alertmanager-timestamp")?;
        if let Some(stamp) = stamp {
            let at = stamp.parse().ok().map(|seconds| Timestamp::from_parts(seconds, 0));
            let at = at.ok_or("X-Alertmanager-Timestamp is no number of seconds since 1970")?;
            let tolerance = tolerance.unwrap_or(Duration::MAX);
            if now.since(at).max(at.since(now)) > tolerance {
                return Err("the signature is too old or from the future: compare the clocks");
            }
        } else if tolerance.is_some() {
            return Err("the signature must cover a time: X-Alertmanager-Timestamp");
        }
        Ok(Self { macs: vec![mac], stamp: stamp.map(str::to_owned) })
    }

    /// `X-PagerDuty-Signature`: one or more of `v1=...`, separated by commas (contracts E.5).
    ///
    /// # Errors
    /// When there is none that can be read.
    pub(super) fn of_pagerduty(headers: &HeaderMap) -> Result<Self, &'static str> {
        let text = one(headers, "x-pagerduty-signature")?.ok_or("a signature is needed: X-PagerDuty-Signature")?;
        let macs: Vec<Mac> = text.split(',').take(MOST).filter_map(|item| hex(item.trim().strip_prefix("v1=")?)).collect();
        if macs.is_empty() { Err("X-PagerDuty-Signature has no v1= with an HMAC-SHA256 in hex") } else { Ok(Self { macs, stamp: None }) }
    }

    /// The signature that is right for one of the secrets. Takes the same time whichever is right, and whether one is.
    pub(super) fn check(&self, secrets: &[Secret], body: &[u8]) -> Option<Mac> {
        let mut found = Choice::from(0);
        for secret in secrets {
            let mac = hmac(secret.expose().as_bytes(), self.stamp.as_deref(), body);
            for claimed in &self.macs {
                found |= mac.ct_eq(claimed);
            }
        }
        bool::from(found).then(|| self.macs.first().copied()).flatten()
    }

    /// The signature covers a time, and so is made once.
    pub(super) fn is_stamped(&self) -> bool {
        self.stamp.is_some()
    }
}

/// RFC 2104 with SHA-256, over a stamp with a dot and a body.
fn hmac(key: &[u8], stamp: Option<&str>, body: &[u8]) -> Mac {
    let mut block = [0_u8; BLOCK];
    let hashed: Mac;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key).into();
        &hashed[..]
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    if let Some(stamp) = stamp {
        inner.update(stamp.as_bytes());
        inner.update(b".");
    }
    inner.update(body);
    Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// A header that may stand there once.
fn one<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, &'static str> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("a header of the signature is given twice");
    }
    value.to_str().map(|text| Some(text.trim())).map_err(|_| "a header of the signature is no text")
}

fn hex(text: &str) -> Option<Mac> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len().is_multiple_of(2) { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mac: Mac) -> String {
        mac.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_digest_is_that_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, data, expected) in cases {
            assert_eq!(text(hmac(key, None, data)), expected);
        }
        assert_eq!(hmac(b"Jefe", Some("what"), b"do"), hmac(b"Jefe", None, b"what.do"));
    }

    #[test]
    fn of_several_signatures_and_secrets_one_pair_is_enough() {
        let (old, new) = (Secret::new("an old secret".to_owned()), Secret::new("a new secret".to_owned()));
        let right = text(hmac(b"a new secret", None, b"body"));
        let wrong = "0".repeat(64);
        let check = |header: &str, secrets: &[Secret]| {
            Claimed::of_pagerduty(&headers(&[("x-pagerduty-signature", header)])).map(|claimed| claimed.check(secrets, b"body").is_some())
        };
        let both = [old.clone(), new.clone()];
        assert_eq!(check(&format!("v1={right}"), &both), Ok(true));
        assert_eq!(check(&format!("v1={wrong},v1={right}"), &both), Ok(true));
        assert_eq!(check(&format!("v1={wrong}, v1={}", right.to_uppercase()), &[new]), Ok(true));
        assert_eq!(check(&format!("v2=ff,v1={right}"), &both), Ok(true));
        assert_eq!(check(&format!("v1={right}"), &[old]), Ok(false));
        assert_eq!(check(&format!("v1={wrong}"), &both), Ok(false));
        assert_eq!(check(&format!("v1={right}"), &[]), Ok(false));
        for malformed in ["", "v1=", "v1=zz", &right, &format!("v1={}", &right[..62]), "v1"] {
            assert!(check(malformed, &both).is_err(), "{malformed:?}");
        }
    }

    #[test]
    fn a_signed_time_must_be_near_ours() {
        let now = Timestamp::from_parts(1_700_000_000, 0);
        let (mac, five) = ("ab".repeat(32), Some(Duration::from_secs(300)));
        let of = |stamp: Option<&str>, tolerance| {
            let mut pairs = vec![("x-alertmanager-signature", mac.as_str())];
            pairs.extend(stamp.map(|stamp| ("x-alertmanager-timestamp", stamp)));
            Claimed::of_alertmanager(&headers(&pairs), now, tolerance).map(|claimed| claimed.is_stamped())
        };
        for stamp in ["1700000000", "1699999700", "1700000300"] {
            assert_eq!(of(Some(stamp), five), Ok(true), "{stamp}");
        }
        for stamp in ["1699999699", "1700000301", "0", "-1", "9223372036854775807", "now", ""] {
            assert!(of(Some(stamp), five).is_err(), "{stamp}");
        }
        assert_eq!((of(None, None), of(None, five).is_err()), (Ok(false), true));
        let twice = headers(&[("x-alertmanager-signature", &mac)]).iter().chain(&headers(&[("x-alertmanager-signature", &mac)])).fold(
            HeaderMap::new(),
            |mut all, (name, value)| {
                all.append(name, value.clone());
                all
            },
        );
        assert!(Claimed::of_alertmanager(&twice, now, None).is_err());
        assert!(Claimed::of_alertmanager(&HeaderMap::new(), now, None).is_err());
        let prefixed = headers(&[("x-alertmanager-signature", &format!("sha256={mac}"))]);
        assert!(Claimed::of_alertmanager(&prefixed, now, None).is_ok());
    }
}
