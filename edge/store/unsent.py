"""Parents that children wait for at the centre, though they stand here: nobody has captured them.

They were written past the triggers, or while a tool had lost these. The compare finds such rows
as well, once a night; that a child waits tells it at once, and names the row.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from edge import capture
from edge.sql_text import quoted
from edge.store.frozen import names_now
from edge.store.mend import resend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.store.open import Opened
    from shared.catalog import Table

_PARKED: Final = "sync_parked"
#: Children that one call looks at, the latest first.
SOME: Final = 1_000
_WAITING: Final = f"""
    SELECT table_name, content FROM {_PARKED}
    WHERE state = 'waiting' AND reason = 'parent_missing' AND content IS NOT NULL
      AND NOT (SELECT needs_snapshot FROM _sync_site)
    ORDER BY parked_at DESC LIMIT {SOME}"""


def send_parents(opened: Opened) -> int:
    """Have the parents sent of which the site owes nothing and the centre has nothing.

    Returns how many. Facts are left to the compare: their journal says what was sent.
    """
    if _PARKED not in opened.catalog:
        return 0
    wanted: dict[str, set[str]] = defaultdict(set)
    for name, content in opened.connection.execute(_WAITING):
        if name in opened.catalog:
            for parent, row_id in _parents(opened.catalog.table(name), json.loads(content)):
                wanted[parent].add(row_id)
    sent = 0
    for name in sorted(wanted):
        table = opened.catalog.table(name)
        if table.two_way:
            sent += resend(opened, table, _uncaptured(opened, table, wanted[name]))
    return sent


def _parents(table: Table, content: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Yield table and id of each row that a change can't be applied without.

    The content is kept as it was sent, under the names of then.
    """
    content = dict(zip(names_now(table, content), content.values(), strict=True))
    for column in table.columns:
        row_id = content.get(column.name)
        if column.enforced and column.references and isinstance(row_id, str):
            yield column.references, row_id


def _uncaptured(opened: Opened, table: Table, ids: set[str]) -> list[str]:
    """Return those that stand here without a version, and of which nothing is owed or aside."""
    found = opened.connection.execute(
        f"SELECT d.id FROM {quoted(table.name)} d"
        " WHERE d.id IN (SELECT value FROM json_each(:ids)) AND d.site_id = :site"
        " AND NOT EXISTS (SELECT 1 FROM _sync_row r WHERE r.table_no = :no AND r.id = d.id)"
        " AND NOT EXISTS (SELECT 1 FROM _sync_pending p WHERE p.table_no = :no AND p.id = d.id)"
        " AND NOT EXISTS (SELECT 1 FROM _sync_aside a WHERE a.table_name = :name AND a.id = d.id)"
        f" AND NOT EXISTS (SELECT 1 FROM {quoted(capture.log_name(table))} l WHERE l.id = d.id)",
        {
            "ids": json.dumps(sorted(ids)), "site": opened.site, "name": table.name,
            "no": opened.numbers[table.name],
        },
    )  # fmt: skip
    return [row_id for (row_id,) in found]
