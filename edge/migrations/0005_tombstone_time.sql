-- A deletion is forgotten some time after the feeds could bring anything older: gone says when it came here, in
-- milliseconds since 1970; 0 where the row stands.

UPDATE _sync_row SET gone = CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) WHERE gone = 1;
