"""The centre: the one place that decides, in PostgreSQL."""
