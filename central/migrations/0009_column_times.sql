-- A change may fold several touches of a row. Of the columns that were last touched at another time
-- than at_ms: [[mask, at_ms, clamped], ...]. Null where all have that of the version, nearly always.
ALTER TABLE sync.version ADD COLUMN times jsonb;
