"""Versions of rows that are gone, and when they may be forgotten.

The version of a deletion stays known so that no older head of the row brings it back. An entry of
a feed that lies behind our cursor is never applied, whatever it holds, and a snapshot holds what
stood when it was made. So an older head can come only out of what was on its way when the deletion
came here: of the other feed, which reaches back for days (``MES_FEED_DAYS``), or of a snapshot that
is being loaded. Long after that the tombstone protects from nothing. Should a program then make a
row anew under the old id, the centre, which remembers longer, records it as a conflict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store.open import writing
from shared.changes import TOMBSTONE_DAYS

if TYPE_CHECKING:
    from edge.store.open import Opened

#: How long a deletion is remembered: several times as long as a feed reaches back.
KEPT_MS: Final = TOMBSTONE_DAYS * 86_400_000
#: Rows that one call looks at: 2 ms.
LOOKED_AT_MAX: Final = 10_000

_END: Final = """
    SELECT table_no, id FROM _sync_row WHERE (table_no, id) > (:table_no, :id)
    ORDER BY table_no, id LIMIT 1 OFFSET :more"""
#: What the site still owes or keeps of a row is decided by its version.
_OLD: Final = """
    FROM _sync_row AS r WHERE (table_no, id) > (:table_no, :id)
      AND (table_no, id) <= (:last_table_no, :last_id) AND gone BETWEEN 1 AND :before_ms
      AND NOT (SELECT needs_snapshot FROM _sync_site)
      AND NOT EXISTS (SELECT 1 FROM _sync_pending p WHERE p.table_no = r.table_no AND p.id = r.id)
      AND NOT EXISTS (SELECT 1 FROM _sync_shadow s WHERE s.table_no = r.table_no AND s.id = r.id)
      AND NOT EXISTS (SELECT 1 FROM _sync_aside a JOIN _sync_table t ON t.name = a.table_name
                      WHERE t.no = r.table_no AND a.id = r.id)"""
_START: Final = (-1, "")
_BEYOND: Final = (1 << 62, "")


def prune(opened: Opened, now_ms: int) -> int:
    """Forget old deletions among the next rows in order; return how many.

    Each call goes on where the last one ended, and begins anew behind the last row.
    """
    connection, (table_no, row_id) = opened.connection, opened.seen.pruned_to or _START
    given: dict[str, object] = {
        "table_no": table_no, "id": row_id, "more": LOOKED_AT_MAX - 1,
        "before_ms": now_ms - KEPT_MS,
    }  # fmt: skip
    end = connection.execute(_END, given).fetchone()
    given["last_table_no"], given["last_id"] = end or _BEYOND
    opened.seen.pruned_to = end
    if connection.execute(f"SELECT 1 {_OLD} LIMIT 1", given).fetchone() is None:
        return 0
    with writing(connection):
        return connection.execute(f"DELETE {_OLD}", given).rowcount
