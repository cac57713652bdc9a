//! What can go wrong with a Loki.

use std::time::Duration;

/// Something that goes wrong from now on.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nobody is there: connections end at once.
    Outage,
    /// Every answer has this status, and `Retry-After` where it is given.
    Status(u16, Option<u64>),
    /// Every answer is 200 with this body.
    Body(&'static str),
    /// Answers end in their midst.
    CutOff,
    /// Answers come so late.
    Slow(Duration),
    /// Tails are closed with a frame.
    CloseTails { code: u16, reason: &'static str },
    /// Connections of tails are cut.
    DropTails,
    /// Tails are not read from any more, so that they drop lines; or they are again.
    StallTails(bool),
}

/// What goes wrong now.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) now: Option<Fault>,
}

impl Faults {
    pub(crate) fn begin(&mut self, fault: Fault) {
        self.now = Some(fault);
    }

    pub(crate) fn is_outage(&self) -> bool {
        matches!(self.now, Some(Fault::Outage))
    }
}
