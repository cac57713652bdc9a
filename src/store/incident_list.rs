//! The queries of the API about incidents.

use rusqlite::{OptionalExtension, Result, named_params};

use crate::model::{Egress, Incident, IncidentId, IncidentState, Priority, TenantId};

use super::feed::{IncidentEntry, of_incident};
use super::incidents::{BY_ID, incident, incident_columns};
use super::row::unsigned;
use super::{Store, StoreError};

/// Most transitions that are shown with an incident.
const MAX_HISTORY: usize = 100;

/// Which incidents to list. Everything that is set must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncidentFilter {
    /// Exactly this tenant.
    pub tenant: Option<TenantId>,
    /// Exactly this namespace.
    pub namespace: Option<String>,
    /// Exactly this workload.
    pub workload: Option<String>,
    /// Exactly this state.
    pub state: Option<IncidentState>,
    /// Exactly this severity.
    pub severity: Option<Priority>,
    /// What is hidden from who asks: namespace and workload are compared with what is left.
    pub egress: Egress,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentPage {
    /// The last opened first.
    pub incidents: Vec<Incident>,
    /// Incidents that the filter lets through, on all pages. `None` on further pages.
    pub total: Option<u64>,
    /// More incidents follow.
    pub more: bool,
}

macro_rules! matching {
    () => {
        "FROM incidents i WHERE (:tenant IS NULL OR i.tenant = :tenant) AND (:namespace IS NULL OR i.namespace = :namespace) \
         AND (:workload IS NULL OR i.workload = :workload) AND (:state IS NULL OR i.state = :state) \
         AND (:severity IS NULL OR i.severity = :severity)"
    };
}

const COUNT: &str = concat!("SELECT count(*) ", matching!());

const LIST: &str =
    concat!("SELECT ", incident_columns!(), " ", matching!(), " AND (:before IS NULL OR i.id < :before) ORDER BY i.id DESC LIMIT :limit");

impl Store {
    /// Lists incidents, the last opened first, from the one that was opened last before `before` on; from the newest when that is `None`.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn list_incidents(&self, filter: &IncidentFilter, before: Option<IncidentId>, limit: usize) -> Result<IncidentPage, StoreError> {
        // Who may filter must not find out what is hidden: names are then compared as they are shown, one by one.
        let by_shown = filter.egress != Egress::default() && (filter.namespace.is_some() || filter.workload.is_some());
        let by_name = |name: &Option<String>| name.clone().filter(|_| !by_shown);
        let (tenant, namespace, workload) =
            (filter.tenant.as_ref().map(TenantId::as_str), by_name(&filter.namespace), by_name(&filter.workload));
        let (state, severity) = (filter.state.map(IncidentState::code), filter.severity.map(Priority::weight));
        let one_more = limit.saturating_add(1);
        let rows = if by_shown { i64::MAX } else { i64::try_from(one_more).unwrap_or(i64::MAX) };
        let is_met = |name: &Option<String>, of: &str| name.as_ref().is_none_or(|name| *filter.egress.hide(of) == **name);
        self.read(|connection| {
            let mut list = connection.prepare_cached(LIST)?;
            let mut found = list
                .query(named_params! {":tenant": tenant, ":namespace": namespace, ":workload": workload, ":state": state,
                ":severity": severity, ":before": before.map(|before| before.0.to_be_bytes()), ":limit": rows})?;
            let (mut incidents, mut met) = (Vec::new(), 0);
            while let Some(row) = found.next()? {
                let incident = incident(row, 0)?;
                if by_shown
                    && !(is_met(&filter.namespace, &incident.service.namespace) && is_met(&filter.workload, &incident.service.workload))
                {
                    continue;
                }
                met += 1;
                if incidents.len() < one_more {
                    incidents.push(incident);
                } else if before.is_some() {
                    break;
                }
            }
            let more = incidents.len() > limit;
            incidents.truncate(limit);
            let total = before.is_none().then(|| match by_shown {
                true => Ok(met),
                false => connection.prepare_cached(COUNT)?.query_row(
                    named_params! {":tenant": tenant, ":namespace": namespace, ":workload": workload, ":state": state,
                    ":severity": severity},
                    |row| unsigned(row, 0),
                ),
            });
            Ok(IncidentPage { incidents, total: total.transpose()?, more })
        })
    }

    /// The incident of that name, with its last transitions as far as the feed still has them.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn get_incident(&self, id: IncidentId) -> Result<Option<(Incident, Vec<IncidentEntry>)>, StoreError> {
        self.read(|connection| {
            let mut get = connection.prepare_cached(BY_ID)?;
            let Some(found) = get.query_row([id.0.to_be_bytes()], |row| incident(row, 0)).optional()? else { return Ok(None) };
            let history = of_incident(connection, found.row, MAX_HISTORY)?;
            Ok(Some((found, history)))
        })
    }
}
