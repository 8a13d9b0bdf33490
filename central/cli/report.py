"""``mes-central report``: the questions of ``/v1/reports``, asked of PostgreSQL by who runs it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from central.cli import exits
from central.cli.complete import complete_site
from central.cli.given import settings
from central.cli.look import as_json, say, say_json, table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from psycopg import AsyncConnection

    from central.reports.answer import Answer
    from central.reports.named import Named
    from central.settings import CentralSettings


@dataclass(frozen=True, slots=True)
class Option:
    """An option that is a parameter of ``/v1/reports`` by another name."""

    flag: str
    parameter: str
    metavar: str
    help: str
    #: How often it may come; what is parted by commas is one text for the API.
    takes: Literal["one", "parted", "many"] = "one"


OPTIONS: Final = (
    Option("--from", "from", "DAY", "First business day of each site, or an instant; inclusive."),
    Option("--to", "to", "DAY", "The same; exclusive."),
    Option("--group-by", "group_by", "DIM", "Such as site, machine, material, segment.", "parted"),
    Option("--bucket", "bucket", "TIME", "hour, day, week, month, quarter, year."),
    Option("--measure", "measures", "NAME", "In place of those that it shows by itself.",
           "parted"),
    Option("--sort", "sort", "COLUMN", "Column of the answer, `-` before it to go down.", "parted"),
    Option("--limit", "limit", "N", "Rows; 1,000 if not given, 10,000 at most."),
    Option("--as-known-at", "as_known_at", "INSTANT", "By what was known at that instant."),
    Option("--by", "by", "code|id", "`id` tells things of one code at two sites apart."),
    Option("--time-basis", "time_basis", "BASIS", "When a report counts: end, start or clip."),
    Option("--share-of", "share_of", "MEASURE", "Adds share and cumulated share of this measure."),
    Option("--nonzero", "nonzero", "MEASURE", "Leaves rows out in which this measure is 0."),
    Option("--at", "at", "INSTANT", "Of wip: at these instants, in place of days.", "many"),
    Option("--due", "due", "WHICH", "Of orders and on-time: then (the usual), or_late, never."),
    Option("--open-at", "open_at", "INSTANT", "Of log: those under way then."),
    Option("--cursor", "cursor", "TEXT", "Goes on: `next` of the answer before, of --json."),
)  # fmt: skip


def _asks(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that reports are asked with."""
    for each in reversed(OPTIONS):
        command = click.option(
            each.flag,
            each.parameter,
            metavar=each.metavar,
            help=each.help,
            multiple=each.takes != "one",
        )(command)
    return command


