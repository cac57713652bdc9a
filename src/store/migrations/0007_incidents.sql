-- What breaks at one service at one time. last_id, last_ended and within_nanos: the incident before it, where recurrence is over 0.
CREATE TABLE incidents (
    row            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             BLOB    NOT NULL,
    tenant         TEXT    NOT NULL,
    cluster        TEXT    NOT NULL,
    namespace      TEXT    NOT NULL,
    workload       TEXT    NOT NULL,
    state          INTEGER NOT NULL,
    reason         INTEGER NOT NULL,
    severity       INTEGER NOT NULL,
    opened_at      INTEGER NOT NULL,
    opened_healthy INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    ended_at       INTEGER,
    ended_healthy  INTEGER,
    reopened       INTEGER NOT NULL,
    events         INTEGER NOT NULL,
    recurrence     INTEGER NOT NULL,
    last_id        BLOB    NOT NULL,
    last_ended     INTEGER NOT NULL,
    within_nanos   INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX incidents_id ON incidents (id);
CREATE INDEX incidents_service ON incidents (workload, namespace, tenant, cluster, row);
-- One open incident for each service; those that age first are first.
CREATE INDEX incidents_open ON incidents (opened_healthy) WHERE state = 1;
CREATE UNIQUE INDEX incidents_open_service ON incidents (workload, namespace, tenant, cluster) WHERE state = 1;

-- How long the healthy clock matters to the last one that ended.
CREATE INDEX incidents_ended ON incidents (ended_healthy) WHERE state = 2;

-- Which events fired in which incidents, also in those that are over.
CREATE TABLE incident_events (
    event    INTEGER NOT NULL,
    incident INTEGER NOT NULL,
    PRIMARY KEY (event, incident)
) WITHOUT ROWID, STRICT;

CREATE INDEX incident_events_incident ON incident_events (incident, event);

-- The incident that the event last fired in; 0 for none.
ALTER TABLE heads ADD COLUMN incident INTEGER NOT NULL DEFAULT 0;

-- An entry of kind 3 tells of an incident: row is 0, state, reason and priority are the incident's, count is its events, outbreaks how often it
-- was reopened, and outbreak_1 when it ended.
ALTER TABLE feed ADD COLUMN incident INTEGER NOT NULL DEFAULT 0;
CREATE INDEX feed_incident ON feed (incident) WHERE kind = 3;
