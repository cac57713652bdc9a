//! The queries of the API about incidents.

use rusqlite::{OptionalExtension, Result, named_params};

use crate::model::{Incident, IncidentId, IncidentState, Priority, TenantId};

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
        let (tenant, namespace, workload) = (filter.tenant.as_ref().map(TenantId::as_str), &filter.namespace, &filter.workload);
        let (state, severity) = (filter.state.map(IncidentState::code), filter.severity.map(Priority::weight));
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        self.read(|connection| {
            let mut list = connection.prepare_cached(LIST)?;
            let found = list.query_map(
                named_params! {":tenant": tenant, ":namespace": namespace, ":workload": workload, ":state": state, ":severity": severity,
                ":before": before.map(|before| before.0.to_be_bytes()), ":limit": one_more},
                |row| incident(row, 0),
            )?;
            let mut incidents = found.collect::<Result<Vec<_>>>()?;
            let more = incidents.len() > limit;
            incidents.truncate(limit);
            let total = before.is_none().then(|| {
                connection.prepare_cached(COUNT)?.query_row(
                    named_params! {":tenant": tenant, ":namespace": namespace, ":workload": workload, ":state": state,
                    ":severity": severity},
                    |row| unsigned(row, 0),
                )
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
