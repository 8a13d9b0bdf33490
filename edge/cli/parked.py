"""``mes-sync parked``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from edge.cli import exits, given, look
from edge.parked import SPENT, Parked, discard_old, find_parked, read_parked
from edge.parked import discard as discard_one
from edge.status import looking, to_ms
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY_MS: Final = 86_400_000
_OPS: Final = {"I": "insert", "U": "update", "D": "delete"}


@click.group()
def parked() -> None:
    """Rows that stand in no table: parked at the centre, or set aside here. Nothing is lost.

    What the plant's own rules refused is here, too; a row that they keep stands in its table.

    A row is named by its ticket, or by the last characters of it.
    """


@parked.command("list")
@given.store_option
@click.option("--all", "every", is_flag=True, help="Also those that are settled.")
@click.option("--table", "of_table", help="Of one table.", shell_complete=given.complete_table)
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@look.as_json
def list_parked(
    *, store: Path, every: bool, of_table: str | None, limit: int, json_wanted: bool
) -> int:
    """List what is not applied, latest first: waiting comes by itself, the rest needs a person."""
    now_ms = given.now_ms()
    with looking(store) as connection:
        found = read_parked(connection, every=every, table=of_table, limit=limit)
    if json_wanted:
        listed = [asdict(each) for each in found]
        look.say_json({"schema": "mes-sync.parked/v1", "parked": listed})
        return exits.OK
    rows = [
        (
            each.id[-8:], look.age(now_ms - (to_ms(each.at) or now_ms)), each.place,
            look.short(each.table, 20), (each.row_id or "-")[-8:], each.op, each.state,
            look.short(_why(each), 40),
        )
        for each in found
    ]  # fmt: skip
    titles = ("TICKET", "AGE", "WHERE", "TABLE", "ROW", "OP", "STATE", "WHY")
    for line in look.table(titles, rows) if rows else ["nothing is parked"]:
        look.say(line)
    return exits.OK


def _why(row: Parked) -> str:
    return row.message if row.message and row.place == "here" else f"{row.reason}: {row.message}"


@parked.command()
@click.argument("ticket")
@given.store_option
@look.as_json
def show(ticket: str, *, store: Path, json_wanted: bool) -> int:
    """Show a row in full: what it holds, and what is in its way; once for each reason."""
    with looking(store) as connection:
        row, *others = find_parked(connection, ticket)
    if json_wanted:
        more = [asdict(each) for each in others]
        look.say_json({"schema": "mes-sync.parked-row/v1", **asdict(row), "others": more})
        return exits.OK
    for each in (row, *others):
        for line in _portrait(each):
            look.say(line)
    return exits.OK


@parked.command()
@click.argument("ticket", required=False)
@given.store_option
@click.option("--older-than", type=click.IntRange(min=1), metavar="DAYS",
              help="All that were set aside so long ago.")  # fmt: skip
@look.as_json
def discard(ticket: str | None, *, store: Path, older_than: int | None, json_wanted: bool) -> int:
    """Forget a row that stands aside here, where nothing is left to happen with it.

    What this site wrote on it is at the centre in full, parked or in the history. A row that still
    comes back is not forgotten, nor one on which the centre has still to decide.
    """
    # Loaded only here: what writes needs the store's code, which takes a moment.
    from contextlib import ExitStack

    from edge.store import setup
    from edge.store.open import writing

    if (ticket is None) == (older_than is None):
        raise click.UsageError("name a ticket, or give --older-than DAYS")
    opened = setup.open_to_look(store)
    connection = opened.connection
    with ExitStack() as ends:
        ends.callback(setup.close, opened)
        ends.enter_context(writing(connection))
        if ticket is not None:
            found = discard_one(connection, ticket, given.now_ms() + 1)
        else:
            found = discard_old(connection, given.now_ms() - (older_than or 0) * _DAY_MS)
    if json_wanted:
        listed = [asdict(each) for each in found]
        look.say_json({"schema": "mes-sync.discarded/v1", "discarded": listed})
        return exits.OK
    for each in found:
        look.say(f"forgot {each.table} {each.row_id} ({each.state})")
    look.say(f"{counted(len(found), 'row', 'rows')} forgotten; the centre keeps what was written")
    return exits.OK


def _portrait(row: Parked) -> Iterator[str]:
    level = "ok" if row.state in ("applied", "discarded") else "degraded"
    op = f"{_OPS.get(row.op or '', '')} of " if row.op else ""
    yield f"{op}{row.table} {row.row_id or '-'}: {look.painted(row.state, level)}"
    yield f"  where      {'at the centre' if row.place == 'centre' else 'at this site'}"
    yield f"  since      {look.local(to_ms(row.at))}"
    yield f"  why        {_why(row)}"
    if row.retried_at:
        yield f"  tried      {look.local(to_ms(row.retried_at))}"
    for name, value in (row.content or {}).items():
        yield f"  holds      {name} = {json.dumps(value, ensure_ascii=False)}"
    yield f"  ticket     {row.id}"
    if row.tx_id:
        yield f"  sent in    transaction {row.tx_id}"
    if row.place == "here" and row.state in SPENT:
        yield f"  next       nothing; to forget it: mes-sync parked discard {row.id[-8:]}"
    elif row.state == "uncaptured":
        yield "  next       look what stands in the row now, and enter again what it lacks"
        yield f"  then       mes-sync parked discard {row.id[-8:]}"
    elif row.state == "refused":
        yield "  next       change the rule that refuses it; it is tried again then"
    elif row.state == "parked":
        yield f"  next       mend the cause; the centre: mes-central parked retry {row.id[-8:]}"
