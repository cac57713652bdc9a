-- A line that a rule waits for. by_text: what the rule goes by, as it is written. whole and node name the source of the last line, by
-- hashes. seen_at: event time of the last line, NULL before the first. since: the point on the healthy clock from which on the time without
-- a line counts. phase: 0 waiting, 1 absent, 2 held because the source is down, 3 lagging, 4 dropping.
CREATE TABLE watches (
    key        BLOB    PRIMARY KEY,
    state      TEXT    NOT NULL,
    digest     INTEGER NOT NULL,
    by_text    TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    cluster    TEXT    NOT NULL,
    namespace  TEXT    NOT NULL,
    workload   TEXT    NOT NULL,
    pod        TEXT    NOT NULL,
    container  TEXT    NOT NULL,
    labels     TEXT    NOT NULL,
    whole      BLOB    NOT NULL,
    node_name  TEXT    NOT NULL,
    provenance TEXT    NOT NULL,
    node       BLOB,
    seen_at    INTEGER,
    since      INTEGER NOT NULL,
    phase      INTEGER NOT NULL
) WITHOUT ROWID;
