//! The identity of an event.

use std::fmt;

/// 16 bytes that name an event: scheme, tenant, cluster, rule name, workload and template group, hashed.
///
/// The first byte is the version of the scheme, so that a later scheme can stand beside this one. Built only in `group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

/// 16 bytes that name a template group: a hash of what it was born with, so that it is the same on every machine and in every store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateGroup(pub [u8; 16]);

impl Fingerprint {
    /// 32 lower-case hex digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

/// 32 lower-case hex digits.
impl fmt::Display for TemplateGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
