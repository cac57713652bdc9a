//! From `model` to protobuf, and what protobuf says in the words of JSON.

use crate::model::{
    self, ErrorEvent, EventState, Evidence, EvidenceLine, FeedKind, Incident, IncidentMode, IncidentReason, IncidentState, Notice,
    Priority, Provenance, Timestamp, TransitionReason,
};
use crate::proto::v1;

/// Metadata of `OUT_OF_RANGE`: the oldest place in the feed that is kept.
pub const OLDEST_SEQ: &str = "kube-sentinel-oldest-seq";

/// Metadata of `OUT_OF_RANGE`: the newest place in the feed.
pub const LAST_SEQ: &str = "kube-sentinel-last-seq";

/// Metadata of `FAILED_PRECONDITION`: the store that the feed is of.
pub const INSTANCE: &str = "kube-sentinel-instance";

/// Stands for a value of a newer server.
pub const UNKNOWN: &str = "unknown";

/// The event as the feed tells it.
#[must_use]
pub fn event(event: &ErrorEvent) -> v1::ErrorEvent {
    let head = &event.head;
    v1::ErrorEvent {
        id: event.id.to_string(),
        fingerprint: event.fingerprint.to_hex(),
        tenant: event.tenant.as_str().to_owned(),
        cluster: event.cluster.to_string(),
        workload: Some(workload(&event.workload)),
        rule: event.rule.as_str().to_owned(),
        priority: priority(head.priority).into(),
        state: state(head.state).into(),
        reason: reason(head.reason).into(),
        count: head.count,
        window: Some(v1::Window { count: head.window_count, seconds: u32::try_from(event.window.as_secs()).unwrap_or(u32::MAX) }),
        sampled: head.sampled,
        first_seen: Some(timestamp(head.first_seen)),
        last_seen: Some(timestamp(head.last_seen)),
        template: event.template.to_string(),
        message: event.message.to_string(),
        labels: event.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        generation: event.generation.0,
        incident_id: event.incident.map_or_else(String::new, |incident| incident.to_string()),
        flap_count: head.life.flap_count(),
        flapping: head.life.flapping,
        notice: head.life.notice.map_or(v1::Notice::Unspecified, notice).into(),
        merged_into: event.merged_into.map_or_else(String::new, |id| id.to_string()),
        evidence: None,
    }
}

/// The lines around a hit.
#[must_use]
pub fn evidence(evidence: &Evidence) -> v1::Evidence {
    let lines = |lines: &[EvidenceLine]| {
        lines.iter().map(|line| v1::EvidenceLine { at: Some(timestamp(line.at)), line: line.line.to_string() }).collect()
    };
    let context = evidence.context.clone().unwrap_or_default();
    v1::Evidence {
        severity_number: context.severity_number.into(),
        severity_text: context.severity_text.into(),
        trace_id: context.trace_id.into(),
        span_id: context.span_id.into(),
        at: Some(timestamp(evidence.at)),
        before: lines(&evidence.before),
        hit: evidence.hit.to_string(),
        after: lines(&evidence.after),
    }
}

/// The incident as the feed tells it.
#[must_use]
pub fn incident(incident: &Incident) -> v1::Incident {
    let service = &incident.service;
    v1::Incident {
        id: incident.id.to_string(),
        tenant: service.tenant.as_str().to_owned(),
        cluster: service.cluster.to_string(),
        namespace: service.namespace.to_string(),
        workload: service.workload.to_string(),
        state: incident_state(incident.state).into(),
        reason: incident_reason(incident.reason).into(),
        severity: priority(incident.severity).into(),
        mode: incident_mode(incident.mode()).into(),
        mode_reason: incident.mode_reason().unwrap_or_default(),
        recurrence: incident.recurrence.map(|recurrence| v1::Recurrence {
            number: recurrence.number,
            last_incident_id: recurrence.last.to_string(),
            last_ended_at: Some(timestamp(recurrence.last_ended)),
        }),
        opened_at: Some(timestamp(incident.opened.clock)),
        changed_at: Some(timestamp(incident.changed_at)),
        resolved_at: incident.ended.map(|ended| timestamp(ended.clock)),
        reopened_count: incident.reopened,
        event_count: incident.events,
    }
}

