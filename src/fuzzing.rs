//! Bodies of the fuzz targets, here so that the ordinary tests replay their regressions.

use crate::group;

/// The masker takes any bytes, keeps its bound, and answers the same twice.
///
/// # Panics
/// When it does not: that is the finding.
pub fn mask(data: &[u8]) {
    let mut template = String::from("left over");
    group::mask(data, &mut template);
    assert!(template.len() <= group::MAX_TEMPLATE, "template of {} bytes", template.len());
    let mut again = String::new();
    group::mask(data, &mut again);
    assert_eq!(template, again);
}

/// Redacting twice gives the same as once.
///
/// # Panics
/// When it does not: that is the finding.
pub fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = group::redact(&text);
    assert_eq!(group::redact(&once), once);
}
