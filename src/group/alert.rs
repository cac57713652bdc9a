//! Alerts among the hits of a batch: each is one event, whatever its text is.
//!
//! The sender of an alert says which one it is, since when it fires and when it is over. So its event is told by the key that the door gave it
//! and not by a template, it is hit once for each time that it began to fire, and a word that it is over ends it.

use crate::model::{Alert, AlertPhase, Fingerprint, Timestamp};

use super::fingerprint::Identity;
use super::redact::redact;
use super::sight::Batch;
use super::subject::{message_of, subject_of};

/// An alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Its event, if there is one.
    pub fingerprint: Fingerprint,
    /// What began after this goes on.
    pub since: Timestamp,
}

impl Batch<'_> {
    /// A line of an alert that met a rule.
    pub(super) fn alert(&mut self, slot: u32, place: usize, alert: &Alert) {
        let line = &self.block.lines()[place];
        let group = Identity::Alert.group_of(alert.key.as_bytes());
        let (source, at_place, _) = self.sent_by(slot);
        let since = match alert.phase {
            AlertPhase::Fires(since) => since,
            AlertPhase::Happened => line.at,
            AlertPhase::Over(since) => {
                self.out.endings.push(Ending { fingerprint: at_place.fingerprint(group), since });
                return;
            }
        };
        let (text, config) = (self.block.text(line), self.context.config);
        self.set_template(&redact(&alert.name));
        let message = || message_of(&subject_of(text, config), config.max_message.bytes());
        let sighting = self.sighting_of(slot, source, place, (Identity::Alert, group), message);
        let since = since.min(self.newest);
        // The same alert twice in one batch is told twice, and began once.
        let known = &self.out.list[sighting as usize];
        if known.count == 0 || alert.phase == AlertPhase::Happened || since > known.last {
            self.count(slot, sighting, since, false);
        }
    }
}
