//! Between group and store in the commit loop: what the grouper has to know before it takes a batch is read from the store.

use crate::group::{Merging, Missing, Sightings};
use crate::model::{EventRow, Removal, TemplateGroup};
use crate::store::{StoreError, Writer};

use super::commit_loop::CommitLoop;

/// Events of groups that became parts of others that are read at once: with their texts they may take 60 KiB each.
const MOST_MERGED: usize = 200;

impl CommitLoop {
    /// Template groups became parts of others: their events follow, in a commit of its own. Everything absorbed before is committed.
    pub(super) async fn merge(&mut self, merging: &Merging, sightings: &Sightings) -> Result<(), StoreError> {
        let groups: Vec<TemplateGroup> = merging.groups().collect();
        let rows: Vec<EventRow> = self.until_it_works(|writer| writer.open_rows_of_groups(&groups)).await?;
        for rows in rows.chunks(MOST_MERGED) {
            let young = self.until_it_works(|writer| writer.events_of_rows(rows)).await?;
            let missing = self.grouper.missing_for_merging(merging, &young, sightings);
            self.look_up(missing).await?;
            self.grouper.merge(merging, young, sightings, self.now());
        }
        self.finish_alone().await
    }

    async fn look_up(&mut self, missing: Missing) -> Result<(), StoreError> {
        if missing.is_empty() {
            return Ok(());
        }
        let (heads, windows) =
            self.until_it_works(|writer| Ok((writer.lookup(&missing.fingerprints)?, writer.lookup_windows(&missing.windows)?))).await?;
        let mut rows = missing.rows;
        rows.extend(self.grouper.hydrate(heads, windows));
        if !rows.is_empty() {
            let heads = self.until_it_works(|writer| writer.lookup_rows(&rows)).await?;
            self.grouper.hydrate(heads, Vec::new());
        }
        Ok(())
    }

    pub(super) async fn absorb(&mut self, sightings: &Sightings) -> Result<(), StoreError> {
        let missing = self.grouper.missing(sightings);
        // An event is born only where memory did not have it before.
        let may_open = !missing.fingerprints.is_empty();
        self.look_up(missing).await?;
        if may_open {
            let births = self.grouper.missing_for_births(sightings);
            if !births.is_empty() {
                let found = |writer: &mut Writer| {
                    Ok((writer.count_events(&births.origins)?, writer.lookup(&births.others)?, writer.folded(&births.named)?))
                };
                let (live, others, named) = self.until_it_works(found).await?;
                self.grouper.hydrate_for_births(&births, &live, others, named);
            }
        }
        self.grouper.absorb(sightings, self.now());
        Ok(())
    }

    /// Tells of events that had to go because there was no room. That they went the store has told; a crash in between costs their number in
    /// the event that counts them.
    pub(super) async fn tell_overflow(&mut self, removed: &[Removal]) -> Result<(), StoreError> {
        let overflows = self.grouper.overflows(removed);
        if overflows.is_empty() {
            return Ok(());
        }
        let (heads, named) = self.until_it_works(|writer| Ok((writer.lookup(&overflows)?, writer.folded(&overflows)?))).await?;
        self.grouper.hydrate(heads, Vec::new());
        self.grouper.overflowed(removed, named, self.now());
        self.finish_alone().await
    }
}
