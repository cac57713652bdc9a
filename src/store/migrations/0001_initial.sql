-- Marks the file as ours ("kSnt"), so that the database of another program is never taken for a store.
PRAGMA application_id = 0x6b536e74;

-- Facts about this database.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID, STRICT;

-- instance: tells two databases apart. digest_seed: keys the hash that requests are recognised by.
INSERT INTO meta VALUES ('instance', randomblob(16)), ('digest_seed', randomblob(8));

-- What never changes with a hit: written at birth, read for display.
CREATE TABLE events (
    row          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint  BLOB    NOT NULL,
    id           BLOB    NOT NULL,
    tenant       TEXT    NOT NULL,
    cluster      TEXT    NOT NULL,
    rule         TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    namespace    TEXT    NOT NULL,
    workload     TEXT    NOT NULL,
    pod          TEXT    NOT NULL,
    container    TEXT    NOT NULL,
    node         TEXT    NOT NULL,
    provenance   TEXT    NOT NULL,
    labels       TEXT    NOT NULL,
    template     TEXT    NOT NULL,
    message      TEXT    NOT NULL,
    window_key   BLOB    NOT NULL,
    window_nanos INTEGER NOT NULL,
    gone         INTEGER
) STRICT;

CREATE UNIQUE INDEX events_fingerprint ON events (fingerprint) WHERE gone IS NULL;
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_gone ON events (gone) WHERE gone IS NOT NULL;

-- What changes with every hit: short rows without any other index, so that an update touches one page and nothing else.
CREATE TABLE heads (
    row             INTEGER PRIMARY KEY,
    state           INTEGER NOT NULL,
    reason          INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    count           INTEGER NOT NULL,
    first_seen      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    window_count    INTEGER NOT NULL,
    sampled         INTEGER NOT NULL,
    published_count INTEGER NOT NULL,
    published_at    INTEGER NOT NULL,
    written_at      INTEGER NOT NULL,
    last_fed        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What subscribers are told, in commit order: the head as it was; the rest is in events, which outlives its entries.
CREATE TABLE feed (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    at              INTEGER NOT NULL,
    kind            INTEGER NOT NULL,
    row             INTEGER NOT NULL,
    state           INTEGER NOT NULL,
    reason          INTEGER NOT NULL,
    priority        INTEGER NOT NULL,
    count           INTEGER NOT NULL,
    first_seen      INTEGER NOT NULL,
    last_seen       INTEGER NOT NULL,
    window_count    INTEGER NOT NULL,
    sampled         INTEGER NOT NULL,
    published_count INTEGER NOT NULL,
    published_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE windows (
    key          BLOB    PRIMARY KEY,
    rule         TEXT    NOT NULL,
    bucket_nanos INTEGER NOT NULL,
    buckets      BLOB    NOT NULL,
    pending      BLOB    NOT NULL,
    written_at   INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE requests (
    n      INTEGER PRIMARY KEY,
    digest BLOB    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

CREATE TABLE rules (
    name         TEXT    PRIMARY KEY,
    state_name   TEXT    NOT NULL,
    window_nanos INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    digest       INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
