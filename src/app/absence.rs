//! The commit loop's part in absences: asks the sources, and tells what did not come.
//!
//! The order matters. Doors note that lines came after they sent the hits of these to the loop. The loop looks at the notes first, then takes
//! what has arrived, and judges last: so a note that it saw never speaks of lines that are still on their way to it. Where more has arrived than
//! one commit takes, it judges some commits later, by the same notes and as of the same moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::flow::Sources;
use crate::group::AbsentRule;
use crate::model::{HealthyTime, SourceHealth, WindowKey};
use crate::serve::AbsenceView;
use crate::store::StoreError;

use super::commit_loop::{CommitLoop, Work};

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

/// What the sources of everything whose time has come said, until what they had sent by then is taken.
#[derive(Default)]
pub(super) struct Asked {
    answers: Vec<(WindowKey, SourceHealth)>,
    /// When they were asked, less the slack.
    at: HealthyTime,
    /// What had arrived by then and is not taken yet.
    ahead: usize,
}

impl Asked {
    /// So much was taken, in the order in which it arrived.
    pub(super) fn took(&mut self, many: usize) {
        self.ahead = self.ahead.saturating_sub(many);
    }

    /// All that was sent before they were asked is taken.
    fn is_ripe(&self) -> bool {
        self.ahead == 0
    }
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
    pub(super) fn ask_sources(&mut self, work: &mpsc::Receiver<Work>) -> Asked {
        if !self.grouper.is_waiting() {
            return Asked::default();
        }
        let (sources, at) = (&self.absence.sources, self.quiet.healthy().minus(SLACK));
        let due = self.grouper.due_watches(sources.first(), at);
        let answers = due.into_iter().map(|(key, source)| (key, sources.health(&source))).collect();
        // After the answers: what they speak of is among it.
        Asked { answers, at, ahead: work.len() }
    }

    /// Judges what did not come by these answers. While some of what was sent before them is on its way they are given back, for later.
    pub(super) async fn judge_absences(&mut self, asked: Asked) -> Result<Option<Asked>, StoreError> {
        if !asked.is_ripe() {
            self.show_absences();
            return Ok(Some(asked));
        }
        if !asked.answers.is_empty() {
            let judged = self.grouper.judge(&asked.answers, asked.at);
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
        Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_ripe_when_all_that_was_ahead_of_them_is_taken_however_much_comes_behind_it() {
        let mut asked = Asked { ahead: 2_000, ..Asked::default() };
        asked.took(1_024);
        assert!(!asked.is_ripe());
        asked.took(1_024);
        assert!(asked.is_ripe());
    }
}
