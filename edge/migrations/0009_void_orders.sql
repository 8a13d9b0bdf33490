-- The centre went back and has been told all: what orders our heads have is void until a snapshot of
-- it is loaded. Set meanwhile: the last of its lives, by number, that we had met by then; 0 for none.

ALTER TABLE _sync_site ADD COLUMN void_since INTEGER;
