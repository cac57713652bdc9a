//! Open traces where it is known which lines come next, as in virtual time.
//!
//! There a trace need not wait for the time to pass in which it might go on: it counts with its last line. So what it counts is what a running
//! program would count, and it counts when the fault happened.

use std::sync::Arc;

use crate::model::{Stream, TenantId};

use super::fingerprint::tenant_hash;
use super::open::{ClosedBy, OpenBook};
use super::open_traces::OpenTrace;
use super::seen::who_of;
use super::sightings::Sightings;
use super::subject::plain_text_of;
use super::trace::{Limits, Step};

impl OpenBook {
    /// Closes the traces of a stream that none of the next lines goes on with, and gives what they count. `next` are the lines of the stream that
    /// come before a trace would have waited long enough, in their order.
    pub fn foresee<'l>(&mut self, tenant: &TenantId, stream: &Stream, next: impl Iterator<Item = &'l [u8]> + Clone) -> Sightings {
        let mut closed = Sightings::none(&self.rules, tenant, &self.cluster);
        let open = self.index.of(tenant_hash(tenant), stream.id());
        let ended: Vec<Arc<OpenTrace>> = open.into_iter().filter(|trace| !goes_on(trace, stream, next.clone(), self.limits)).collect();
        for trace in ended {
            self.close(&trace, ClosedBy::Line, &mut closed);
        }
        closed
    }
}

fn goes_on<'l>(trace: &OpenTrace, stream: &Stream, next: impl Iterator<Item = &'l [u8]>, limits: Limits) -> bool {
    let mut fold = trace.fold.clone();
    let mut of_source = next.filter(|line| who_of(line, stream) == trace.key.who);
    // What may belong to it does so only if a line follows that does.
    of_source.find_map(|line| match fold.step(&plain_text_of(line), limits) {
        Step::Continues => Some(true),
        Step::Ends => Some(false),
        Step::Loose => None,
    }) == Some(true)
}
