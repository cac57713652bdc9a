//! Lines that rules wait for, as rows.

use rusqlite::{Connection, Result, Row, params};

use crate::model::{
    HealthyTime, Provenance, SourceKey, SourcePath, TenantId, Timestamp, WatchPhase, WatchState, WatchWrite, WindowKey, Workload,
};

use super::row::{code, labels_from_json, labels_to_json, rule_name, wrong};
use super::{StoreError, Writer};

const PUT: &str = "REPLACE INTO watches (key, state, digest, by_text, tenant, cluster, namespace, workload, pod, container, labels, whole, \
     node_name, provenance, node, seen_at, since, phase) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

const ALL: &str = "SELECT key, state, digest, by_text, tenant, cluster, namespace, workload, pod, container, labels, whole, node_name, \
     provenance, node, seen_at, since, phase FROM watches ORDER BY key";

impl Writer {
    /// All lines that are waited for: asked for once, at the start.
    ///
    /// # Errors
    /// When the disk fails or the file is damaged.
    pub fn watches(&mut self) -> Result<Vec<WatchState>, StoreError> {
        self.run(|connection| connection.prepare_cached(ALL)?.query_map([], watch)?.collect())
    }
}

pub(super) fn put(connection: &Connection, writes: &[WatchWrite]) -> Result<()> {
    if writes.is_empty() {
        return Ok(());
    }
    let mut put = connection.prepare_cached(PUT)?;
    let mut remove = connection.prepare_cached("DELETE FROM watches WHERE key = ?1")?;
    for write in writes {
        match write {
            WatchWrite::Put(watch) => put.execute(params![
                watch.key.0,
                watch.state.as_str(),
                watch.digest.cast_signed(),
                &*watch.by,
                watch.tenant.as_str(),
                &*watch.cluster,
                &*watch.workload.namespace,
                &*watch.workload.name,
                &*watch.workload.pod,
                &*watch.workload.container,
                labels_to_json(&watch.labels),
                watch.source.whole.0,
                &*watch.workload.node,
                watch.workload.provenance.as_str(),
                watch.source.node.map(|node| node.0),
                watch.seen_at.map(Timestamp::nanos),
                watch.since.0,
                watch.phase.code(),
            ])?,
            WatchWrite::Remove(key) => remove.execute([key.0])?,
        };
    }
    Ok(())
}

fn watch(row: &Row<'_>) -> Result<WatchState> {
    let provenance: String = row.get(13)?;
    Ok(WatchState {
        key: WindowKey(row.get(0)?),
        state: rule_name(row, 1)?,
        digest: row.get::<_, i64>(2)?.cast_unsigned(),
        by: row.get(3)?,
        tenant: TenantId::parse(row.get_ref(4)?.as_str()?).map_err(|error| wrong(4, error.to_string()))?,
        cluster: row.get(5)?,
        workload: Workload {
            namespace: row.get(6)?,
            name: row.get(7)?,
            pod: row.get(8)?,
            container: row.get(9)?,
            node: row.get(12)?,
            provenance: Provenance::parse(&provenance).ok_or_else(|| wrong(13, format!("unknown provenance {provenance:?}")))?,
        },
        labels: labels_from_json(row.get_ref(10)?.as_str()?).map_err(|why| wrong(10, why))?,
        source: SourcePath { whole: SourceKey(row.get(11)?), node: row.get::<_, Option<[u8; 16]>>(14)?.map(SourceKey) },
        seen_at: row.get::<_, Option<i64>>(15)?.map(Timestamp),
        since: HealthyTime(row.get(16)?),
        phase: code(row, 17, WatchPhase::from_code)?,
    })
}
