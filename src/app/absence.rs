//! The commit loop's part in absences: asks the sources, and tells what did not come.
//!
//! The order matters. Doors note that lines came after they sent the hits of these to the loop. The loop looks at the notes first, then takes
//! what has arrived, and judges last: so a note that it saw never speaks of lines that are still on their way to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::flow::Sources;
use crate::group::AbsentRule;
use crate::model::{SourceHealth, WindowKey};
use crate::serve::AbsenceView;
use crate::store::StoreError;

use super::commit_loop::CommitLoop;

/// A deadline is judged so much later than it comes: lines that came in time may still be on their way to the loop, through another
/// request than the newest one.
const SLACK: Duration = Duration::from_secs(1);

/// People are shown what is waited for at most so often: it reads all of it.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What the commit loop knows of sources, and whom it shows what is waited for.
pub(super) struct Absence {
    sources: Sources,
    view: AbsenceView,
    cluster: Arc<str>,
    shown: Option<Instant>,
}

impl Absence {
    pub(super) fn new(sources: Sources, view: AbsenceView, cluster: &str) -> Self {
        Self { sources, view, cluster: Arc::from(cluster), shown: None }
    }
}

impl CommitLoop {
    /// From now on these rules wait for lines.
    pub(super) fn wait_for(&mut self, rules: Vec<AbsentRule>) {
        let healthy = self.quiet.healthy();
        self.absence.sources.set_healthy(healthy);
        let waits = self.grouper.wait_for(rules, &self.absence.cluster, healthy);
        self.absence.sources.set_watched(waits);
        self.quiet.set_watching(waits);
    }

    /// The clock went on.
    pub(super) fn tell_sources_the_time(&self) {
        self.absence.sources.set_healthy(self.quiet.healthy());
    }

    /// What is known of the sources of everything whose time has come. To be asked before anything is taken that they have sent.
    pub(super) fn ask_sources(&mut self) -> Vec<(WindowKey, SourceHealth)> {
        if !self.grouper.is_waiting() {
            return Vec::new();
        }
        let sources = &self.absence.sources;
        let due = self.grouper.due_watches(sources.first(), self.quiet.healthy().minus(SLACK));
        due.into_iter().map(|(key, source)| (key, sources.health(&source))).collect()
    }

    /// Judges what did not come by these answers.
    pub(super) async fn judge_absences(&mut self, asked: Vec<(WindowKey, SourceHealth)>) -> Result<(), StoreError> {
        if !asked.is_empty() {
            let judged = self.grouper.judge(&asked, self.quiet.healthy().minus(SLACK));
            let missing = self.grouper.missing_for_judged(&judged);
            if !missing.is_empty() {
                let heads = self.until_it_works(|writer| writer.lookup(&missing)).await?;
                self.grouper.hydrate(heads, Vec::new());
            }
            if !judged.is_empty() {
                self.grouper.conclude(judged, self.now());
                self.finish_alone().await?;
            }
        }
        self.show_absences();
        Ok(())
    }

    fn show_absences(&mut self) {
        if self.absence.shown.is_some_and(|shown| shown.elapsed() < SHOW_EVERY) {
            return;
        }
        if let Some(status) = self.grouper.absence_news() {
            self.absence.shown = Some(Instant::now());
            self.metrics.absences(&status);
            self.absence.view.set(status);
        }
    }
}
