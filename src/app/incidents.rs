//! Incidents in the commit loop: what the turns of events mean for them goes into the commit that carries the turns.
//!
//! Nearly all commits carry none, and then nothing is asked and nothing is written. Where events changed without a turn (the store removed
//! them, their rules are gone, an incident aged out under them, the process just started), the two are compared and put right in a commit of
//! its own.

use tokio::sync::oneshot;

use crate::group::{IncidentConfig, Incidents, event_turns};
use crate::model::{Changes, HealthyTime, Incident, IncidentId, IncidentWrite, Moment};
use crate::serve::NotResolved;
use crate::store::{Commit, StoreError, Writer};

use super::commit_loop::{CommitLoop, MOST_LAPSED};

/// What the commit loop keeps for incidents. Of themselves nothing: they are in the store.
pub(super) struct IncidentKeeper {
    incidents: Incidents,
    /// Events may have changed without a turn.
    unsettled: bool,
}

/// A person says that an incident is over.
pub(super) struct Resolution {
    pub(super) id: IncidentId,
    pub(super) done: oneshot::Sender<Result<Incident, NotResolved>>,
}

impl IncidentKeeper {
    /// At a start nobody knows what the process before it did not come to.
    pub(super) fn new(config: &IncidentConfig) -> Self {
        Self { incidents: Incidents::new(config), unsettled: true }
    }

    /// The store changed events on its own.
    pub(super) fn compare(&mut self) {
        self.unsettled = true;
    }

    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled
    }
}

impl CommitLoop {
    /// What follows for incidents from these changes, to be written with them.
    pub(super) async fn follow(&mut self, changes: &Changes, now: Moment) -> Result<Vec<IncidentWrite>, StoreError> {
        let turns = event_turns(changes);
        if turns.is_empty() {
            return Ok(Vec::new());
        }
        let since = self.incidents.incidents.recurrence_since(now.clock);
        let facts = self.until_it_works(|writer| writer.incident_facts(&turns, since)).await?;
        Ok(self.incidents.incidents.follow(facts.services, facts.next_row, now))
    }

    /// When the next open incident ages out, or the last one that ended can no longer be reopened; `None` when the healthy clock matters to
    /// none.
    pub(super) async fn next_aging(&mut self) -> Result<Option<HealthyTime>, StoreError> {
        let (oldest, ended) = self.until_it_works(Writer::incident_times).await?;
        let (incidents, healthy) = (&self.incidents.incidents, self.quiet.healthy());
        let ages = oldest.map(|oldest| incidents.ages_at(oldest));
        let reopens = ended.map(|ended| incidents.reopens_until(ended)).filter(|until| *until >= healthy);
        self.incidents.unsettled |= ages.is_some_and(|ages| ages <= healthy);
        Ok(ages.into_iter().chain(reopens).min())
    }

    /// Compares incidents and events where they may not fit each other, and writes some of what is wrong.
    pub(super) async fn settle_incidents(&mut self) -> Result<(), StoreError> {
        if !self.incidents.unsettled {
            return Ok(());
        }
        let now = self.now();
        let aged_since = self.incidents.incidents.aged_since(now.healthy);
        let found = self.until_it_works(|writer| writer.unsettled(aged_since, MOST_LAPSED)).await?;
        let incidents = &self.incidents.incidents;
        let mut writes = Vec::new();
        for incident in found.aged {
            writes.extend(incidents.age_out(incident, now).ok());
        }
        for incident in found.over {
            if writes.iter().all(|write: &IncidentWrite| write.incident.row != incident.row) {
                writes.extend(incidents.settle(incident, now).ok());
            }
        }
        if writes.is_empty() && !found.loose.is_empty() {
            let since = incidents.recurrence_since(now.clock);
            let facts = self.until_it_works(|writer| writer.incident_facts(&found.loose, since)).await?;
            writes = self.incidents.incidents.follow(facts.services, facts.next_row, now);
        }
        self.incidents.unsettled = !writes.is_empty();
        self.commit_incidents(writes).await
    }

    /// Does what a person said, and answers.
    pub(super) async fn resolve(&mut self, resolution: Resolution) -> Result<(), StoreError> {
        let answer = self.try_resolve(resolution.id).await?;
        // Who asked may be gone.
        resolution.done.send(answer).ok();
        Ok(())
    }

    async fn try_resolve(&mut self, id: IncidentId) -> Result<Result<Incident, NotResolved>, StoreError> {
        let Some((incident, firing)) = self.until_it_works(|writer| writer.incident(id)).await? else {
            return Ok(Err(NotResolved::Unknown));
        };
        let write = match self.incidents.incidents.resolve(incident, firing, self.now()) {
            Ok(write) => write,
            Err(refused) => return Ok(Err(NotResolved::Refused(refused.to_string()))),
        };
        let resolved = write.incident.clone();
        self.commit_incidents(vec![write]).await?;
        Ok(Ok(resolved))
    }

    async fn commit_incidents(&mut self, incidents: Vec<IncidentWrite>) -> Result<(), StoreError> {
        if incidents.is_empty() {
            return Ok(());
        }
        let commit = Commit { incidents, ..Commit::default() };
        self.until_it_works(|writer| writer.commit(&commit)).await?;
        self.metrics.incidents(&commit.incidents);
        Ok(())
    }
}
