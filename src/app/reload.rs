//! Rules swapped while running: all of the new set or nothing.
//!
//! The files are looked at again and again by content, which sees every way of writing them (a rename, a ConfigMap's symlink swap) alike.
//! A set that loads is committed to the store first (renamed and removed rules take their events along), then put in force; batches in
//! flight finish under the set that they began with. A set that does not load changes nothing and is reported until it is mended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::detect::{DetectConfig, Detector};
use crate::flow::{Clock, Shutdown};
use crate::group::{AbsentRule, StateNames};
use crate::model::{Generation, RuleName};
use crate::rules::{self, ContentDigest, LoadOptions, Problem, RuleSet, RuleSource};
use crate::serve::{Reload, ReloadRequests, RuleProblem, RulesStatus, RulesView};
use crate::store::{KnownRule, RuleUpdate};

use super::commit_loop::Work;
use super::config::{Config, RulesConfig};
use super::metrics::Metrics;
use super::probe::Canary;

/// What a batch is scanned with: the compiled rules, and the names that their state is kept under.
pub(super) struct InForce {
    pub(super) detector: Detector,
    pub(super) names: StateNames,
}

/// Loads and swaps rules, one reload at a time.
pub(super) struct RuleKeeper {
    pub(super) config: RulesConfig,
    pub(super) options: LoadOptions,
    pub(super) detect: DetectConfig,
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) view: RulesView,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    /// The rules that the store knows.
    pub(super) known: Vec<KnownRule>,
    /// Content of the files at the last try, good or bad; `None` when they could not be read.
    pub(super) tried: Option<ContentDigest>,
    /// Its rule stands before all others.
    pub(super) canary: Option<Canary>,
}

/// A set that could be put in force.
pub(super) struct Prepared {
    pub(super) detector: Detector,
    pub(super) digest: ContentDigest,
    pub(super) warnings: Vec<Problem>,
}

/// Checks and compiles rules.
///
/// # Errors
/// With every problem of every file.
pub(super) fn compile(
    sources: &[RuleSource],
    options: LoadOptions,
    detect: &DetectConfig,
    generation: Generation,
) -> Result<Prepared, Vec<Problem>> {
    let loaded = rules::load(sources, generation, options)?;
    let detector = Detector::build(Arc::new(loaded.set), detect).map_err(|error| {
        let (file, what, hint) = ("detect".to_owned(), error.to_string(), "choose another engine".to_owned());
        vec![Problem { file, line: 0, column: None, rule: None, what, hint }]
    })?;
    Ok(Prepared { detector, digest: loaded.digest, warnings: loaded.warnings })
}

/// Reads, checks and compiles the configured rules.
///
/// # Errors
/// With every problem of every file.
pub(super) fn prepare(config: &Config, generation: Generation) -> Result<Prepared, Vec<Problem>> {
    compile(&rules::read(&config.rules.files)?, options(config), &config.detect, generation)
}

/// What the settings change about a set.
pub(super) fn options(config: &Config) -> LoadOptions {
    LoadOptions { store_unmatched: config.rules.store_unmatched, alert_rules: config.collect.alerts.is_on() }
}

/// The configured rules as files, the self-probe's before them.
///
/// # Errors
/// With every file that cannot be read.
pub(super) fn read_with(files: &[PathBuf], canary: Option<&Canary>) -> Result<Vec<RuleSource>, Vec<Problem>> {
    let files = rules::read(files)?;
    Ok(canary.map(Canary::rules).into_iter().chain(files).collect())
}

/// The names that state is kept under, and what the store has to change when this set follows the rules that it knows.
pub(super) fn follow(known: &[KnownRule], set: &RuleSet) -> (StateNames, RuleUpdate) {
    let table: BTreeMap<RuleName, RuleName> = known.iter().map(|rule| (rule.name.clone(), rule.state_name.clone())).collect();
    let in_force: BTreeSet<RuleName> = known.iter().filter(|rule| !rule.gone).map(|rule| rule.name.clone()).collect();
    let names = StateNames::resolve(set, table, &in_force);
    let old_names: HashMap<&RuleName, &RuleName> = names.renamed.iter().map(|(old, new)| (new, old)).collect();
    let by_name: HashMap<&RuleName, &KnownRule> = known.iter().map(|rule| (&rule.name, rule)).collect();
    let before = |name: &RuleName| by_name.get(*old_names.get(name).unwrap_or(&name));
    let present: HashSet<&RuleName> = set.rules().iter().map(|rule| &rule.name).collect();
    // Rules that are gone stay known while they have events, so that one that comes back, also under a name that it took in between, finds
    // its state again.
    let is_gone = |rule: &&KnownRule| names.table.contains_key(&rule.name) && !present.contains(&rule.name);
    let gone = known.iter().filter(is_gone).map(|rule| KnownRule { gone: true, ..rule.clone() });
    let update = RuleUpdate {
        known: set
            .rules()
            .iter()
            .map(|rule| KnownRule {
                name: rule.name.clone(),
                state_name: RuleName::new(names.of(rule.id)),
                window: rule.window,
                count: rule.count,
                digest: rule.digest(),
                gone: false,
            })
            .chain(gone)
            .collect(),
        rewindowed: set
            .rules()
            .iter()
            .filter(|rule| before(&rule.name).is_some_and(|known| known.window != rule.window))
            .map(|rule| (rule.name.clone(), rule.window))
            .collect(),
        renamed: names.renamed.clone(),
        removed: names.removed.clone(),
    };
    (names, update)
}

