-- Stack traces that have a hit and may go on with the next push of their stream. state: JSON, see src/group/open_rows.rs.
CREATE TABLE open_traces (
    id    INTEGER PRIMARY KEY,
    state TEXT NOT NULL
) STRICT;
