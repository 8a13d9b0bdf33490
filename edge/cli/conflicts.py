"""``mes-sync conflicts``."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from edge.cli import exits, given, look
from edge.conflicts import Conflict, catalogue_of, find_conflict, read_conflicts
from edge.status import looking, to_ms
from shared.conflict_lines import brief, effect, portrait, resolving
from shared.conflicts import group_columns
from shared.given import own_value, span, taken
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from edge.reviews import Choice, Resolved


@click.group()
def conflicts() -> None:
    """Look at what two sides wrote at once and what stands; decide where a person has to.

    A conflict is named by its id, or by the last characters of it.
    """


# --- list --------------------------------------------------------------------------------------


@conflicts.command("list")
@given.store_option
@click.option("--open", "state", flag_value="open", default=True,
              help="Those that wait for a person, which is the default.")  # fmt: skip
@click.option("--resolved", "state", flag_value="resolved", help="Those that a person decided.")
@click.option("--all", "state", flag_value="", help="All, also those that a policy decided.")
@click.option("--table", "of_table", help="Of one table.", shell_complete=given.complete_table)
@click.option("--since", callback=span, help="Not older than 90m, 24h, 7d.")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@look.as_json
def list_conflicts(
    *, store: Path, json_wanted: bool, since: timedelta | None, **options: Any
) -> int:
    """List conflicts: those that wait for a person first, then the latest."""
    now_ms = given.now_ms()
    with looking(store) as connection:
        found = read_conflicts(
            connection,
            catalogue_of(connection),
            state=options["state"] or None,
            table=options["of_table"],
            since=_before(now_ms, since),
            limit=options["limit"],
        )
    if json_wanted:
        listed = [_document(each) for each in found]
        look.say_json({"schema": "mes-sync.conflicts/v1", "conflicts": listed})
        return exits.OK
    for line in _listing(found, now_ms, state=options["state"]):
        look.say(line)
    return exits.OK


def _before(now_ms: int, since: timedelta | None) -> str | None:
    if since is None:
        return None
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC) - since:%Y-%m-%dT%H:%M:%S}"


def _listing(found: list[Conflict], now_ms: int, *, state: str) -> list[str]:
    rows = [
        (
            each.short, look.age(now_ms - (to_ms(each.decided_at) or now_ms)),
            look.short(each.table, 20), look.short(each.key or each.row_id[-8:], 16),
            look.short(each.group, 14), look.short(brief(each.here.value), 16),
            look.short(brief(each.central.value), 16), each.policy,
            each.verdict if each.state == "decided" else each.state,
        )
        for each in found
    ]  # fmt: skip
    titles = ("ID", "AGE", "TABLE", "KEY", "COLUMNS", "HERE", "CENTRAL", "POLICY", "STATE")
    if not found:
        return ["no conflict needs a person" if state == "open" else "no conflicts"]
    waiting = [each for each in found if each.state == "open"]
    end = counted(len(found), "conflict", "conflicts")
    end += f", {counted(len(waiting), 'waits', 'wait')} for a person"
    if waiting:
        end += f"; next: mes-sync conflicts show {waiting[0].short}"
    return [*look.table(titles, rows), end]


def _document(conflict: Conflict) -> dict[str, Any]:
    return asdict(conflict) | {"state": conflict.state}


# --- show --------------------------------------------------------------------------------------


@conflicts.command()
@click.argument("name", metavar="ID", shell_complete=given.complete_conflict)
@given.store_option
@look.as_json
def show(name: str, *, store: Path, json_wanted: bool) -> int:
    """Show a conflict in full: both values, both writers, both clocks, the base, what stands."""
    with looking(store) as connection:
        conflict = find_conflict(connection, catalogue_of(connection), name)
    if json_wanted:
        look.say_json({"schema": "mes-sync.conflict/v1", **_document(conflict)})
        return exits.OK
    for line in _portrait(conflict):
        look.say(line)
    return exits.OK


def _portrait(conflict: Conflict) -> Iterator[str]:
    """Yield a conflict in full, for people."""
    yield from portrait(conflict.row, conflict, conflict.stands, lambda at: look.local(to_ms(at)))
    yield f"  row      {conflict.row_id}"
    yield f"  sent in  transaction {conflict.tx_id or '-'}"
    yield f"  history  {conflict.id}"
    if conflict.state == "open":
        yield f"  choose   {resolving('mes-sync', conflict)}"
        yield '             --reason "..."'


# --- resolve -------------------------------------------------------------------------------------


@conflicts.command()
@click.argument("name", metavar="ID", shell_complete=given.complete_conflict)
@given.store_option
@click.option(
    "--take", required=True, metavar="here|central|value=...",
    help='Whose value to take, or one of your own: value=SCRAP, or value={"lsl": 1.5} for several.',
)  # fmt: skip
@click.option("--reason", required=True, help="Why; it stays in the history.")
@click.option("--by", help="Who decides; the name of this login where nothing is given.")
@click.option("--anyway", is_flag=True, help="Although the row was written since.")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@look.as_json
def resolve(
    name: str, *, store: Path, take: str, dry_run: bool, json_wanted: bool, **options: Any
) -> int:
    """Decide a conflict that waits for a person.

    The decision is a normal write of this site and goes to the centre like any other. Deciding the
    same once more does nothing.
    """
    # Loaded only here: what writes needs the store's code, which takes a moment.
    from contextlib import closing

    from edge import reviews
    from edge.parked import instant
    from edge.store import setup

    opened = setup.open_to_look(store)
    with closing(opened.connection) as connection:
        conflict = find_conflict(connection, opened.catalog, name)
        columns = group_columns(opened.catalog.table(conflict.table), conflict)
        done = reviews.resolve(
            connection,
            opened.catalog,
            conflict.id,
            _choice(take, columns, options),
            now=instant(given.now_ms()),
            dry_run=dry_run,
        )
    if json_wanted:
        look.say_json(_resolution(done) | {"dry_run": dry_run})
        return exits.OK
    for line in _said(done, dry_run=dry_run):
        look.say(line)
    return exits.OK


def _choice(take: str, columns: tuple[str, ...], options: Mapping[str, Any]) -> Choice:
    """Return the choice; a text that is no JSON object is the value of the only column."""
    from edge.reviews import Choice

    word, text = taken(take)
    value = own_value(text, columns) if word == "value" else None
    return Choice(
        take=word,
        value=value,
        reason=options["reason"],
        by=options["by"] or getpass.getuser(),
        anyway=options["anyway"],
    )


def _said(done: Resolved, *, dry_run: bool) -> Iterator[str]:
    conflict, decision = done.conflict, done.decision
    if done.again:
        yield f"{conflict.row}: the same was decided before; nothing to do"
        return
    said = "deleted" if decision.delete else effect(conflict.stands or {}, decision.changes)
    yield f"{'would write' if dry_run else 'wrote'}  {conflict.row}: {said}"
    if not dry_run:
        yield "resolved; it goes to the centre like any write. Both values stay in the history"


def _resolution(done: Resolved) -> dict[str, Any]:
    return {
        "schema": "mes-sync.resolution/v1",
        "id": done.conflict.id,
        "table": done.conflict.table,
        "row_id": done.conflict.row_id,
        "changes": dict(done.decision.changes),
        "deleted": done.decision.delete,
        "taken": done.decision.taken,
        "decided_before": done.again,
    }
