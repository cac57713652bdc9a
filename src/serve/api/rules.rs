//! The rules in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Api, ApiError};
use crate::model::{AbsenceStatus, Egress, RuleAbsence, Span, WatchPhase, WatchState};
use crate::rules::{CountBy, LabelTest, NamespaceTest, Pattern, Rule};
use crate::serve::auth::Receiver;
use crate::serve::rules_view::{NoReload, Reload, RuleProblem, RulesStatus};

/// Longest pattern that is tried.
const MAX_PATTERN: usize = 8 << 10;

/// Longest sample that a pattern is tried on. Matching takes time in proportion to pattern times sample, and this keeps the worst pair of
/// both to seconds.
const MAX_SAMPLE: usize = 16 << 10;

/// `GET /api/rules`.
#[derive(Debug, Serialize)]
pub(super) struct List {
    rules: Vec<RuleBody>,
    generation: u64,
    loaded_at: String,
    engine: &'static str,
    last_reload: ReloadBody,
}

/// A rule with the names of the rule files.
#[derive(Debug, Serialize)]
struct RuleBody {
    name: String,
    description: Option<String>,
    runbook: Option<String>,
    priority: &'static str,
    #[serde(rename = "match")]
    matches: MatchBody,
    #[serde(rename = "continue")]
    continues: bool,
    count: u64,
    /// Of a rule that waits for its lines: how long.
    absent: Option<String>,
    /// Of such a rule: what it waits for, and how far that is.
    absence: Option<AbsenceBody>,
    window: String,
    by: Vec<String>,
    remediation: RemediationBody,
    /// False: the rule is in the files and takes no part.
    enabled: bool,
    /// Why the engine cannot filter for the rule; null when it can.
    expensive: Option<String>,
    file: String,
    line: u64,
}

#[derive(Debug, Serialize)]
struct MatchBody {
    pattern: Option<String>,
    keywords: Vec<String>,
    exclude: Vec<String>,
    labels: BTreeMap<String, String>,
    namespaces: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RemediationBody {
    action: String,
    params: BTreeMap<String, String>,
    cooldown: String,
}

/// What a rule waits for.
#[derive(Debug, Serialize)]
struct AbsenceBody {
    /// Keys by how far the wait is.
    waiting: u64,
    held: u64,
    absent: u64,
    /// Some of them, those that are absent or held first.
    keys: Vec<WatchBody>,
}

#[derive(Debug, Serialize)]
struct WatchBody {
    tenant: String,
    namespace: String,
    workload: String,
    pod: String,
    container: String,
    node: String,
    labels: BTreeMap<String, String>,
    /// `waiting`, `held` or `absent`.
    state: &'static str,
    /// Why nobody can say whether the line is absent; null unless `held`.
    held_because: Option<&'static str>,
    /// Event time of the last line; null when none was seen.
    last_seen: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReloadBody {
    ok: bool,
    at: String,
    generation: u64,
    problems: Vec<RuleProblem>,
}

/// The body of `POST /api/rules/test`.
#[derive(Debug, Deserialize)]
struct Trial {
    pattern: String,
    sample: String,
}

/// Its answer.
#[derive(Debug, Serialize)]
struct TrialBody {
    matches: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn list(State(api): State<Api>, Extension(Receiver(egress)): Extension<Receiver>) -> Json<List> {
    let (status, absences) = (api.0.handles.rules.status(), api.0.handles.absences.status());
    Json(List {
        rules: status.set.listed().map(|(rule, enabled)| body(rule, enabled, &status, &absences, egress)).collect(),
        generation: status.set.generation().0,
        loaded_at: status.loaded_at.to_string(),
        engine: status.engine,
        last_reload: ReloadBody::from(&status.last_reload),
    })
}

/// Tries a pattern on a sample. Changes nothing, so it is a read.
pub(super) async fn test(State(api): State<Api>, body: Result<Bytes, BytesRejection>) -> Result<Response, ApiError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large".to_owned()),
        status => ApiError::new(status, "the request body cannot be read".to_owned()),
    })?;
    let trial: Trial = serde_json::from_slice(&body).map_err(|_| ApiError::bad_request("invalid request body"))?;
    for (name, length, most) in [("pattern", trial.pattern.len(), MAX_PATTERN), ("sample", trial.sample.len(), MAX_SAMPLE)] {
        if length > most {
            return Err(ApiError::bad_request(format!("the {name} has {length} bytes, and may have {most}")));
        }
    }
    let broken_off = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the trial was broken off".to_owned());
    let turn = Arc::clone(&api.0.trials).acquire_owned().await.map_err(|_| broken_off())?;
    let outcome = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        trial.run()
    });
    Ok(Json(outcome.await.map_err(|_| broken_off())?).into_response())
}

