//! Sources that fetch their lines by themselves: started, tried again after a pause, stopped.
//!
//! A source is a value with a [`Source::run`] that goes on until the process stops or something fails. [`supervise`] calls it again after a
//! fault, with pauses that grow, and tells of it: in the log, in two metrics, and to [`Sources`], by which a rule that waits for lines from there
//! holds fire. A source that is down keeps nobody from pushing, so it does not make the process unready.
//!
//! What a source has to keep: read on from its cursors, lease memory before it takes some ([`Pull::lease`]), hand its batches on in order with
//! the cursors that they lead to, and stop when [`Pull::shutdown`] begins. What it has handed on by then is committed.

use std::error::Error;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};

use crate::model::{SourceName, TenantId};
use crate::telemetry::{Registry, with_causes};

use super::{Budget, Clock, Intake, Lease, Readiness, Shutdown, Sources};

/// How patient the supervisor is.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// First and longest pause between two attempts. Each is longer by half to all of the one before, by chance, so that the processes of a
    /// cluster do not come back together.
    pause: (Duration, Duration),
    /// After an attempt that lasted so long the next pause is the first one again.
    lasted: Duration,
    /// How long a source may take to see that the process stops.
    drain: Duration,
}

const PATIENCE: Patience =
    Patience { pause: (Duration::from_secs(1), Duration::from_secs(60)), lasted: Duration::from_secs(30), drain: Duration::from_secs(5) };

/// Pause before readiness or memory are asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What keeps a source from going on, and may be over with another attempt. Its text stands in the log: no byte of a line may be in it.
pub type SourceFault = Box<dyn Error + Send + Sync>;

/// Something that fetches lines by itself.
pub trait Source: Send {
    /// What kind of source.
    fn kind(&self) -> SourceName;

    /// Which one of its kind, as the configuration names it: stands in the log and in the metric label `name`.
    fn name(&self) -> &str;

    /// Whose lines.
    fn tenant(&self) -> &TenantId;

    /// Fetches until [`Pull::shutdown`] begins, or until there is nothing to fetch for good.
    ///
    /// # Errors
    /// When something fails that another attempt may mend. It is then called again, on the same value.
    fn run(&mut self, pull: &Pull) -> impl Future<Output = Result<(), SourceFault>> + Send;
}

/// What a source has of the process.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Where batches go.
    pub intake: Intake,
    /// Memory for everything in flight.
    pub budget: Budget,
    /// Tells when lines came.
    pub clock: Clock,
    /// While it names an obstacle nothing can be committed.
    pub readiness: Readiness,
    /// When it begins, the source stops.
    pub shutdown: Shutdown,
    /// Is told what the source knows of itself: [`Sources::caught_up`].
    pub sources: Sources,
    /// Where `up` and `restarts` are counted.
    pub registry: Registry,
}

/// Gauges of one source.
#[derive(Debug, Clone)]
pub struct PullState {
    up: Gauge,
    restarts: Counter,
}

impl Pull {
    /// Memory for a batch, as soon as there is some and it could be committed; `None` once the process stops.
    pub async fn lease(&self, bytes: usize) -> Option<Lease> {
        loop {
            if self.shutdown.has_begun() {
                return None;
            }
            if self.readiness.obstacles().is_empty()
                && let Ok(lease) = self.budget.try_admit(bytes)
            {
                return Some(lease);
            }
            self.pause(ASK_AGAIN).await;
        }
    }

    /// Waits that long, or until the process stops.
    pub async fn pause(&self, long: Duration) {
        let begun = pin!(self.shutdown.begun());
        tokio::time::timeout(long, begun).await.ok();
    }

    /// The metrics of a source, at zero.
    #[must_use]
    pub fn state(&self, kind: SourceName, name: &str) -> PullState {
        let labels = [("source", kind.as_str()), ("name", name)];
        let state = PullState {
            up: self.registry.gauge(
                "kube_sentinel_collect_source_up",
                "1 while a source that fetches its lines runs, 0 while it waits for \
                 its next attempt.",
                &labels,
            ),
            restarts: self.registry.counter(
                "kube_sentinel_collect_source_restarts_total",
                "Attempts of a source that ended with a \
                 fault.",
                &labels,
            ),
        };
        state.up.set(0.0);
        state.restarts.increment(0);
        state
    }
}

/// Runs a source until the process stops. A panic of it ends the process in order: lines would be missed silently otherwise.
pub async fn supervise<S: Source>(source: S, pull: Pull) {
    supervise_with(source, pull, PATIENCE).await;
}

async fn supervise_with<S: Source>(mut source: S, pull: Pull, patience: Patience) {
    /// Begins the shutdown when it is dropped by a panic.
    struct Guarded(Shutdown);
    impl Drop for Guarded {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.begin();
            }
        }
    }
    let _guarded = Guarded(pull.shutdown.clone());
    let (kind, name) = (source.kind(), source.name().to_owned());
    let tenant = source.tenant().clone();
    let state = pull.state(kind, &name);
    let mut pause = patience.pause.0;
    while !pull.shutdown.has_begun() {
        state.up.set(1.0);
        let begun = Instant::now();
        let ended = attempt(&mut source, &pull, patience.drain).await;
        state.up.set(0.0);
        let Err(fault) = ended else { return };
        if begun.elapsed() >= patience.lasted {
            pause = patience.pause.0;
        }
        state.restarts.increment(1);
        pull.sources.put_off(&tenant, kind);
        tracing::warn!(source = kind.as_str(), name, error = with_causes(&*fault), retry_in = ?pause, "a source failed");
        pull.pause(pause).await;
        pause = longer(pause).min(patience.pause.1);
    }
}

