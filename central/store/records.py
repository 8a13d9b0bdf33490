"""Rows that the centre writes about what it did: conflicts, reviews, parked rows.

They are rows of the catalogue and travel to the site like any other of the centre's. The ingest is
not captured, so what the capture does for other writers is done here: head, version, feed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from central.store import statements
from central.store.changeset import Rows, Source, name_of
from central.store.fixed import fixed
from central.store.literals import array
from central.store.rows import parameters
from shared.catalog import Kind, Table
from shared.changes import SHARED, Op
from sync.decisions import CENTRE, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from central.store.applying import Applying
    from central.store.decision import Decision
    from shared.changes import Value
    from sync.decisions import Author, Conflict

Told = tuple[Table, str, str, Collection[str]]
#: A row of the centre's: id, created_at and values.
Item = tuple[str, str, "Mapping[str, Value]"]


def instant(at_ms: int) -> str:
    """Return milliseconds since 1970 as a canonical instant."""
    seconds, ms = divmod(at_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}.{ms:03d}Z"


def as_json(values: Mapping[str, Value] | None) -> str | None:
    """Return values by column as JSON; bytes in hexadecimal, what is no number as a text."""
    if values is None:
        return None
    named = {
        name: str(value) if isinstance(value, float) and not isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(
        named, ensure_ascii=False, separators=(",", ":"), default=lambda raw: raw.hex()
    )


# --- conflicts and reviews -----------------------------------------------------------------------


async def keep_conflicts(applying: Applying, rows: Rows, decisions: Sequence[Decision]) -> None:
    """Write the history of each conflict, and an item where a person has to decide."""
    conflicts: list[Item] = []
    reviews: list[Item] = []
    for decision in decisions:
        source, write = rows.source(decision.row), decision.write
        for conflict in decision.resolution.conflicts:
            own, made, values = conflict_row(
                applying, source, conflict, tx_id=write.tx_id, base=write.base
            )
            if conflict.outcome is Outcome.REVIEW:
                values["review_id"] = review = name_of(own, "review")
                reviews.append((review, made, _review_values(own, values)))
            conflicts.append((own, made, values))
    await record_conflicts(applying, conflicts)
    await record(applying, "sync_reviews", reviews)


async def record_conflicts(applying: Applying, conflicts: Sequence[Item]) -> None:
    """Write rows of the conflict history, and count them by policy."""
    applying.tally.conflicts.update(str(values["policy"]) for _, _, values in conflicts)
    await record(applying, "sync_conflicts", conflicts)


def conflict_row(
    applying: Applying, source: Source, conflict: Conflict, *, tx_id: str, base: str | None
) -> tuple[str, str, dict[str, Value]]:
    """Return the row of the history of a conflict that a row met as it was applied.

    ``tx_id`` and ``base`` are the write's version and the one that it was made on.
    """
    table_name, origin = source.block.table, source.origin
    own = name_of(origin.tx_id, table_name, source.id, conflict.group, *conflict.columns)
    values = conflict_values(conflict) | {
        "table_name": table_name,
        "row_id": source.id,
        "tx_id": tx_id,
        "base_version": base,
        "decided_at": applying.now,
    }
    return own, instant(origin.stored_at_ms), values


def conflict_values(conflict: Conflict) -> dict[str, Value]:
    """Return a conflict as values of its row of the history."""
    here, central = conflict.here_author, conflict.central_author
    return {
        "column_group": conflict.group,
        "policy": str(conflict.policy),
        "verdict": str(conflict.outcome),
        "base_value": as_json(conflict.base),
        "here_value": as_json(conflict.here),
        "central_value": as_json(conflict.central),
        "result_value": as_json(conflict.result),
        "here_site": here.site,
        "central_site": central.site if central else CENTRE,
        "here_writer": here.writer,
        "central_writer": central.writer if central else None,
        "here_at": instant(here.at_ms),
        "central_at": instant(central.at_ms) if central else None,
        "clock_clamped": int(_clamped(here) or _clamped(central)),
        "review_id": None,
    }


def _clamped(author: Author | None) -> bool:
    return author is not None and author.clamped


def _review_values(conflict_id: str, conflict: Mapping[str, Any]) -> dict[str, Any]:
    same = ("table_name", "row_id", "column_group", "here_value", "central_value")
    return {
        **{name: conflict[name] for name in same},
        "conflict_id": conflict_id,
        "shown_value": conflict["result_value"],
        "state": "OPEN",
    }


# --- any row of the centre -----------------------------------------------------------------------


async def record(
    applying: Applying,
    table_name: str,
    items: Sequence[Item],
) -> None:
    """Insert rows, given by id, created_at and values, that go to the site.

    One that is there already was made by the same transaction before, and stays.
    """
    if not items:
        return
    table = applying.catalog.table(table_name)
    ids, created, values = (list(column) for column in zip(*items, strict=True))
    columns = [c for c in table.columns if any(c.name in each for each in values)]
    rows = Rows(
        table,
        Op.INSERT,
        tuple(columns),
        ids=ids,
        created=created,
        tx_ids=[str(uuid.uuid4())] * len(ids),
        hlc=[0] * len(ids),
        at=[_ms(applying.now)] * len(ids),
        clamped=[False] * len(ids),
        new=[[each.get(c.name, c.default) for each in values] for c in columns],
    )
    into = statements.target(table, applying.site, rows.months)
    text = statements.insert_statement(table, rows.columns, into)
    await applying.plan(indexed=False)
    await applying.connection.execute(text.encode(), parameters(applying, rows, SHARED))
    await queue_touched(applying, [(table, i, c, (applying.site,)) for i, c, _ in items])


def _ms(now: str) -> int:
    return round(datetime.fromisoformat(now).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class News:
    """What became of a parked row; what is None stays as it was."""

    state: str
    reason: str | None = None
    message: str | None = None


async def restate(applying: Applying, tickets: Mapping[str, News], *, anyway: bool = True) -> None:
    """Tell what became of parked rows, by ticket; where it is no news, ``anyway`` or not at all."""
    if not tickets:
        return
    table = applying.catalog.table("sync_parked")
    cursor = await applying.connection.execute(
        fixed("update_parked"),
        {
            "site": applying.site,
            "table_no": applying.no(table),
            "version": str(uuid.uuid4()),
            "anyway": anyway,
            "mask": table.mask(("state", "reason", "message", "retried_at")),
            "tickets": array(Kind.UUID, list(tickets)),
            "states": array(Kind.TEXT, [news.state for news in tickets.values()]),
            "reasons": array(Kind.TEXT, [news.reason for news in tickets.values()]),
            "messages": array(Kind.TEXT, [news.message for news in tickets.values()]),
        },
    )
    applying.tally.touched |= anyway or cursor.rowcount > 0


async def queue_touched(applying: Applying, told: Iterable[Told]) -> None:
    """Queue the heads of rows, given by table, id, created_at and sites, for the feed."""
    queue = list(told)
    if not queue:
        return
    await applying.connection.execute(
        fixed("insert_touched"),
        {
            "site": applying.site,
            "table_no": array(Kind.INTEGER, [applying.no(table) for table, *_ in queue]),
            "id": array(Kind.UUID, [each for _, each, *_ in queue]),
            "created_at": array(Kind.TIMESTAMP, [created for *_, created, _ in queue]),
            "scopes": array(Kind.TEXT, [array(Kind.TEXT, sorted(sites)) for *_, sites in queue]),
        },
    )
    applying.tally.touched = True