/// What a feed entry tells.
#[must_use]
pub fn kind(kind: FeedKind) -> v1::Kind {
    match kind {
        FeedKind::Transition => v1::Kind::Transition,
        FeedKind::Count => v1::Kind::Count,
    }
}

/// What an update of the feed is called in JSON, as its `type`. None when it carries neither event nor incident, or tells what this version does not know.
///
/// COMPAT: `error.detected` and `error.resolved` are the types of contracts A.12. The feed tells more than these two; the other names are
/// ours, in the same scheme.
#[must_use]
pub fn type_name(update: &v1::EventUpdate) -> Option<&'static str> {
    if let Some(incident) = &update.incident {
        return match incident.reason() {
            v1::IncidentReason::EventFired => Some("incident.opened"),
            v1::IncidentReason::Escalated => Some("incident.escalated"),
            v1::IncidentReason::Reopened => Some("incident.reopened"),
            v1::IncidentReason::EventsResolved | v1::IncidentReason::ResolvedByPerson => Some("incident.resolved"),
            v1::IncidentReason::AgedOut => Some("incident.aged_out"),
            v1::IncidentReason::Unspecified => None,
        };
    }
    let event = update.event.as_ref()?;
    match (update.kind(), event.state(), event.reason()) {
        (v1::Kind::Count, ..) => Some("error.counted"),
        (v1::Kind::Transition, v1::State::Pending, _) => Some("error.pending"),
        (v1::Kind::Transition, v1::State::Firing, v1::Reason::Reappeared) => Some("error.reappeared"),
        (v1::Kind::Transition, v1::State::Firing, v1::Reason::Resumed) => Some("error.resumed"),
        (v1::Kind::Transition, v1::State::Firing, _) => Some("error.detected"),
        (v1::Kind::Transition, v1::State::Quiet, _) => Some("error.quiet"),
        (v1::Kind::Transition, v1::State::Resolved, _) => Some("error.resolved"),
        _ => None,
    }
}

/// A point in time.
#[must_use]
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.nanos();
    prost_types::Timestamp { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos.rem_euclid(1_000_000_000) as i32 }
}

/// The inverse of [`timestamp`].
#[must_use]
pub fn time(at: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(at.seconds, at.nanos)
}

/// How urgent.
#[must_use]
pub fn priority(priority: Priority) -> v1::Priority {
    match priority {
        Priority::P1 => v1::Priority::P1,
        Priority::P2 => v1::Priority::P2,
        Priority::P3 => v1::Priority::P3,
        Priority::P4 => v1::Priority::P4,
    }
}

fn state(state: EventState) -> v1::State {
    match state {
        EventState::Pending => v1::State::Pending,
        EventState::Firing => v1::State::Firing,
        EventState::Resolved => v1::State::Resolved,
        EventState::Quiet => v1::State::Quiet,
    }
}

fn reason(reason: TransitionReason) -> v1::Reason {
    match reason {
        TransitionReason::FirstHit => v1::Reason::FirstHit,
        TransitionReason::ThresholdReached => v1::Reason::ThresholdReached,
        TransitionReason::Reappeared => v1::Reason::Reappeared,
        TransitionReason::RuleRemoved => v1::Reason::RuleRemoved,
        TransitionReason::Quieted => v1::Reason::Quieted,
        TransitionReason::Resumed => v1::Reason::Resumed,
        TransitionReason::StayedQuiet => v1::Reason::StayedQuiet,
        TransitionReason::Merged => v1::Reason::Merged,
        TransitionReason::Absent => v1::Reason::Absent,
        TransitionReason::SeenAgain => v1::Reason::SeenAgain,
        TransitionReason::SourceDown => v1::Reason::SourceDown,
        TransitionReason::SourceLagging => v1::Reason::SourceLagging,
        TransitionReason::SourceDropping => v1::Reason::SourceDropping,
        TransitionReason::StoreFull => v1::Reason::StoreFull,
        TransitionReason::Expired => v1::Reason::Expired,
        TransitionReason::AlertResolved => v1::Reason::AlertResolved,
    }
}

