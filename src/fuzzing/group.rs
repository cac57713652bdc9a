//! What makes groups of lines, and what takes secrets out of them.

use crate::group::{self, GroupId, TemplateConfig, TemplateMiner};
use crate::model::Egress;

/// A secret that stands nowhere by chance, in forms that are redacted wherever they stand.
const SECRETS: [&str; 4] =
    ["password=QqZz7secret", "--api-token QqZz7secret", "postgres://app:QqZz7secret@db/x", "Authorization: Bearer QqZz7secret"];

/// The masker takes any bytes, keeps its bound, and answers the same whatever stood in the buffer before and however long the line goes on.
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

/// The miner of templates takes any lines, finds a group for each, and goes on after a restart as if there had been none.
///
/// # Panics
/// When it does not: that is the finding.
pub fn template(data: &[u8]) {
    let config = TemplateConfig { max_groups: 100, max_streams: 1 };
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let (mut before, mut found, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut miner = TemplateMiner::new(config);
    miner.mine("", first, &mut before);
    assert_grouped(&mut miner, first, &before);
    let saved = miner.save().expect("JSON in memory");
    let mut restored = TemplateMiner::restore(config, &saved).expect("what was saved");
    assert_eq!(restored.save().expect("JSON in memory"), saved, "saving changed something");
    miner.mine("", second, &mut found);
    restored.mine("", second, &mut again);
    assert_eq!(found, again, "a restart changed groups");
    assert_eq!(miner.save().expect("JSON in memory"), restored.save().expect("JSON in memory"), "a restart is remembered");
    assert!(miner.len() <= config.max_groups, "more groups than may be");
    assert_grouped(&mut miner, second, &found);
    for group in before.into_iter().chain(found) {
        assert!(miner.current(group) <= group, "a group that was merged into a younger one");
        assert_eq!(miner.current(group), restored.current(group));
        assert_eq!(miner.template(group), restored.template(group));
    }
    for (merged, into) in miner.aliases() {
        assert!(into < merged && miner.current(into) == into, "an alias of an alias, or of a younger group");
    }
}

/// Every line has a group that is no part of another one, with a template that shows no secret.
fn assert_grouped(miner: &mut TemplateMiner, lines: &[&[u8]], found: &[GroupId]) {
    assert_eq!(found.len(), lines.len(), "a line without a group");
    for group in found {
        assert_eq!(miner.current(*group), *group, "a group that is an alias");
        let template = miner.template(*group);
        assert_eq!(group::redact(template), template, "a template with a secret");
    }
}

/// Redacting twice gives the same as once (a text, its lines in their order, and what a receiver sees of it), and a secret goes whatever stands
/// around it.
///
/// # Panics
/// When it does not: that is the finding.
pub fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let once = group::redact(&text);
    assert_eq!(group::redact(&once), once);
    for max_length in [None, Some(data.len() / 2)] {
        let egress = Egress { ip: true, uuid: true, email: true, hex: true, max_length };
        let hidden = egress.hide(&once);
        assert_eq!(egress.hide(&hidden), hidden, "hidden twice");
        assert!(max_length.is_none_or(|most| hidden.len() <= most), "longer than may be");
    }
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    group::redact_lines(&mut lines);
    let mut again = lines.clone();
    group::redact_lines(&mut again);
    assert_eq!(again, lines, "lines redacted twice");
    for secret in SECRETS {
        // A line of its own: what stands before it on the same line may say that it is none.
        let around = format!("{text}\n{secret}\n{text}");
        let once = group::redact(&around);
        assert!(!once.contains("QqZz7"), "a secret stays");
        assert_eq!(group::redact(&once), once);
    }
}