/// One attempt; one that does not see the end of the process is given up.
async fn attempt<S: Source>(source: &mut S, pull: &Pull, drain: Duration) -> Result<(), SourceFault> {
    let (kind, name) = (source.kind(), source.name().to_owned());
    tokio::select! {
        ended = source.run(pull) => ended,
        () = async {
            pull.shutdown.begun().await;
            tokio::time::sleep(drain).await;
        } => {
            tracing::warn!(source = kind.as_str(), name, "a source did not stop in time: what it was reading is read again after a start");
            Ok(())
        }
    }
}

fn longer(pause: Duration) -> Duration {
    let chance = f64::from(RandomState::new().hash_one(0_u8) as u32) / f64::from(u32::MAX);
    pause.mul_f64(1.5 + chance / 2.0)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::flow::{Fate, SourceLimits};
    use crate::model::HealthyTime;
    use crate::telemetry::TelemetryConfig;

    use super::*;

    fn pull() -> Pull {
        let limits = SourceLimits { most: 8, down_after: Duration::from_secs(60), gone_after: Duration::from_secs(600) };
        Pull {
            intake: Intake::new(|batch| async move { (Fate::Durable, batch.block) }),
            budget: Budget::new(100),
            clock: Clock::system(),
            readiness: Readiness::default(),
            shutdown: Shutdown::default(),
            sources: Sources::new(limits, HealthyTime::default()),
            registry: Registry::new(&TelemetryConfig::default()),
        }
    }

    /// Fails so often, then waits for the end of the process.
    struct Scripted {
        faults: usize,
        at: Arc<Mutex<Vec<Instant>>>,
        tenant: TenantId,
        stops: bool,
    }

    impl Scripted {
        fn new(faults: usize) -> Self {
            let tenant = TenantId::parse("t").expect("a tenant");
            Self { faults, at: Arc::default(), tenant, stops: true }
        }
    }

    impl Source for Scripted {
        fn kind(&self) -> SourceName {
            SourceName::LokiTail
        }

        fn name(&self) -> &str {
            "main"
        }

        fn tenant(&self) -> &TenantId {
            &self.tenant
        }

        async fn run(&mut self, pull: &Pull) -> Result<(), SourceFault> {
            let attempts = {
                let mut at = self.at.lock().expect("no panic");
                at.push(Instant::now());
                at.len()
            };
            if attempts <= self.faults {
                return Err("connection refused".into());
            }
            if self.stops {
                pull.shutdown.begun().await
            } else {
                std::future::pending().await
            }
            Ok(())
        }
    }

    const MILLI: Duration = Duration::from_millis(1);
    const QUICK: Patience =
        Patience { pause: (MILLI, Duration::from_millis(20)), lasted: Duration::from_secs(60), drain: Duration::from_millis(5) };

    async fn until(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never comes");
            tokio::time::sleep(MILLI).await;
        }
    }

    #[tokio::test]
    async fn a_source_that_fails_is_tried_again_with_growing_pauses_and_tells_of_it() {
        let pull = pull();
        let source = Scripted::new(9);
        let at = Arc::clone(&source.at);
        let running = tokio::spawn(supervise_with(source, pull.clone(), QUICK));
        until(|| at.lock().expect("no panic").len() == 10).await;
        let at = at.lock().expect("no panic").clone();
        let pauses: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let least = std::iter::successors(Some(MILLI), |pause| Some(pause.mul_f64(1.5).min(QUICK.pause.1)));
        assert!(pauses.iter().zip(least).all(|(pause, least)| *pause >= least), "{pauses:?}");
        let metrics = pull.registry.render();
        assert!(metrics.contains(r#"kube_sentinel_collect_source_up{source="loki_tail",name="main"} 1"#), "{metrics}");
        assert!(metrics.contains(r#"kube_sentinel_collect_source_restarts_total{source="loki_tail",name="main"} 9"#), "{metrics}");
        pull.shutdown.begin();
        running.await.expect("it ends");
    }

    #[test]
    fn pauses_grow_by_half_to_all_of_the_one_before() {
        for _ in 0..100 {
            let next = longer(100 * MILLI);
            assert!((150 * MILLI..=200 * MILLI).contains(&next), "{next:?}");
        }
    }

    #[tokio::test]
    async fn one_that_does_not_stop_is_left_behind() {
        let pull = pull();
        let source = Scripted { stops: false, ..Scripted::new(0) };
        let at = Arc::clone(&source.at);
        let running = tokio::spawn(supervise_with(source, pull.clone(), QUICK));
        until(|| at.lock().expect("no panic").len() == 1).await;
        pull.shutdown.begin();
        running.await.expect("it ends");
    }

    #[tokio::test]
    async fn memory_is_waited_for_as_is_the_disk_and_nobody_waits_at_the_end() {
        let pull = pull();
        let held = pull.readiness.hold("the store cannot be written");
        let all = pull.budget.try_admit(100).expect("free");
        let waiting = tokio::spawn({
            let pull = pull.clone();
            async move { pull.lease(10).await.is_some() }
        });
        tokio::time::sleep(2 * ASK_AGAIN).await;
        drop(all);
        tokio::time::sleep(2 * ASK_AGAIN).await;
        assert!(!waiting.is_finished(), "nothing could be committed");
        let all = pull.budget.try_admit(100).expect("free");
        drop(held);
        tokio::time::sleep(2 * ASK_AGAIN).await;
        assert!(!waiting.is_finished(), "no memory");
        drop(all);
        assert!(waiting.await.expect("it ends"));
        let _held = pull.readiness.hold("the store cannot be written");
        pull.shutdown.begin();
        assert!(pull.lease(10).await.is_none());
    }
}
