-- Why a store was sent away that stands where the site's own stood: it is another life of it.
ALTER TABLE sync.site ADD COLUMN claimed_because text;