/// Loads the rule files anew and says what came of it.
pub(super) async fn reload(State(api): State<Api>) -> Result<Response, ApiError> {
    match api.0.handles.reload.reload().await {
        Ok(reload) => {
            let status = if reload.ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            Ok((status, Json(ReloadBody::from(&reload))).into_response())
        }
        Err(error @ NoReload::Busy) => Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())),
        Err(error @ NoReload::Stopping) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

impl Trial {
    fn run(&self) -> TrialBody {
        match Pattern::try_new(&self.pattern) {
            Ok(pattern) => TrialBody { matches: pattern.regex().is_match(self.sample.as_bytes()), error: None },
            Err(error) => TrialBody { matches: false, error: Some(error.to_string()) },
        }
    }
}

impl From<&Reload> for ReloadBody {
    fn from(reload: &Reload) -> Self {
        Self { ok: reload.ok, at: reload.at.to_string(), generation: reload.generation.0, problems: reload.problems.clone() }
    }
}

fn absence(known: &RuleAbsence, egress: Egress) -> AbsenceBody {
    let many = |name: &str| known.phases.iter().filter(|(phase, _)| phase.as_str() == name).map(|(_, many)| many).sum();
    let hide = |name: &str| egress.hide(name).into_owned();
    let watch = |watch: &WatchState| WatchBody {
        tenant: watch.tenant.as_str().to_owned(),
        namespace: hide(&watch.workload.namespace),
        workload: hide(&watch.workload.name),
        pod: hide(&watch.workload.pod),
        container: hide(&watch.workload.container),
        node: hide(&watch.workload.node),
        labels: egress.hide_labels(&watch.labels).iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        state: watch.phase.as_str(),
        held_because: match watch.phase {
            WatchPhase::Held(because) => Some(because.as_str()),
            WatchPhase::Waiting | WatchPhase::Absent => None,
        },
        last_seen: watch.seen_at.map(|at| at.to_string()),
    };
    AbsenceBody { waiting: many("waiting"), held: many("held"), absent: many("absent"), keys: known.shown.iter().map(watch).collect() }
}

fn body(rule: &Rule, enabled: bool, status: &RulesStatus, absences: &AbsenceStatus, egress: Egress) -> RuleBody {
    // A rule that waits and has not been told of a source yet waits for nothing so far.
    let known = || absences.rules.get(&rule.name).map_or_else(|| absence(&RuleAbsence::default(), egress), |known| absence(known, egress));
    let source = |pattern: &Pattern| pattern.source().to_owned();
    RuleBody {
        name: rule.name.as_str().to_owned(),
        description: rule.description.clone(),
        runbook: rule.runbook.clone(),
        priority: rule.priority.as_str(),
        matches: MatchBody {
            pattern: rule.pattern.as_ref().map(source),
            keywords: rule.keyword_list.clone(),
            exclude: rule.exclude.iter().map(source).collect(),
            labels: rule.selector.labels.iter().map(|(name, test)| (name.clone(), label_test(test))).collect(),
            namespaces: rule.selector.namespaces.iter().map(namespace_test).collect(),
        },
        continues: rule.continues,
        count: rule.count,
        absent: rule.absent.map(duration),
        absence: rule.absent.filter(|_| enabled).map(|_| known()),
        window: duration(rule.window),
        by: rule.by.iter().map(count_by).collect(),
        remediation: RemediationBody {
            action: rule.remediation.action.clone(),
            params: rule.remediation.params.clone(),
            cooldown: duration(rule.remediation.cooldown),
        },
        enabled,
        expensive: status.expensive.get(&rule.name).filter(|_| enabled).cloned(),
        file: rule.file.clone(),
        line: rule.line,
    }
}

fn duration(of: Duration) -> String {
    Span(of).to_string()
}

fn label_test(test: &LabelTest) -> String {
    match test {
        LabelTest::Is(text) => text.clone(),
        LabelTest::IsNot(text) => format!("!{text}"),
        LabelTest::Matches(regex) => format!("~{}", regex.as_str()),
    }
}

fn namespace_test(test: &NamespaceTest) -> String {
    let not = if test.exclude { "!" } else { "" };
    format!("{not}{}", test.glob)
}

fn count_by(by: &CountBy) -> String {
    match by {
        CountBy::Workload => "workload".to_owned(),
        CountBy::Namespace => "namespace".to_owned(),
        CountBy::Pod => "pod".to_owned(),
        CountBy::Container => "container".to_owned(),
        CountBy::Node => "node".to_owned(),
        CountBy::Template => "template".to_owned(),
        CountBy::Label(name) => format!("label:{name}"),
    }
}