fn incident_state(state: IncidentState) -> v1::IncidentState {
    match state {
        IncidentState::Open => v1::IncidentState::Open,
        IncidentState::Resolved => v1::IncidentState::Resolved,
    }
}

fn incident_reason(reason: IncidentReason) -> v1::IncidentReason {
    match reason {
        IncidentReason::EventFired => v1::IncidentReason::EventFired,
        IncidentReason::Escalated => v1::IncidentReason::Escalated,
        IncidentReason::Reopened => v1::IncidentReason::Reopened,
        IncidentReason::EventsResolved => v1::IncidentReason::EventsResolved,
        IncidentReason::AgedOut => v1::IncidentReason::AgedOut,
        IncidentReason::ResolvedByPerson => v1::IncidentReason::ResolvedByPerson,
    }
}

fn incident_mode(mode: IncidentMode) -> v1::IncidentMode {
    match mode {
        IncidentMode::Normal => v1::IncidentMode::Normal,
        IncidentMode::Investigate => v1::IncidentMode::Investigate,
    }
}

/// The name of a value of an enum in JSON.
pub fn name_of<T>(code: i32, decode: impl Fn(u8) -> Option<T>, name: impl Fn(T) -> &'static str) -> &'static str {
    u8::try_from(code).ok().and_then(decode).map_or(UNKNOWN, name)
}

/// The name of a priority in JSON.
#[must_use]
pub fn priority_name(code: i32) -> &'static str {
    name_of(code, Priority::from_weight, Priority::as_str)
}

/// The name of an incident's state in JSON.
#[must_use]
pub fn incident_state_name(code: i32) -> &'static str {
    name_of(code, IncidentState::from_code, IncidentState::as_str)
}

/// The name of the reason of an incident's state in JSON.
#[must_use]
pub fn incident_reason_name(code: i32) -> &'static str {
    name_of(code, IncidentReason::from_code, IncidentReason::as_str)
}

/// The name of an incident's mode in JSON.
#[must_use]
pub fn incident_mode_name(code: i32) -> &'static str {
    name_of(code, IncidentMode::from_code, IncidentMode::as_str)
}

fn notice(notice: Notice) -> v1::Notice {
    match notice {
        Notice::Send => v1::Notice::Send,
        Notice::SendResurfaced => v1::Notice::SendResurfaced,
        Notice::SuppressChronic => v1::Notice::SuppressChronic,
        Notice::SuppressRollout => v1::Notice::SuppressRollout,
    }
}

