"""Which tables triggers of the plant's look at, and the copies of our triggers that watch those.

``edge.store.knock_on`` tells what for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import capture
from edge.sql_text import quoted
from edge.store import fullness, schema

if TYPE_CHECKING:
    from edge.store.open import Opened

_PLANTS = (
    "SELECT DISTINCT lower(tbl_name) FROM sqlite_schema WHERE type = 'trigger'"
    f" AND name NOT GLOB '_sync_*' AND name NOT GLOB '{fullness.PREFIX}*'"
)
_OURS = "SELECT name FROM sqlite_temp_schema WHERE type = 'trigger'"


def stirred_tables(opened: Opened) -> frozenset[str]:
    """Return the tables on which the plant has triggers, and see that their writes are caught."""
    version = schema.version(opened.connection)
    if version != opened.knock_on.version:
        plants = {name for (name,) in opened.connection.execute(_PLANTS)}
        opened.knock_on.tables = frozenset(
            t.name for t in opened.catalog.tables if t.name in plants
        )
        _put_triggers(opened)
        opened.knock_on.version = version
    elif opened.knock_on.tables and not opened.connection.execute(_OURS).fetchone():
        _put_triggers(opened)  # they were rolled back with what they were made for
    return opened.knock_on.tables


def _put_triggers(opened: Opened) -> None:
    connection = opened.connection
    for (name,) in connection.execute(_OURS).fetchall():
        connection.execute(f"DROP TRIGGER temp.{quoted(name)}")
    if not opened.knock_on.tables:
        return
    state, own = opened.knock_on, opened.site
    connection.create_function(
        capture.KNOCKED_ON,
        2,
        lambda row_id, site: state.putting not in (None, row_id) and site in (None, own),
    )
    for table in opened.catalog.tables:
        form = schema.form(connection, table, opened.catalog, site=own)
        for text in capture.knock_on_triggers(table, form):
            connection.execute(text)
