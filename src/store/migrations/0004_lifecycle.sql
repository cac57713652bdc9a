-- due_at: the point on the healthy clock when an open event goes on to its next state; never, for all others. outbreak_1: the last one.
ALTER TABLE heads ADD COLUMN due_at     INTEGER NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE heads ADD COLUMN outbreaks  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE heads ADD COLUMN outbreak_1 INTEGER;
ALTER TABLE heads ADD COLUMN outbreak_2 INTEGER;
ALTER TABLE heads ADD COLUMN outbreak_3 INTEGER;
ALTER TABLE heads ADD COLUMN flapping   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE heads ADD COLUMN notice     INTEGER NOT NULL DEFAULT 0;

ALTER TABLE feed ADD COLUMN due_at     INTEGER NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE feed ADD COLUMN outbreaks  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feed ADD COLUMN outbreak_1 INTEGER;
ALTER TABLE feed ADD COLUMN outbreak_2 INTEGER;
ALTER TABLE feed ADD COLUMN outbreak_3 INTEGER;
ALTER TABLE feed ADD COLUMN flapping   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feed ADD COLUMN notice     INTEGER NOT NULL DEFAULT 0;

-- Nanoseconds that the process was up and ready, 8 bytes, the highest first.
INSERT INTO meta VALUES ('healthy_nanos', zeroblob(8));

-- Nobody knows when these were last hit: they have 30 healthy minutes from now on.
UPDATE heads SET due_at = 1800000000000 WHERE state = 2;
-- They fired once at least, and their people were told.
UPDATE heads SET outbreaks = 1, notice = 1 WHERE state IN (2, 3);
