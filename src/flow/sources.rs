//! What the doors know of those who send: when lines came, how late, and what of them was refused.
//!
//! Comes in: one note for each request, never for each line. Goes out: the [`SourceHealth`] of a source, by which `group` judges whether a
//! line is absent or only its sender. A pull source fills in the same value.
//!
//! INVARIANTS: sources are hashes and bounded in number, so no sender decides what this takes. Nothing of it is stored: after a start every
//! source counts as heard at the start, and as told to send again what it could not send meanwhile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{Block, HealthyTime, SourceHealth, SourceKey, SourceName, SourcePath, TenantId, Timestamp};

/// What is known of all sources. Cheap to clone; all clones are one book.
#[derive(Debug, Clone)]
pub struct Sources(Arc<Inner>);

/// When a source is taken for down and for gone, and how many are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// Sources that are known at once.
    pub most: usize,
    /// One that is silent for so long is down.
    pub down_after: Duration,
    /// A node that is silent for so long, while others of its tenant and door send, is gone: it is no excuse any more.
    pub gone_after: Duration,
}

/// What one batch tells of its sources.
#[derive(Debug)]
pub struct Heard {
    tenant: TenantId,
    door: SourceName,
    received: Timestamp,
    /// The newest line of all, and of each node.
    newest: Vec<(SourceKey, Timestamp)>,
}

#[derive(Debug)]
struct Inner {
    limits: SourceLimits,
    /// The healthy clock at its last look, by which everything here is noted.
    healthy: AtomicI64,
    /// Some rule waits for lines. Otherwise nobody asks, and batches are not looked at.
    watched: AtomicBool,
    started: HealthyTime,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    sources: HashMap<SourceKey, Known>,
    /// Who was heard first.
    first: Option<(TenantId, SourceName)>,
    tidied: HealthyTime,
    /// How many of the sources are nodes.
    nodes: usize,
    /// When there was last no room for a source.
    turned_away: Option<HealthyTime>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    health: SourceHealth,
    newest: Timestamp,
    is_node: bool,
}

impl Sources {
    /// An empty book that begins at this point of the healthy clock.
    #[must_use]
    pub fn new(limits: SourceLimits, started: HealthyTime) -> Self {
        let book = Mutex::new(Book { tidied: started, ..Book::default() });
        let healthy = AtomicI64::new(started.0);
        Self(Arc::new(Inner { limits, healthy, watched: AtomicBool::new(false), started, book }))
    }

    /// From now on some rule waits for lines, or none does.
    pub fn set_watched(&self, watched: bool) {
        self.0.watched.store(watched, Ordering::Relaxed);
    }

    /// Moves the clock of the notes.
    pub fn set_healthy(&self, now: HealthyTime) {
        self.0.healthy.store(now.0, Ordering::Relaxed);
    }

    /// What a batch tells, to be noted with [`Sources::note`] once its hits are on their way; `None` while no rule waits.
    #[must_use]
    pub fn heard(&self, tenant: &TenantId, door: SourceName, block: &Block, received: Timestamp) -> Option<Heard> {
        self.0.watched.load(Ordering::Relaxed).then(|| Heard::of(tenant, door, block, received))
    }

    /// Lines came. Of hits that wait for the commit loop it must be noted after they were sent there: whoever judges looks into this book
    /// before he takes what was sent.
    pub fn note(&self, heard: Option<Heard>) {
        let Some(heard) = heard else { return };
        let now = self.now();
        let Inner { limits, started, .. } = &*self.0;
        let whole = SourceKey::new(&heard.tenant, heard.door, "");
        let mut book = self.lock();
        book.first.get_or_insert_with(|| (heard.tenant.clone(), heard.door));
        for (key, newest) in heard.newest {
            let Some(known) = book.known(key, key != whole, now, limits, *started) else { continue };
            if now.since(known.health.heard) >= limits.down_after {
                known.health.back = Some(now);
            }
            known.health.heard = now;
            known.newest = known.newest.max(newest.min(heard.received));
            known.health.lag = heard.received.since(known.newest);
        }
    }

