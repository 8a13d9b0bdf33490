-- What a store that went back finds its lost life to have sent is taken out of a sum or set step by step:
-- JSON column -> [[when it was touched, what stood there before], ...]; null where it was touched once.

ALTER TABLE _sync_pending ADD COLUMN steps TEXT;
