"""``mes-central partitions detach``, ``archive``, ``verify``, ``drop`` and ``attach``."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from central.cli import exits
from central.cli.complete import complete_site, words
from central.cli.given import admin_url, catalogue, settings, shelf_of
from central.cli.look import as_json, local, number, say, say_json, table
from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from central.archive_bench import Bench
    from central.archive_state import Month
    from central.partitions import Partition

    Work = Callable[[Bench, Partition], Awaitable[bool]]

Command = TypeVar("Command", bound=click.Command)
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which months are meant."""

    table: str
    site: str | None
    month: str | None
    #: All that ended before this month began.
    before: str | None = None


# --- what is given ------------------------------------------------------------------------------


def _month(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    del ctx
    if value is not None and _MONTH.fullmatch(value) is None:
        raise click.BadParameter(f"{value} is no month such as 2024-02", param=param)
    return value


def _tables(ctx: click.Context, param: click.Parameter, start: str) -> list[str]:
    from central.archive_hash import archivable

    del param
    return words(ctx, start, lambda read: (t.name for t in catalogue(read).tables if archivable(t)))


def of_months(*, several: bool) -> Callable[[Any], Any]:
    """Return what gives a command a table, and a month of a site; or several."""

    def given(command: Any) -> Any:
        command = as_json(command)
        if several:
            command = click.option(
                "--before", callback=_month, metavar="YYYY-MM",
                help="All months before this one; of all sites where none is named.",
            )(command)  # fmt: skip
        command = click.option(
            "--month", required=not several, callback=_month, metavar="YYYY-MM", help="This month."
        )(command)
        command = click.option(
            "--site", required=not several, shell_complete=complete_site, help="Of this site."
        )(command)
        return click.argument("table_name", metavar="TABLE", shell_complete=_tables)(command)

    return given


def _asked(table_name: str, site: str | None, month: str | None, before: str | None) -> Asked:
    if (month is None) == (before is None):
        raise click.UsageError("name one --month, or all --before one")
    if month is not None and site is None:
        raise click.UsageError("--month needs a --site")
    return Asked(table_name, site, month, before)


# --- commands ---------------------------------------------------------------------------------


@click.command()
@of_months(several=False)
def detach(table_name: str, site: str, month: str, *, json_wanted: bool) -> int:
    """Take a month out of its table; nobody who reads or writes it waits. Its rows are kept aside.

    Interrupted, run it again. Rows that come later for the month go into a part of their own.
    """
    from central.archive import detach as take_out

    return _run("detach", Asked(table_name, site, month), take_out, json_wanted=json_wanted)


@click.command()
@of_months(several=True)
def archive(
    table_name: str, site: str | None, month: str | None, before: str | None, *, json_wanted: bool
) -> int:
    """Write months into files and verify them; one that is not detached yet is, first.

    The rows stay aside until they are dropped. Interrupted, run it again.
    """
    asked = _asked(table_name, site, month, before)
    return _run("archive", asked, _archive, json_wanted=json_wanted)


@click.command()
@of_months(several=False)
def verify(table_name: str, site: str, month: str, *, json_wanted: bool) -> int:
    """Read a month's file as a whole, and hold it against what was recorded of its rows."""
    return _run("verify", Asked(table_name, site, month), _verify, json_wanted=json_wanted)


@click.command()
@of_months(several=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(
    table_name: str, site: str | None, month: str | None, before: str | None, *,
    yes: bool, json_wanted: bool,
) -> int:  # fmt: skip
    """Drop the rows of archived months from PostgreSQL; each file is read and verified before."""
    from central.archive import drop as give_up

    asked = _asked(table_name, site, month, before)
    if not yes:
        which = f"{month}" if month else f"all archived months before {before}"
        click.confirm(
            f"Drop {which} of {table_name}{f' of {site}' if site else ''} from PostgreSQL? The rows"
            " are then in the archive's files alone.",
            abort=True, err=True,
        )  # fmt: skip
    return _run("drop", asked, give_up, json_wanted=json_wanted)


@click.command()
@of_months(several=False)
def attach(table_name: str, site: str, month: str, *, json_wanted: bool) -> int:
    """Bring a month back into its table, out of its file or from aside. The file stays."""
    from central.archive import attach as bring_back

    return _run("attach", Asked(table_name, site, month), bring_back, json_wanted=json_wanted)


COMMANDS: Final = (detach, archive, verify, drop, attach)


# --- what is done -----------------------------------------------------------------------------


async def _archive(bench: Bench, partition: Partition) -> bool:
    from central.archive import archive as write
    from central.archive import detach as take_out
    from central.archive_state import Standing, State, find, standing

    bench.needs_root()  # before anything is detached for it
    month = await find(bench.connection, partition)
    aside = (State.DETACHED, State.ARCHIVED)
    if month is None or month.state not in aside:
        stands = await standing(bench.connection, partition)
        if month is not None and month.state is State.DROPPED and stands is Standing.ABSENT:
            return False
        await take_out(bench, partition)
    return await write(bench, partition)


async def _verify(bench: Bench, partition: Partition) -> bool:
    from central.archive import verify as read_again

    await read_again(bench, partition)
    return True


def _run(what: str, asked: Asked, work: Work, *, json_wanted: bool) -> int:
    progress = _Progress(is_shown=sys.stderr.isatty() and not json_wanted)
    try:
        done = asyncio.run(_connected(lambda bench: _each(what, bench, asked, work), progress.tell))
    finally:
        progress.end()
    if json_wanted:
        say_json({
            "schema": f"mes-central.partitions-{what}/v1",
            "months": [document(month) | {"done": new} for month, new in done],
        })  # fmt: skip
        return exits.OK
    if not done:
        say("nothing to do: no such month")
        return exits.OK
    for line in table(
        TITLES, [line_of(month, "done" if new else "as before") for month, new in done]
    ):
        say(line)
    return exits.OK


async def _each(what: str, bench: Bench, asked: Asked, work: Work) -> list[tuple[Month, bool]]:
    from central.archive_state import find

    done = []
    for partition in await _meant(what, bench, asked):
        new = await work(bench, partition)
        month = await find(bench.connection, partition)
        assert month is not None
        done.append((month, new))
    return done


async def _meant(what: str, bench: Bench, asked: Asked) -> list[Partition]:
    """Return the months that are meant; raise where there is no such table, site or month."""
    from central.archive_state import State, months
    from central.partitions import Partition, held, month_is_over
    from central.sites import UnknownSite

    read = settings()
    if asked.table not in bench.shelf.catalog:
        raise BadSetting(f"the catalogue has no table {asked.table}; see `mes-central catalogue`")
    bench.table(Partition(asked.table, asked.site or "", asked.month or ""))
    if asked.site is not None and asked.site not in await _registered(bench):
        raise UnknownSite(f"site {asked.site} is not registered; see `mes-central sites list`")
    now_ms = time.time_ns() // 1_000_000

    def is_past(month: str) -> bool:
        return month_is_over(month, now_ms, read.fact_days)

    if asked.month is not None and asked.site is not None:
        if what in ("detach", "archive") and not is_past(asked.month):
            raise BadSetting(
                f"{asked.month} did not end more than MES_FACT_DAYS={read.fact_days} days ago: new"
                " stores of the site get its rows from PostgreSQL; take an earlier month"
            )
        return [Partition(asked.table, asked.site, asked.month)]
    sites = None if asked.site is None else [asked.site]
    known = await months(bench.connection, table=asked.table, sites=sites)
    wanted = (State.ARCHIVED,) if what == "drop" else (State.DETACHING, State.DETACHED)
    found = {month.partition for month in known if month.state in wanted}
    if what == "archive":
        aside = {month.partition for month in known if month.state is State.ARCHIVED}
        standing = {each.partition for each in await held(bench.connection, [asked.table])}
        found |= {p for p in standing - aside if p.site in (sites or [p.site]) and is_past(p.month)}
    before = asked.before or ""
    return sorted(p for p in found if p.month < before)


async def _registered(bench: Bench) -> Sequence[str]:
    from central.partitions import site_names

    return await site_names(bench.connection)


Result = TypeVar("Result")


async def _connected(
    work: Callable[[Bench], Awaitable[Result]], tell: Callable[[str, int], None] | None = None
) -> Result:
    from central.archive_bench import opened

    read = settings()
    async with opened(admin_url(read), shelf_of(read), tell) as bench:
        return await work(bench)


# --- what is shown -----------------------------------------------------------------------------

TITLES: Final = ("TABLE", "SITE", "MONTH", "STATE", "ROWS", "SIZE", "FILE", "SINCE", "NOW")


def line_of(month: Month, note: str = "") -> tuple[Any, ...]:
    """Return what a list shows of a month."""
    size = f"{month.bytes / 1e6:,.1f} MB" if month.bytes is not None and month.counts else None
    rows = f"{month.rows:,}" if month.rows is not None and month.counts else None
    since = {
        "detached": month.detached_at, "archived": month.archived_at, "dropped": month.dropped_at,
        "attached": month.attached_at,
    }.get(str(month.state))  # fmt: skip
    return (
        month.table_name, month.site_id, month.month, str(month.state), rows, size,
        month.file if month.counts else None, local(since), note,
    )  # fmt: skip


def document(month: Month) -> dict[str, Any]:
    """Return what programs are told of a month."""
    return {
        "table": month.table_name, "site": month.site_id, "month": month.month,
        "state": str(month.state), "generation": month.generation, "file": month.file,
        "rows": month.rows, "bytes": month.bytes, "sha256": month.sha256,
        "detached_at": month.detached_at, "archived_at": month.archived_at,
        "verified_at": month.verified_at, "dropped_at": month.dropped_at,
        "attached_at": month.attached_at,
    }  # fmt: skip


class _Progress:
    """One line on a terminal that says how far a long step is."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown, self._said = is_shown, False

    def tell(self, step: str, rows: int) -> None:
        if self._is_shown:
            click.echo(f"\r  {step:<10} {number(rows):>12} rows", nl=False, err=True)
            self._said = True

    def end(self) -> None:
        if self._said:
            click.echo("", err=True)