    /// A source that is asked for its lines answered, and all that it had until now was taken: silence is its own then. To be noted after its
    /// last lines went to the intake.
    pub fn caught_up(&self, tenant: &TenantId, door: SourceName, node: &str) {
        if !self.0.watched.load(Ordering::Relaxed) {
            return;
        }
        let (now, Inner { limits, started, .. }) = (self.now(), &*self.0);
        let mut book = self.lock();
        book.first.get_or_insert_with(|| (tenant.clone(), door));
        for name in ["", node].into_iter().take(1 + usize::from(!node.is_empty())) {
            let Some(known) = book.known(SourceKey::new(tenant, door, name), !name.is_empty(), now, limits, *started) else { continue };
            if now.since(known.health.heard) >= limits.down_after {
                known.health.back = Some(now);
            }
            known.health.heard = now;
            known.health.lag = Duration::ZERO;
        }
    }

    /// A request was not taken, and its sender was told to try again; or a source that is asked for its lines could not be.
    pub fn put_off(&self, tenant: &TenantId, door: SourceName) {
        self.mark(tenant, door, |health, now| health.put_off = Some(now));
    }

    /// A request was refused for good, or lines of it could not be read.
    pub fn lost(&self, tenant: &TenantId, door: SourceName) {
        self.mark(tenant, door, |health, now| health.lost = Some(now));
    }

    /// Whoever was heard first: a rule that waits for a line from anywhere waits for it from there.
    #[must_use]
    pub fn first(&self) -> Option<(TenantId, SourceName)> {
        self.lock().first.clone()
    }

    /// What is known of a source now. What is refused is refused before its node is known, so it counts for all nodes.
    #[must_use]
    pub fn health(&self, path: &SourcePath) -> SourceHealth {
        let (now, limits, started) = (self.now(), &self.0.limits, self.0.started);
        let unknown = SourceHealth { heard: started, ..SourceHealth::default() };
        let book = self.lock();
        let of = |key: &SourceKey| book.sources.get(key).map(|known| known.health);
        let whole = of(&path.whole).unwrap_or(unknown);
        let mut health = whole;
        if let Some(node) = path.node.as_ref().map(of) {
            // One that there may have been no room for is not known to be gone.
            let was_full = book.turned_away.is_some_and(|at| now.since(at) < limits.gone_after);
            let is_unheard = node.is_none() && was_full;
            let node = node.unwrap_or(unknown);
            if is_unheard || now.since(node.heard) < limits.gone_after || now.since(whole.heard) >= limits.down_after {
                health = SourceHealth { put_off: whole.put_off, lost: whole.lost, ..node };
            }
        }
        health.put_off = Some(health.put_off.map_or(started, |at| at.max(started)));
        health
    }

    fn mark(&self, tenant: &TenantId, door: SourceName, set: impl FnOnce(&mut SourceHealth, HealthyTime)) {
        let (now, Inner { limits, started, .. }) = (self.now(), &*self.0);
        if let Some(known) = self.lock().known(SourceKey::new(tenant, door, ""), false, now, limits, *started) {
            set(&mut known.health, now);
        }
    }

    fn now(&self) -> HealthyTime {
        HealthyTime(self.0.healthy.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// What is known of a source, if there is room for it. A node makes room for what a tenant sends as a whole, which many keys go by.
    fn known(
        &mut self,
        key: SourceKey,
        is_node: bool,
        now: HealthyTime,
        limits: &SourceLimits,
        started: HealthyTime,
    ) -> Option<&mut Known> {
        let is_new = !self.sources.contains_key(&key);
        if is_new && self.sources.len() >= limits.most && now > self.tidied {
            // Reads all of them, and the clock moves once a second at most times.
            self.tidied = now;
            self.sources.retain(|_, known| now.since(known.health.heard) < limits.gone_after);
            self.nodes = self.sources.values().filter(|known| known.is_node).count();
        }
        if is_new && self.sources.len() >= limits.most {
            // Whoever has no room is unknown to those who ask, and so down: rather held than told wrongly.
            self.turned_away = Some(now);
            if is_node || self.nodes == 0 {
                return None;
            }
            let node = self.sources.iter().find(|(_, known)| known.is_node).map(|(node, _)| *node)?;
            self.sources.remove(&node);
            self.nodes -= 1;
        }
        match self.sources.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => {
                self.nodes += usize::from(is_node);
                let health = SourceHealth { heard: started, ..SourceHealth::default() };
                Some(new.insert(Known { health, newest: Timestamp(i64::MIN), is_node }))
            }
        }
    }
}

impl Heard {
    fn of(tenant: &TenantId, door: SourceName, block: &Block, received: Timestamp) -> Self {
        let mut by_stream = vec![None; block.streams().len()];
        for line in block.lines() {
            let newest: &mut Option<Timestamp> = &mut by_stream[line.stream as usize];
            *newest = Some(newest.map_or(line.at, |newest| newest.max(line.at)));
        }
        let mut by_node: HashMap<&str, Timestamp> = HashMap::new();
        for (stream, newest) in block.streams().iter().zip(&by_stream) {
            let Some(newest) = *newest else { continue };
            for node in [&*stream.workload().node, ""] {
                by_node.entry(node).and_modify(|known| *known = newest.max(*known)).or_insert(newest);
            }
        }
        let newest = by_node.into_iter().map(|(node, newest)| (SourceKey::new(tenant, door, node), newest)).collect();
        Self { tenant: tenant.clone(), door, received, newest }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Labels, Line, Stream};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: SourceLimits = SourceLimits { most: 8, down_after: Duration::from_secs(60), gone_after: Duration::from_secs(600) };

