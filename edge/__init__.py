"""One site: the local SQLite store, its capture, and the agent that keeps it in step."""
