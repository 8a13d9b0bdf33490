-- Up to this own transaction the rows hold what the centre decided, though no ack of this epoch said so.

ALTER TABLE _sync_site ADD COLUMN told_n INTEGER NOT NULL DEFAULT 0;