def _names(ctx: click.Context, param: click.Parameter, start: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    from central.reports.named import REPORTS

    del ctx, param
    found = [each for each in REPORTS.values() if each.name.startswith(start)]
    return [CompletionItem(each.name, help=each.about) for each in found]


@click.command()
@click.argument("name", required=False, metavar="[NAME]", shell_complete=_names)
@_asks
@click.option("--where", multiple=True, metavar="DIM=VALUE",
              help="Only those; once for each value. DIM.not and DIM.contains, too.")  # fmt: skip
@click.option("--site", "sites", multiple=True, shell_complete=complete_site,
              help="Of this site; once for each. All, if not given.")  # fmt: skip
@as_json
@click.option("--csv", "csv_wanted", is_flag=True, help="Comma-separated values.")
def report(name: str | None, *, json_wanted: bool, csv_wanted: bool, **given: Any) -> int:
    """Answer a question on production; without a NAME, list those that there are.

    A report is what GET /v1/reports/NAME answers to the same question; docs/reports.md tells of
    each, and of what it can be asked with.
    """
    from central.reports.named import REPORTS

    if json_wanted and csv_wanted:
        raise click.UsageError("--json or --csv, not both")
    if name is None:
        if csv_wanted or any(given.values()):
            raise click.UsageError("name a report; without options this lists them")
        return _list(json_wanted=json_wanted)
    if name not in REPORTS:
        raise click.BadParameter(f"no report {name}; there are {', '.join(REPORTS)}")
    answer = _answered(REPORTS[name], given)
    if json_wanted or csv_wanted:
        _print(answer, json_wanted=json_wanted)
    else:
        from central.cli.answers import lines_of

        for line in lines_of(answer):
            say(line)
    return exits.OK


def _list(*, json_wanted: bool) -> int:
    from central.reports.named import REPORTS

    listed = {name: each.about for name, each in REPORTS.items()}
    if json_wanted:
        say_json({"schema": "mes-central.reports/v1", "reports": listed})
        return exits.OK
    for line in table(("REPORT", "ANSWERS"), list(listed.items())):
        say(line)
    return exits.OK


def _print(answer: Answer, *, json_wanted: bool) -> None:
    """Print an answer for programs; what it lacks without telling is said on standard error."""
    from central.cli.answers import lacking
    from central.documents import as_csv
    from central.reports.answer import document

    if json_wanted:
        say_json(document(answer))
        answer = replace(answer, cursor=None, archived_not_counted=0)  # which it has told
    else:
        click.echo(as_csv(answer.columns, answer.rows), nl=False)
    for line in lacking(answer):
        click.echo(line, err=True)


# --- what is asked --------------------------------------------------------------------------------


def _answered(named: Named, given: Mapping[str, Any]) -> Answer:
    """Return the answer; raise BadParameter."""
    from central.reports.question import BadQuestion

    asked = _parameters(given)
    try:
        filters = _filters(named, given["where"])
        return asyncio.run(_ask(settings(), named.name, asked | filters, given["sites"]))
    except BadQuestion as broken:
        hint = _option_of(broken.field, asked)
        raise click.BadParameter(broken.rule, param_hint=hint) from None


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given as the API has them."""
    asked = {}
    for each in OPTIONS:
        if value := given[each.parameter]:
            asked[each.parameter] = ",".join(value) if each.takes == "parted" else value
    return asked


def _filters(named: Named, where: Sequence[str]) -> dict[str, list[str]]:
    from central.reports.asked import filter_names

    known = filter_names(named.asked)
    found: dict[str, list[str]] = {}
    for each in where:
        name, sign, value = each.partition("=")
        if not sign:
            raise click.BadParameter(
                f"{each} is no DIM=VALUE such as machine=M-4", param_hint="--where"
            )
        if name not in known:  # a filter, and no other parameter that has an option of its own
            plain = ", ".join(each for each in known if "." not in each)
            rule = f"one of {plain}, and each with .not or .contains"
            raise click.BadParameter(rule, param_hint=f"--where {name}")
        found.setdefault(name, []).append(value)
    return found


def _option_of(field: str, asked: Mapping[str, Any]) -> str:
    """Return the option by which a parameter was given."""
    flags = {each.parameter: each.flag for each in OPTIONS}
    if field in asked.get("group_by", "").split(","):
        return flags["group_by"]
    return flags.get(field.split(".", maxsplit=1)[0], f"--where {field}")


async def _ask(
    read: CentralSettings, name: str, asked: Mapping[str, Any], sites: Sequence[str]
) -> Answer:
    import psycopg

    from central.reports.named import read_report

    async with await psycopg.AsyncConnection.connect(read.database_url) as connection:
        # As the API reads: all of one snapshot.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        reached = await _reached(connection, sites)
        return await read_report(connection, reached, name, asked)


async def _reached(connection: AsyncConnection[Any], sites: Sequence[str]) -> tuple[str, ...]:
    """Return the sites that were named, or all; raise UnknownSite."""
    from central.partitions import site_names
    from central.sites import UnknownSite

    registered = await site_names(connection)
    if unknown := sorted(set(sites) - set(registered)):
        raise UnknownSite(f"site {unknown[0]} is not registered; see `mes-central sites list`")
    if not registered:
        raise UnknownSite("no site is registered; run `mes-central sites add`")
    return tuple(each for each in registered if not sites or each in sites)
