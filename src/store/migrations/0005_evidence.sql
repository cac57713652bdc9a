-- What stood around hits of an event, as JSON: the first capture, and the last one if there is another. The numbers name the captures, so that
-- lines which come later find theirs. The row goes with the event's head.
CREATE TABLE evidence (
    row        INTEGER PRIMARY KEY,
    first_id   INTEGER NOT NULL,
    first      TEXT    NOT NULL,
    latest_id  INTEGER,
    latest     TEXT
) STRICT;
