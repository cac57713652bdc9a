-- How far a source was read: kind of source, what it reads, and a value that only the source understands. written_at: time of the commit.
CREATE TABLE cursors (
    source     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID;