    fn at(seconds: i64) -> HealthyTime {
        HealthyTime(seconds * 1_000_000_000)
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_parts(1_700_000_000 + seconds, 0)
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    fn path(node: &str) -> SourcePath {
        SourcePath::new(&tenant("t"), SourceName::LokiPush, node)
    }

    /// A batch with one line for each (node, event time), received at a second that is both clocks'.
    fn hear(sources: &Sources, received: i64, lines: &[(&str, i64)]) {
        let mut block = Block::over(vec![b'x'; lines.len()]);
        for (n, (node, event)) in lines.iter().enumerate() {
            let pairs = if node.is_empty() { Vec::new() } else { vec![("node".to_owned(), (*node).to_owned())] };
            let stream = block.add_stream(Arc::new(Stream::claimed(Labels::try_new(pairs).expect("one label"))));
            block.push(Line { start: n as u32, end: n as u32 + 1, stream, at: time(*event) });
        }
        sources.set_healthy(at(received));
        sources.note(sources.heard(&tenant("t"), SourceName::LokiPush, &block, time(received)));
    }

    fn sources() -> Sources {
        let sources = Sources::new(LIMITS, at(0));
        sources.set_watched(true);
        sources
    }

    #[test]
    fn a_source_is_heard_whichever_of_its_nodes_sends_and_a_node_only_itself() {
        let sources = sources();
        hear(&sources, 10, &[("a", 10), ("b", 8)]);
        hear(&sources, 20, &[("a", 20)]);
        let heard = ["", "a", "b", "unknown"].map(|node| sources.health(&path(node)).heard);
        assert_eq!(heard, [at(20), at(20), at(10), at(0)]);
        assert_eq!(sources.health(&path("b")).lag, 2 * SECOND);
        assert_eq!(sources.first(), Some((tenant("t"), SourceName::LokiPush)));
    }

    #[test]
    fn what_comes_after_a_long_silence_is_back_and_what_comes_late_lags() {
        let sources = sources();
        hear(&sources, 59, &[("", 59)]);
        assert_eq!(sources.health(&path("")).back, None, "heard at the start");
        hear(&sources, 118, &[("", 118)]);
        hear(&sources, 178, &[("", 120)]);
        let health = sources.health(&path(""));
        assert_eq!((health.back, health.lag), (Some(at(178)), 58 * SECOND));
        hear(&sources, 179, &[("", 300)]);
        assert_eq!(sources.health(&path("")).lag, Duration::ZERO, "a line from the future is as new as its receipt");
    }

    #[test]
    fn a_source_that_answers_and_has_nothing_is_heard_and_does_not_lag() {
        let sources = sources();
        hear(&sources, 10, &[("a", 2)]);
        sources.set_healthy(at(30));
        sources.caught_up(&tenant("t"), SourceName::LokiPush, "a");
        for node in ["", "a"] {
            let health = sources.health(&path(node));
            assert_eq!((health.heard, health.lag, health.back), (at(30), Duration::ZERO, None), "{node}");
        }
        sources.set_healthy(at(90));
        sources.caught_up(&tenant("t"), SourceName::LokiPush, "");
        assert_eq!((sources.health(&path("")).back, sources.health(&path("a")).heard), (Some(at(90)), at(30)));
    }

    #[test]
    fn what_is_refused_counts_for_every_node_and_a_start_for_everybody() {
        let sources = sources();
        hear(&sources, 10, &[("a", 10)]);
        assert_eq!((sources.health(&path("a")).put_off, sources.health(&path("a")).lost), (Some(at(0)), None));
        sources.put_off(&tenant("t"), SourceName::LokiPush);
        sources.lost(&tenant("u"), SourceName::LokiPush);
        assert_eq!((sources.health(&path("a")).put_off, sources.health(&path("a")).lost), (Some(at(10)), None));
        sources.lost(&tenant("t"), SourceName::LokiPush);
        assert_eq!(sources.health(&path("a")).lost, Some(at(10)));
    }

    #[test]
    fn a_node_that_is_gone_is_no_excuse_while_others_send() {
        let sources = sources();
        hear(&sources, 10, &[("a", 10)]);
        for seconds in (20..700).step_by(50) {
            hear(&sources, seconds, &[("b", seconds)]);
        }
        hear(&sources, 609, &[("b", 609)]);
        assert_eq!(sources.health(&path("a")).heard, at(10), "silent");
        hear(&sources, 610, &[("b", 610)]);
        assert_eq!(sources.health(&path("a")).heard, at(610), "gone: the whole source speaks for it");
        sources.set_healthy(at(700));
        assert_eq!(sources.health(&path("a")).heard, at(10), "nobody sends");
    }

    #[test]
    fn sources_are_bounded_and_those_that_are_gone_make_room() {
        let sources = sources();
        for node in 0..100 {
            hear(&sources, 10, &[(&format!("n{node}"), 10)]);
        }
        assert_eq!(sources.lock().sources.len(), LIMITS.most);
        assert_eq!(sources.health(&path("n99")).heard, at(0), "no room: as if it had never been heard");
        hear(&sources, 700, &[("late", 700)]);
        assert_eq!(sources.health(&path("late")).heard, at(700));
        assert_eq!(sources.lock().sources.len(), 2);
    }

    #[test]
    fn a_node_that_there_was_no_room_for_is_silent_and_not_gone() {
        let sources = sources();
        let mut seconds = 0;
        while seconds <= 700 {
            for node in 0..20 {
                hear(&sources, seconds, &[(&format!("n{node}"), seconds)]);
            }
            seconds += 50;
        }
        assert_eq!(sources.health(&path("n0")).heard, at(700));
        assert_eq!(sources.health(&path("n19")).heard, at(0), "it may send all the while");
        assert_eq!(sources.health(&path("")).heard, at(700));
        while seconds <= 1_400 {
            hear(&sources, seconds, &[("n0", seconds)]);
            seconds += 50;
        }
        assert_eq!(sources.health(&path("n19")).heard, at(1_400), "there was room for long, and it sent nothing");
    }

    #[test]
    fn a_node_makes_room_for_what_another_tenant_sends_as_a_whole() {
        let sources = sources();
        for node in 0..LIMITS.most {
            hear(&sources, 10, &[(&format!("n{node}"), 10)]);
        }
        let whole = |name: &str| sources.health(&SourcePath::new(&tenant(name), SourceName::LokiPush, ""));
        for name in 0..2 * LIMITS.most {
            sources.lost(&tenant(&format!("u{name}")), SourceName::LokiPush);
        }
        assert_eq!((whole("u0").lost, whole("t").heard), (Some(at(10)), at(10)));
        assert_eq!(whole("u15").lost, None, "as many as there is room for");
        let book = sources.lock();
        assert_eq!((book.sources.len(), book.nodes), (LIMITS.most, 0));
    }

    #[test]
    fn nothing_is_looked_at_while_no_rule_waits() {
        let sources = Sources::new(LIMITS, at(0));
        hear(&sources, 10, &[("a", 10)]);
        assert_eq!((sources.first(), sources.health(&path("a")).heard), (None, at(0)));
    }
}