/// What the API tells of rules in force.
pub(super) fn status(in_force: &InForce, engine: &'static str, reload: Reload) -> RulesStatus {
    let set = in_force.detector.rules();
    let expensive = in_force.detector.expensive().map(|(id, reason)| (set.rule(id).name.clone(), reason.to_string())).collect();
    RulesStatus { set: Arc::clone(set), loaded_at: reload.at, engine, expensive, last_reload: reload }
}

impl RuleKeeper {
    /// Looks at the files, and reloads when they changed or when somebody asks for it, until the process stops.
    pub(super) async fn keep(mut self, mut asked: ReloadRequests, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(self.config.watch_interval.0) => {
                    let sources = self.read().await;
                    if sources.as_ref().ok().map(|sources| rules::content_digest(sources)) != self.tried {
                        self.reload(sources).await;
                    }
                }
                Some(first) = asked.recv() => {
                    let sources = self.read().await;
                    let outcome = self.reload(sources).await;
                    // Nobody waits any more when the sender of the wish has gone away.
                    first.send(outcome).ok();
                }
            }
        }
    }

    async fn read(&self) -> Result<Vec<RuleSource>, Vec<Problem>> {
        let (files, canary) = (self.config.files.clone(), self.canary.clone());
        tokio::task::spawn_blocking(move || read_with(&files, canary.as_ref())).await.unwrap_or_else(|_| Err(Vec::new()))
    }

    async fn reload(&mut self, sources: Result<Vec<RuleSource>, Vec<Problem>>) -> Reload {
        self.tried = sources.as_ref().ok().map(|sources| rules::content_digest(sources));
        let generation = Generation(self.in_force.load().detector.rules().generation().0 + 1);
        let (options, detect) = (self.options, self.detect.clone());
        let compiled = match sources {
            Ok(sources) => tokio::task::spawn_blocking(move || compile(&sources, options, &detect, generation))
                .await
                .unwrap_or_else(|_| Err(Vec::new())),
            Err(problems) => Err(problems),
        };
        match compiled {
            Ok(prepared) => self.put_in_force(prepared).await,
            Err(problems) => self.refused(problems),
        }
    }

    async fn put_in_force(&mut self, prepared: Prepared) -> Reload {
        let set = Arc::clone(prepared.detector.rules());
        let (names, update) = follow(&self.known, &set);
        let (done, committed) = oneshot::channel();
        let absent = AbsentRule::all(&set, &names);
        let asked = self.work.send(Work::Rules { set: Arc::clone(&set), update, absent, done }).await;
        match committed.await {
            Ok(known) if asked.is_ok() => self.known = known,
            _ => return self.refused(Vec::new()),
        }
        let in_force = InForce { detector: prepared.detector, names };
        let reload = Reload { ok: true, at: self.clock.now(), generation: set.generation(), problems: Vec::new() };
        let status = status(&in_force, self.detect.engine.as_str(), reload.clone());
        // Whoever reads that these rules are in force may rely on it.
        self.in_force.store(Arc::new(in_force));
        self.view.set(status);
        self.metrics.rules_in_force(&set);
        self.metrics.reloaded(true);
        for warning in &prepared.warnings {
            tracing::warn!(%warning, "odd rule");
        }
        tracing::info!(generation = set.generation().0, rules = set.rules().len(), "rules reloaded");
        reload
    }

    /// The rules in force stay.
    fn refused(&self, problems: Vec<Problem>) -> Reload {
        self.metrics.reloaded(false);
        let status = self.view.status();
        let generation = status.set.generation();
        let first = problems.first().map(ToString::to_string);
        tracing::error!(
            problems = problems.len(),
            first,
            generation = generation.0,
            "rules not reloaded, the last good ones stay in force"
        );
        let problems =
            problems.into_iter().map(|p| RuleProblem { file: p.file, line: p.line, rule: p.rule, what: p.what, hint: p.hint }).collect();
        let reload = Reload { ok: false, at: self.clock.now(), generation, problems };
        self.view.set(RulesStatus {
            set: Arc::clone(&status.set),
            loaded_at: status.loaded_at,
            engine: status.engine,
            expensive: status.expensive.clone(),
            last_reload: reload.clone(),
        });
        reload
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn set(text: &str) -> RuleSet {
        let source = RuleSource::from_bytes("test.yaml", text.as_bytes().to_vec()).expect("UTF-8");
        rules::load(&[source], Generation(1), LoadOptions::default()).expect("good rules").set
    }

    #[test]
    fn state_follows_a_rename_and_not_a_new_rule_of_the_old_name() {
        let rule = |head: &str| format!("  - {{{head}, priority: P3, match: {{pattern: boom}}}}\n");
        let first = set(&format!("rules:\n{}{}", rule("name: a"), rule("name: gone")));
        let (_, update) = follow(&[], &first);
        let second = set(&format!("rules:\n{}{}", rule("name: b, formerly: [a], window: 10m"), rule("name: a2")));
        let (names, update) = follow(&update.known, &second);
        assert_eq!(update.renamed, [(RuleName::new("a"), RuleName::new("b"))]);
        assert_eq!(update.removed, [RuleName::new("gone")]);
        assert_eq!(update.rewindowed, [(RuleName::new("b"), Duration::from_secs(600))]);
        assert_eq!(names.of(second.rules()[0].id), "a");
        let without = set(&format!("rules:\n{}", rule("name: a2")));
        let (_, gone) = follow(&update.known, &without);
        let (names, _) = follow(&gone.known, &second);
        assert_eq!(names.of(second.rules()[0].id), "a", "a rule that was switched off and on again");
        let third = set(&format!("rules:\n{}{}", rule("name: b, window: 10m"), rule("name: a")));
        let (names, _) = follow(&update.known, &third);
        assert_ne!(names.of(third.rules()[1].id), names.of(third.rules()[0].id));
    }
}
