-- What an event that stands for others names of them: {"first": [["text", count], ...], "more": count}. NULL for all other events.
ALTER TABLE events ADD COLUMN folded TEXT;
