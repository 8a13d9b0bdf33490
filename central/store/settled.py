"""What waits in a backup, and was settled since: once its row or its record is home, no more.

The rows tell of what took effect, in the transaction in which they come (``settle_tips``), the
records of all the rest (``settle_home``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from central.store.batch import is_never_home
from central.store.changeset import Reason
from central.store.let_go import note_let_go
from central.store.literals import array
from central.store.parking import forget
from central.store.records import News, restate
from shared.catalog import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from central.store.applying import Applying
    from central.store.held import Tips

_WITHHELD: Final = (
    "was applied in the time that the centre lost, on a row that has not come home; see"
    " `mes-central withheld list`"
)


_TOLD: Final = b"""
SELECT p.id::text, p.table_name, p.state, w.ticket IS NOT NULL, EXISTS (
    SELECT FROM sync.withheld AS h WHERE h.owner = p.site_id AND h.state = 'open'
    AND h.table_name = p.table_name AND h.row_id = p.row_id AND h.is_whole)
FROM mes.sync_parked AS p
LEFT JOIN sync.waiting AS w ON w.site_id = p.site_id AND w.ticket = p.id
WHERE p.site_id = %s AND p.id = ANY(%s::uuid[])
  AND (w.ticket IS NOT NULL OR p.state IN ('parked', 'waiting'))"""


async def settle_home(applying: Applying, told: Mapping[str, str]) -> None:
    """Let rows of which the record, that came home, says that they were settled wait no more.

    The backup holds them as waiting. What became of those behind them has its own record. A fact
    that was applied is not among the rows that come home, nor is a row of a table that is to come
    again, and its site need not have it any more: it is tried again, as soon as all is told.
    ``told`` are the states that came home, by ticket: where somebody tried one in vain meanwhile,
    the record has another, and the row is home all the same. But where its row is withheld.
    """
    cursor = await applying.connection.execute(_TOLD, [applying.site, array(Kind.UUID, list(told))])
    news: dict[str, News] = {}
    settled, facts = list[str](), list[str]()
    for ticket, table, state, waits, is_withheld in await cursor.fetchall():
        if told[ticket] not in ("applied", "discarded"):
            continue
        if told[ticket] == "applied" and is_withheld:
            news |= {ticket: News("parked", message=_WITHHELD)} if waits else {}
            continue
        if told[ticket] == "applied" and is_never_home(table, applying.catalog):
            facts += [ticket] if waits else []
            continue
        settled.append(ticket)
        if state != told[ticket]:
            news[ticket] = News(told[ticket])
    await forget(applying, settled)
    await applying.connection.execute(
        b"UPDATE sync.waiting SET reason = %s, catalogue = '', needs = NULL, needs_no = NULL,"
        b" behind = NULL WHERE ticket = ANY(%s::uuid[])",
        [Reason.NEWER_SCHEMA.value, array(Kind.UUID, facts)],
    )
    message = "was applied in the time that the centre lost; it is applied again"
    await restate(applying, news | {each: News("waiting", message=message) for each in facts})
    await note_let_go(applying, list(told))


async def settle_tips(applying: Applying, tips: Tips) -> None:
    """Let changes that took effect in the lost time wait no more, now that their rows are home.

    But not what some site has told since, and could not be taken. Together with the rows, for all
    may end before their records come: tried again then, a sum would count twice. The records tell
    the rest (``settle_home``).
    """
    home = tips.took_effect_here()
    await applying.connection.execute(
        b"DELETE FROM sync.waiting AS w USING unnest(%s::text[], %s::uuid[]) AS k (id, version)"
        b" WHERE w.site_id IN (%s, %s) AND w.table_name = %s AND w.row_id = k.id"
        b" AND w.tx_id = k.version AND NOT (w.n = 0 AND w.stored_at_ms >= %s)",
        [
            array(Kind.TEXT, list(home)), array(Kind.UUID, list(home.values())),
            applying.site, tips.site, tips.table.name, tips.life.started_ms,
        ],
    )  # fmt: skip
