-- The rule is no longer in the rule files. It is kept while it has events, for the state that it finds when it comes back.
ALTER TABLE rules ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
