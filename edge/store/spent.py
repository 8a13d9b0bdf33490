"""What is kept beside the tables and is of no use to anybody after a year.

A row aside with which nothing is left to happen is also at the centre, parked or in the history; a
finished import only tells that the same file was taken before, which its rows' ids tell as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store import aside
from edge.store.open import writing

if TYPE_CHECKING:
    from edge.store.open import Opened

#: How long a row stays aside when nothing is left to happen with it.
KEPT_MS: Final = 365 * 86_400_000
#: Finished imports that are remembered.
IMPORTS_MAX: Final = 10_000
#: Rows that one call forgets.
SOME: Final = 1_000

_CODES: Final = (aside.PARKED, aside.GONE, aside.LEFT)
_OLD: Final = f"""
    SELECT a.table_name, a.id, a.code FROM _sync_aside a
    WHERE a.code IN ({", ".join(f"'{code}'" for code in _CODES)}) AND a.at_ms < :before_ms
      AND NOT EXISTS (SELECT 1 FROM _sync_pending p JOIN _sync_table t ON t.no = p.table_no
                      WHERE t.name = a.table_name AND p.id = a.id)
    LIMIT :some"""
_IMPORTS: Final = """
    SELECT rowid FROM _sync_import WHERE done ORDER BY rowid DESC LIMIT :some OFFSET :max"""


def prune(opened: Opened, now_ms: int) -> int:
    """Forget some of it; return how many rows."""
    connection = opened.connection
    given = {"before_ms": now_ms - KEPT_MS, "some": SOME, "max": IMPORTS_MAX}
    gone = 0
    for table, key, old in (
        ("_sync_aside", "table_name, id, code", _OLD),
        ("_sync_import", "rowid", _IMPORTS),
    ):
        if connection.execute(old, given).fetchone() is not None:
            with writing(connection):
                statement = f"DELETE FROM {table} WHERE ({key}) IN ({old})"
                gone += connection.execute(statement, given).rowcount
    return gone
