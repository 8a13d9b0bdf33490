"""``mes-sync verify``."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.differences import CAUSES, Cause, State, document, summary
from edge.verdict import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.differences import Difference, Report
    from edge.settings import EdgeSettings

_CONNECT_MAX_S: Final = 15.0
_VALUE_MAX: Final = 24

#: What a comparison says of a row, in words.
_STATES: Final = {
    State.DIFFERENT: "other values",
    State.MISSING: "only at the centre",
    State.EXTRA: "only here",
}
_REPAIRS: Final = {
    "": "",
    "sent": "the centre sends its row; what stood here is in `mes-sync conflicts list --all`",
    "resend": "sent to the centre again",
    "restored": "lost at the centre; put back there as it stands here",
    "keys": "keys put right",
    "lost": "lost at the centre, and can't be put back from here: restore it there",
    "moved": "written meanwhile; run it again",
}


@click.command()
@given.settings_options("store", "nats_servers", "nats_creds", "bytes_per_s_max")
@click.option("--table", "tables", multiple=True, shell_complete=given.complete_table,
              help="Only this table; may be given several times.")  # fmt: skip
@click.option("--repair", is_flag=True, help="Repair the rows that differ, and no others.")
@look.as_json
def verify(
    *, tables: tuple[str, ...], repair: bool, json_wanted: bool, **options: str | None
) -> int:
    """Compare the store with what the centre holds of this site, row by row where they differ.

    Both ends may write meanwhile, and the agent goes on. Exit code 0: no row differs; 1: some do.
    With --repair the centre's rows are sent down, what only this site has is sent up, and whatever
    is overwritten here stands in the conflict history.
    """
    settings = _settings(options)
    report = asyncio.run(_verify(settings, tables, repair=repair))
    if json_wanted:
        look.say_json(document(report))
    else:
        for line in lines(report, repair=repair):
            look.say(line)
    return exits.FAILED if report.differing else exits.OK


def _settings(options: dict[str, str | None]) -> EdgeSettings:
    """Return the settings; which site it is, the store says."""
    from edge.status import looking

    read = given.settings(site="-", **options)
    with looking(read.store) as connection:
        (site,) = connection.execute("SELECT site FROM _sync_site").fetchone()
    return given.settings(site=site, **options)


async def _verify(settings: EdgeSettings, tables: tuple[str, ...], *, repair: bool) -> Report:
    from edge.cli.run import link_settings
    from edge.compare import Order, compare
    from edge.store import EdgeStore
    from sync.transport import Link

    store = EdgeStore.look(settings.store)
    try:
        async with Link(link_settings(settings)) as link:
            await link.wait_connected(_CONNECT_MAX_S)
            order = Order(run=str(uuid.uuid4()), tables=tables, repair=repair)
            return await compare(store.opened, link, order, _write)
    finally:
        store.close()


async def _write(work: Any, *given_: Any) -> Any:
    return await asyncio.to_thread(work, *given_)


# --- for people ----------------------------------------------------------------------------------


def lines(report: Report, *, repair: bool) -> Iterator[str]:
    """Yield the report: a verdict, the rows that differ, and what to type next."""
    total = summary(report.tables)
    compared = [each for each in report.tables if not each.skipped]
    of_all = (
        f"{counted(total['rows'], 'row', 'rows')} of {counted(len(compared), 'table', 'tables')}"
    )
    cost = f"{report.took_ms / 1000:.1f} s, {look.size(report.sent_bytes + report.received_bytes)}"
    word = (
        look.painted("DIFFERENT", "degraded") if report.differing else look.painted("EQUAL", "ok")
    )
    yield f"{word}  {report.site}: {_verdict(report, of_all)} ({cost})"
    for each in report.tables:
        if each.differing:
            counts = f"{each.different} different, {each.missing} missing, {each.extra} extra"
            yield f"  {each.table}: {counts}"
    yield from _rows(report)
    yield from _notes(report, total)
    if report.differing and not repair:
        yield _line("next", "mes-sync verify --repair")


def _verdict(report: Report, of_all: str) -> str:
    if not report.found:
        return f"{of_all} are the same at both ends"
    found = counted(report.found, "row differs", "rows differ")
    if report.found == report.differing:
        return f"{found}, of {of_all}"
    left = "none differs any more" if not report.differing else f"{report.differing} differ still"
    return f"{counted(report.found, 'row', 'rows')} differed, {left}; of {of_all}"


def _rows(report: Report) -> Iterator[str]:
    if not report.differences:
        return
    rows = [
        (
            each.table, look.short(each.name or each.id[-8:], 20), column,
            look.short(_shown(here), _VALUE_MAX), look.short(_shown(there), _VALUE_MAX),
            _STATES[State(each.state)],
        )
        for each in report.differences
        for column, (here, there) in (each.columns or {"": (None, None)}).items()
        if each.state == State.DIFFERENT
    ] + [
        (each.table, look.short(each.name or each.id[-8:], 20), "*", None, None,
         _STATES[State(each.state)])
        for each in report.differences
        if each.state != State.DIFFERENT
    ]  # fmt: skip
    yield from look.table(("TABLE", "ROW", "COLUMN", "HERE", "CENTRE", "WHAT"), rows)
    if report.found > len(report.differences):
        yield f"and {report.found - len(report.differences)} rows more"
    yield from _said(report.differences)


def _said(differences: list[Difference]) -> Iterator[str]:
    """Yield what the causes and the repairs mean, each once."""
    for cause in dict.fromkeys(each.cause for each in differences if each.cause):
        yield _line("cause", CAUSES[Cause(cause)])
    for repair in dict.fromkeys(each.repair for each in differences if each.repair):
        count = sum(each.repair == repair for each in differences)
        yield _line("repair", f"{counted(count, 'row', 'rows')}: {_REPAIRS[repair]}")


def _shown(value: object) -> str:
    return "null" if value is None else value.hex() if isinstance(value, bytes) else str(value)


def _notes(report: Report, total: dict[str, int]) -> Iterator[str]:
    for name, text in (
        ("moving", "on their way, could not be compared; does the agent run?"),
        ("aside", "stand aside here: mes-sync parked list"),
        ("parked", "wait at the centre, or were given up: mes-sync parked list"),
    ):
        if total[name]:
            yield _line("left out", f"{counted(total[name], 'row', 'rows')} {text}")
    for each in report.tables:
        if each.skipped:
            yield _line("left out", f"{each.table}: {each.skipped}")
        elif each.more:
            yield _line("left out", f"{each.table}: more rows differ; repair these, then go on")
        elif each.unknown:
            yield _line("left out", f"{each.table}: the centre lacks {', '.join(each.unknown)}")


def _line(name: str, text: str) -> str:
    return f"  {name:<10}{text}"
