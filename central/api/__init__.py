"""The centre over HTTP: health, metrics, sites, conflicts and a person's decision."""
