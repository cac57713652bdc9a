//! The doors for alerts of other programs.
//!
//! Each alert of a body becomes a line in a stream of its own (`wire::alerts`) and goes the way of every line. What these doors add is the proof
//! of the sender, a signature over the body, and answers in the form that senders of alerts know.
//!
//! INVARIANTS: 202 is answered when everything that the alerts caused is on disk. No alert is decoded before its signature was found right, where
//! one is asked for. An alert that cannot be taken is named in the answer and keeps no other one from being taken.

mod answer;
mod config;
mod recent;
mod secrets;
mod signature;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::flow::Clock;
use crate::model::{AlertPhase, Refusal, SourceName, TenantId, Timestamp};

use super::door::{self, Decoded, Door, Refused, Shared, Work};
use super::wire::alerts::{self, FACTOR, Flaw, Format};
use super::wire::media::{self, Coding};
use super::wire::{DecodeError, inflate};

use answer::Answer;
use recent::{Recent, Tentative};
use signature::{Claimed, Mac};

pub use config::{AlertmanagerConfig, AlertsConfig, FalcoConfig, PagerDutyConfig};
pub use secrets::AlertSecrets;

/// The routes of those receivers that are on.
#[derive(Debug, Default)]
pub(super) struct AlertRoutes {
    /// Behind the guard of the listener.
    pub(super) guarded: Router,
    /// Of receivers that demand a signature, which is what lets a request in.
    pub(super) signed: Router,
}

/// One receiver.
#[derive(Debug)]
struct Receiver {
    path: &'static str,
    format: Format,
    door: Arc<Door>,
    clock: Clock,
    secrets: AlertSecrets,
    /// Signatures with a time that were taken: nobody is to send one again.
    signatures: Recent<Mac>,
    /// Alerts that were taken, for the answer.
    told: Recent<(String, AlertPhase)>,
    /// Whose alerts signed ones are. `None`: no signature is asked for.
    signed_for: Option<TenantId>,
    /// Bodies of signed requests at a time.
    unverified: Semaphore,
}

/// Bodies that are taken in at a time before it is known whether their signature is right. Whoever has no key can hold the memory of so many and
/// no more; who signs sends a few alerts now and then, and tries again on 503.
const UNVERIFIED: usize = 2;

/// How long a signed request waits for its turn.
const TURN: Duration = Duration::from_secs(2);

/// What is learned of a body while it is decoded, for its answer.
#[derive(Debug, Default)]
struct Report {
    taken: Vec<(String, AlertPhase)>,
    flaws: Vec<(usize, Flaw)>,
    ignored: Option<&'static str>,
    truncated: u64,
    /// It is signed, and not by anybody whom we know.
    is_forbidden: bool,
    signature: Option<Tentative<Mac>>,
}

pub(super) fn routes(
    shared: &Arc<Shared>,
    config: &AlertsConfig,
    default_tenant: &TenantId,
    clock: &Clock,
    secrets: &AlertSecrets,
) -> AlertRoutes {
    let mut routes = AlertRoutes::default();
    let AlertsConfig { alertmanager, falco, pagerduty, .. } = config;
    let tenant = |of: &Option<TenantId>| of.clone().unwrap_or_else(|| default_tenant.clone());
    let signs = |is_signed: bool, of: &Option<TenantId>| is_signed.then(|| tenant(of));
    let has_secret = alertmanager.secret.is_some() || alertmanager.secret_file.is_some();
    let receivers = [
        (
            alertmanager.enabled,
            "/webhooks/alertmanager",
            Format::Alertmanager,
            SourceName::Alertmanager,
            signs(has_secret, &alertmanager.tenant),
        ),
        (falco.enabled, "/webhooks/falco", Format::Falco, SourceName::Falco, None),
        (
            pagerduty.enabled,
            "/webhooks/pagerduty",
            Format::PagerDuty,
            SourceName::PagerDuty,
            signs(!pagerduty.allow_unsigned, &pagerduty.tenant),
        ),
    ];
    for (_, path, format, source, signed_for) in receivers.into_iter().filter(|(is_on, ..)| *is_on) {
        let is_signed = signed_for.is_some();
        let receiver = Arc::new(Receiver {
            path,
            format,
            door: Door::new(shared, source),
            clock: clock.clone(),
            secrets: secrets.clone(),
            signatures: Recent::new(),
            told: Recent::new(),
            signed_for,
            unverified: Semaphore::new(UNVERIFIED),
        });
        let handler = post(move |request| receive(Arc::clone(&receiver), request)).layer(DefaultBodyLimit::disable());
        let router = if is_signed { &mut routes.signed } else { &mut routes.guarded };
        *router = std::mem::take(router).route(path, handler);
    }
    routes
}

async fn receive(receiver: Arc<Receiver>, request: Request) -> Response {
    let answer = Arc::clone(&receiver).answer(request).await;
    receiver.door.answered(answer.status().as_u16(), answer.refusal());
    answer.into_response()
}

