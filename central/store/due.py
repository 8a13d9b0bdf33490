"""Which parked rows have their turn: what they waited for has come, and none starves another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from central.schema import waited_for
from central.store.fixed import fixed
from central.store.literals import array
from central.store.retry import retry
from shared.catalog import Kind

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from central.store.applying import Applying

#: Parked rows that are looked up at a time, of each kind.
ROWS_MAX: Final = 2_000
#: Of those that a run brings what they waited for: each costs it some milliseconds, and its time is
#: bounded. The others are due, and soon tried by themselves.
WOKEN_MAX: Final = 200


async def wake(applying: Applying) -> None:
    """Apply the rows that waited for those that this transaction brought, and so on."""
    asked: set[str] = set()
    while applying.waiting:
        brought = {each for ids in applying.tally.brought.values() for each in ids} - asked
        if not brought:
            return
        asked |= brought
        cursor = await applying.connection.execute(
            b"SELECT ticket::text FROM sync.waiting WHERE site_id = %(site)s"
            b" AND needs = ANY(%(ids)s::uuid[]) ORDER BY ord",
            {"site": applying.site, "ids": array(Kind.UUID, list(brought))},
        )
        for (ticket,) in await cursor.fetchall():
            if applying.woken >= WOKEN_MAX:
                return
            applying.woken += 1
            await retry(applying, ticket)


async def due(applying: Applying) -> list[str]:
    """Return the tickets whose parent has come by another way, or whose schema we now have."""
    given = {"site": applying.site, "catalogue": applying.catalog.digest, "rows_max": ROWS_MAX}
    cursor = await applying.connection.execute(fixed("read_due"), given)
    tickets = [ticket for (ticket,) in await cursor.fetchall()]
    for name in waited_for(applying.catalog):  # they have no head to be looked for by
        statement = _DUE_FACTS.format(table=name, site=applying.site)
        no = applying.table_nos[name]
        cursor = await applying.connection.execute(statement.encode(), given | {"no": no})
        tickets += [ticket for (ticket,) in await cursor.fetchall()]
    return tickets


# The site by value, so that its partitions alone are planned for.
_DUE_FACTS: Final = """
SELECT w.ticket::text FROM sync.waiting AS w
WHERE w.site_id = %(site)s AND w.reason = 'parent_missing' AND w.needs_no = %(no)s
  AND EXISTS (SELECT FROM mes.{table} AS t WHERE t.site_id = '{site}' AND t.id = w.needs)
ORDER BY w.tries, w.ord LIMIT %(rows_max)s"""


async def note_try(ticket: str, connection: AsyncConnection[Any]) -> None:
    """Note that a row was tried in vain, by an attempt that left nothing behind."""
    await connection.execute(
        b"UPDATE sync.waiting SET tries = tries + 1 WHERE ticket = %s", [ticket]
    )