fn workload(workload: &model::Workload) -> v1::Workload {
    v1::Workload {
        namespace: workload.namespace.to_string(),
        name: workload.name.to_string(),
        pod: workload.pod.to_string(),
        container: workload.container.to_string(),
        node: workload.node.to_string(),
        provenance: match workload.provenance {
            Provenance::Claim => v1::Provenance::Claim.into(),
            Provenance::KubeletPath => v1::Provenance::KubeletPath.into(),
            Provenance::ApiServer => v1::Provenance::ApiServer.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_model_are_those_of_protobuf() {
        for value in Priority::ALL {
            assert_eq!(i32::from(value.weight()), priority(value) as i32);
        }
        for value in EventState::ALL {
            assert_eq!(i32::from(value.code()), state(value) as i32);
        }
        for value in TransitionReason::ALL {
            assert_eq!(i32::from(value.code()), reason(value) as i32);
        }
        for value in Notice::ALL {
            assert_eq!(i32::from(value.code()), notice(value) as i32);
        }
        for value in IncidentState::ALL {
            assert_eq!(i32::from(value.code()), incident_state(value) as i32);
        }
        for value in IncidentReason::ALL {
            assert_eq!(i32::from(value.code()), incident_reason(value) as i32);
        }
        for value in IncidentMode::ALL {
            assert_eq!(i32::from(value.code()), incident_mode(value) as i32);
        }
    }

    #[test]
    fn every_change_has_a_type_and_a_new_error_is_detected() {
        let name = |kind: v1::Kind, state: v1::State, reason: v1::Reason| {
            let event = v1::ErrorEvent { state: state.into(), reason: reason.into(), ..Default::default() };
            type_name(&v1::EventUpdate { kind: kind.into(), event: Some(event), ..Default::default() })
        };
        let cases = [
            (v1::Kind::Transition, EventState::Pending, TransitionReason::FirstHit, "error.pending"),
            (v1::Kind::Transition, EventState::Firing, TransitionReason::ThresholdReached, "error.detected"),
            (v1::Kind::Transition, EventState::Resolved, TransitionReason::RuleRemoved, "error.resolved"),
            (v1::Kind::Transition, EventState::Pending, TransitionReason::Reappeared, "error.pending"),
            (v1::Kind::Transition, EventState::Firing, TransitionReason::Reappeared, "error.reappeared"),
            (v1::Kind::Transition, EventState::Quiet, TransitionReason::Quieted, "error.quiet"),
            (v1::Kind::Transition, EventState::Firing, TransitionReason::Resumed, "error.resumed"),
            (v1::Kind::Transition, EventState::Resolved, TransitionReason::StayedQuiet, "error.resolved"),
            (v1::Kind::Transition, EventState::Resolved, TransitionReason::Merged, "error.resolved"),
            (v1::Kind::Transition, EventState::Pending, TransitionReason::SourceDown, "error.pending"),
            (v1::Kind::Transition, EventState::Firing, TransitionReason::Absent, "error.detected"),
            (v1::Kind::Transition, EventState::Resolved, TransitionReason::SeenAgain, "error.resolved"),
            (v1::Kind::Transition, EventState::Resolved, TransitionReason::StoreFull, "error.resolved"),
            (v1::Kind::Transition, EventState::Pending, TransitionReason::Expired, "error.pending"),
            (v1::Kind::Count, EventState::Firing, TransitionReason::Reappeared, "error.counted"),
        ];
        for (kind, of, why, expected) in cases {
            assert_eq!(name(kind, state(of), reason(why)), Some(expected), "{kind:?} {of:?} {why:?}");
        }
        for kind in [v1::Kind::Transition, v1::Kind::Count] {
            for (of, why) in EventState::ALL.into_iter().flat_map(|of| TransitionReason::ALL.map(|why| (of, why))) {
                assert!(name(kind, state(of), reason(why)).is_some(), "{kind:?} {of:?} {why:?}");
            }
        }
        assert_eq!(name(v1::Kind::Transition, v1::State::Unspecified, v1::Reason::Unspecified), None, "from a newer server");
        let of_incident = |reason| {
            let incident = v1::Incident { reason: incident_reason(reason).into(), ..Default::default() };
            type_name(&v1::EventUpdate { kind: v1::Kind::Incident.into(), incident: Some(incident), ..Default::default() })
        };
        assert!(IncidentReason::ALL.into_iter().all(|reason| of_incident(reason).is_some_and(|name| name.starts_with("incident."))));
        assert_eq!(type_name(&v1::EventUpdate { kind: v1::Kind::Progress.into(), ..Default::default() }), None);
    }

    #[test]
    fn a_time_before_1970_has_positive_nanos() {
        assert_eq!(timestamp(Timestamp(-1)), prost_types::Timestamp { seconds: -1, nanos: 999_999_999 });
        for at in [Timestamp(-1), Timestamp(0), Timestamp(1_767_225_600_000_000_001)] {
            assert_eq!(time(&timestamp(at)), at);
        }
    }
}