impl Receiver {
    async fn answer(self: Arc<Self>, mut request: Request) -> Answer {
        let received = self.clock.now();
        let mut claimed = None;
        if let Some(tenant) = &self.signed_for {
            claimed = match self.claimed(request.headers(), received) {
                Ok(claimed) => Some(claimed),
                Err(what) => return Answer::unauthorized(what),
            };
            // Nobody signed that header.
            match HeaderValue::from_str(tenant.as_str()) {
                Ok(tenant) => drop(request.headers_mut().insert("x-scope-orgid", tenant)),
                Err(_) => drop(request.headers_mut().remove("x-scope-orgid")),
            }
        }
        let _turn = match &self.signed_for {
            None => None,
            Some(_) => match timeout(TURN, self.unverified.acquire()).await {
                Ok(turn) => turn.ok(),
                Err(_) => return Answer::refused(Refused::new(Refusal::Busy, "other signed requests are being read, try again"), false),
            },
        };
        let report = Arc::new(Mutex::new(Report::default()));
        let (receiver, into) = (Arc::clone(&self), Arc::clone(&report));
        let reading = |headers: &HeaderMap| {
            let coding = media::coding(headers)?;
            Ok(door::reading(
                self.path,
                move |body| inflate::estimate(coding, body),
                move |work| {
                    let mut report = Report::default();
                    let decoded = receiver.decode(coding, claimed.as_ref(), received, work, &mut report);
                    *into.lock().unwrap_or_else(PoisonError::into_inner) = report;
                    decoded
                },
            ))
        };
        let taken = Arc::clone(&self.door).take(request, reading).await;
        let report = std::mem::take(&mut *report.lock().unwrap_or_else(PoisonError::into_inner));
        match taken {
            Ok(_) => self.taken(report),
            Err(refused) => Answer::refused(refused, report.is_forbidden),
        }
    }

    /// What the headers bring as proof.
    fn claimed(&self, headers: &HeaderMap, now: Timestamp) -> Result<Claimed, &'static str> {
        match self.format {
            Format::PagerDuty => Claimed::of_pagerduty(headers),
            Format::Alertmanager | Format::Falco => {
                let AlertmanagerConfig { require_signed_timestamp, tolerance, .. } = &self.door.config().alerts.alertmanager;
                Claimed::of_alertmanager(headers, now, require_signed_timestamp.then_some(tolerance.0))
            }
        }
    }

    fn decode<'w>(
        &self,
        coding: Coding,
        claimed: Option<&Claimed>,
        received: Timestamp,
        work: Work<'w>,
        report: &mut Report,
    ) -> Result<Decoded<'w>, DecodeError> {
        let Work { body, inflated, block, room, limits, rules, .. } = work;
        let config = &self.door.config().alerts;
        if let Some(claimed) = claimed {
            self.check(claimed, body, report)?;
        }
        let max_inflated = limits.max_inflated.min(config.max_body.bytes());
        let content: &'w [u8] = match coding {
            Coding::Plain => body,
            coding => {
                inflate::inflate(coding, body, inflated, inflate::Limits { max_inflated, ..limits }, room)?;
                inflated
            }
        };
        if content.len() > max_inflated {
            return Err(DecodeError::TooLarge { what: "the body", limit: max_inflated as u64 });
        }
        room.set_buffers(room.buffers().saturating_add(content.len().saturating_mul(FACTOR)))?;
        let mut told = self.format.decode(content, received, config.max_alerts as usize)?;
        if self.format == Format::PagerDuty {
            let oldest = received.minus(config.pagerduty.max_age.0);
            for alert in told.alerts.iter_mut().filter(|alert| matches!(alert, Ok(alert) if alert.at.is_some_and(|at| at < oldest))) {
                *alert = Err(Flaw::Shape("it happened too long ago (collect.alerts.pagerduty.max_age)"));
            }
        }
        for (place, alert) in told.alerts.iter().enumerate() {
            match alert {
                Ok(alert) => report.taken.push((alert.id.clone(), alert.phase)),
                Err(flaw) => report.flaws.push((place, *flaw)),
            }
        }
        (report.ignored, report.truncated) = (told.ignored, told.truncated);
        let counts = alerts::write(&told, block, room, rules)?;
        Ok(Decoded { counts, content })
    }

    fn check(&self, claimed: &Claimed, body: &[u8], report: &mut Report) -> Result<(), DecodeError> {
        let known = self.secrets.known();
        let secrets = if self.format == Format::PagerDuty { &known.pagerduty } else { &known.alertmanager };
        let Some(mac) = claimed.check(secrets, body) else {
            // Contracts E.5 tell one that is wrong from none at all; C.2 does not.
            report.is_forbidden = self.format == Format::PagerDuty;
            return Err(DecodeError::Unsigned("the signature is not that of the body"));
        };
        if claimed.is_stamped() {
            let fresh = self.signatures.try_put(mac).ok_or(DecodeError::Unsigned("the signature was used before"))?;
            report.signature = Some(fresh);
        }
        Ok(())
    }

    fn taken(&self, report: Report) -> Answer {
        let Report { taken, flaws, ignored, truncated, signature, .. } = report;
        if let Some(signature) = signature {
            signature.keep();
        }
        if truncated > 0 {
            self.door.metrics().alerts_truncated(truncated);
        }
        let alerts = taken.into_iter().map(|(id, phase)| {
            let is_new = phase == AlertPhase::Happened || self.told.put((id.clone(), phase));
            answer::Taken::new(id, phase, is_new)
        });
        Answer::Accepted { alerts: alerts.collect(), flaws, ignored, truncated }
    }
}
