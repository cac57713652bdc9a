-- Template groups in the order of their birth: restoring them is being born again, so a row is never changed but for `template`, and none
-- is removed. `template` is what is shown of the events of the group once it is more general than the template of its first line.
CREATE TABLE template_groups (
    n        INTEGER PRIMARY KEY,
    id       BLOB NOT NULL,
    place    BLOB NOT NULL,
    key      BLOB NOT NULL,
    template TEXT
) STRICT;

CREATE UNIQUE INDEX template_groups_id ON template_groups (id);

-- The rules that the groups follow from, 8 bytes, the highest first. Groups of others are not continued.
INSERT INTO meta VALUES ('template_version', zeroblob(8));

-- template_group: of its lines; none for events of before and for those that are not mined. merged_into: the row of the event that took its
-- hits over when its group became a part of another one.
ALTER TABLE events ADD COLUMN template_group BLOB;
ALTER TABLE events ADD COLUMN merged_into    INTEGER;

-- When groups merge, their events are looked for. Empty for all others.
CREATE INDEX events_template_group ON events (template_group) WHERE template_group IS NOT NULL AND gone IS NULL;
