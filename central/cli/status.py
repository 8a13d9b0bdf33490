"""``mes-central status``."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import click

from central.cli.given import catalogue, settings
from central.cli.look import as_json, local, number, painted, say, say_json, short, table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from central.picture import SitePicture
    from central.settings import CentralSettings
    from central.status import SiteVerdict, Verdict
    from shared.verdict import Reason

WATCH_S = 2.0


@click.command()
@click.argument("sites", nargs=-1, metavar="[SITE]...")
@click.option("--watch", is_flag=True, help="Again every 2 s; on a pipe, one JSON line each time.")
@as_json
def status(sites: tuple[str, ...], *, watch: bool, json_wanted: bool) -> int:
    """Show the centre and all sites, worst first; with names, these sites in full.

    Exit code 0: all is well; 1: something needs a look; 2: a person is needed before it goes on.
    """
    read = settings()
    while True:
        verdict = asyncio.run(_look(read, sites))
        _show(verdict, in_full=bool(sites), json_wanted=json_wanted, watch=watch)
        if not watch:
            return int(verdict.level)
        time.sleep(WATCH_S)  # a command by itself: nothing else runs meanwhile


async def _look(read: CentralSettings, sites: Sequence[str]) -> Verdict:
    import psycopg

    from central.agent import link_of
    from central.picture import read_picture
    from central.sites import UnknownSite
    from central.status import judge

    async with (
        link_of(read, "mes-central status") as link,
        await psycopg.AsyncConnection.connect(read.database_url, autocommit=True) as connection,
    ):
        picture = await read_picture(
            connection, catalogue(read), link, sites or None, late_hours=read.backup_hours
        )
    if missing := set(sites) - {each.site for each in picture.sites}:
        raise UnknownSite(
            f"{', '.join(sorted(missing))}: not registered; see mes-central sites list"
        )
    return judge(picture)


def _show(verdict: Verdict, *, in_full: bool, json_wanted: bool, watch: bool) -> None:
    from central.status import document

    if json_wanted or (watch and not sys.stdout.isatty()):
        say_json(document(verdict), indent=None if watch else 2)
        return
    if watch:
        click.clear()
    for line in lines(verdict, in_full=in_full):
        say(line)


def lines(verdict: Verdict, *, in_full: bool) -> list[str]:
    """Return the verdict for people: in words, then why, then what to type next."""
    picture = verdict.picture
    word = painted(verdict.level.word.upper(), verdict.level.word)
    found = [f"{word}  {verdict.words}", f"  at        {local(picture.at)}", *_centre(verdict)]
    found += _why(verdict.reasons)
    if in_full:
        for site in verdict.sites:
            found += ["", *_in_full(site, verdict)]
        return found
    if verdict.sites:
        found += ["", *_overview(verdict)]
    return [*found, *_why_sites(verdict)]


def _centre(verdict: Verdict) -> Iterator[str]:
    centre = verdict.picture.centre
    feed = "feed runs" if centre.feed_runs else "no feed"
    broker = centre.broker_away_because or "answers"
    yield f"  centre    {centre.workers} ingest workers, {feed}, catalogue {centre.catalogue}"
    yield f"  broker    {short(broker, 86)}"
    yield (
        f"  feed      {number(centre.touched)} changed rows to be sequenced, "
        f"{number(centre.unpublished)} entries to be sent"
    )
    yield f"  backups   {_backups(verdict)}"


def _backups(verdict: Verdict) -> str:
    backups, at = verdict.picture.centre.backups, verdict.picture.at
    if backups.newest is None or backups.oldest is None:
        if backups.ever_finished:
            return "none is left that may be restored"
        return "none was ever marked: sites keep what they sent for MES_SAFE_AFTER_S"
    newest, oldest = (_roughly(each.begun_at, at) for each in (backups.newest, backups.oldest))
    return f"{backups.restorable} may be restored, begun {newest} to {oldest} ago"


def _why(reasons: Sequence[Reason]) -> Iterator[str]:
    for reason in reasons:
        yield from wrapped(f"  {reason.code:<18}  {reason.message}", 22)
        if reason.hint:
            yield from wrapped(f"    next: {reason.hint}", 10)


def _why_sites(verdict: Verdict) -> Iterator[str]:
    """Give the reasons of all sites by their code, with what to type next once for each."""
    by_code: dict[str, list[tuple[str, Reason]]] = {}
    for site in verdict.sites:
        for reason in site.reasons:
            by_code.setdefault(reason.code, []).append((site.picture.site, reason))
    for reasons in by_code.values():
        yield ""
        for name, reason in reasons:
            yield from wrapped(f"  {reason.code:<18}  {name}: {reason.message}", 22)
        if hint := reasons[0][1].hint:
            yield from wrapped(f"    next: {hint}", 10)


def _overview(verdict: Verdict) -> list[str]:
    at, shared = verdict.picture.at, verdict.picture.centre.shared_pos
    rows = [_row(each, at, shared) for each in verdict.sites]
    titles = (
        "SITE", "VERDICT", "HELLO", "WAITING", "DECIDED", "COMPLETE", "SAFE", "FEED", "OPEN",
        "PARKED", "CLOCK",
    )  # fmt: skip
    return table(titles, rows, shrink=("SITE",))


def _row(each: SiteVerdict, at: datetime, shared_pos: int) -> Sequence[object]:
    site = each.picture
    hello = site.hello.at if site.hello else None
    return (
        site.site, painted(each.words, each.level.word), _roughly(hello, at),
        site.backlog.messages if site.backlog else "?", _roughly(site.decided_at, at),
        _roughly(site.complete_through, at), _roughly(site.protected_through, at),
        site.feed_lag(shared_pos), site.reviews_open,
        f"{number(site.parked)}+{number(site.waiting)}", _clock(site.clock_offset_ms),
    )  # fmt: skip


def _ago(instant: datetime | None, now: datetime) -> str | None:
    from central.status import age

    return age(now - instant) if instant else None


def _roughly(instant: datetime | None, now: datetime) -> str | None:
    said = _ago(instant, now)
    return " ".join(said.split()[:2]) if said else None


def _clock(offset_ms: int) -> str:
    return f"{round(-offset_ms / 1000, 1) + 0.0:+.1f} s"  # never -0.0


def _in_full(each: SiteVerdict, verdict: Verdict) -> Iterator[str]:
    site, at = each.picture, verdict.picture.at
    yield f"{site.site}  {painted(each.words, each.level.word)}"
    if hello := site.hello:
        yield f"  link      hello {_ago(hello.at, at)} ago, {local(hello.at)}"
        yield f"  store     {hello.instance}  agent {hello.version}  catalogue {hello.schema}"
        yield f"  sent      {number(hello.n)} transactions, {number(hello.acked_n)} acknowledged"
    else:
        yield "  link      never seen"
    yield f"  decided   {number(site.last_n)} transactions, the last {_since(site.decided_at, at)}"
    yield f"  complete  through {local(site.complete_through)}"
    yield f"  protected {_protected(site)}"
    yield f"  waiting   {_backlog(each)}"
    yield f"  feed      at {number(site.feed_pos)}, {_lag(each, verdict)}"
    yield f"  conflicts {number(site.reviews_open)} wait for a person{_oldest(each, at)}"
    yield (
        f"  parked    {number(site.parked)} for a person, {number(site.waiting)} wait for others,"
        f" {number(site.refused)} messages refused in a day"
    )
    same = f"{number(site.differing)} rows differ" if site.differing else "all rows are the same"
    yield f"  compared  {_since(site.compared_at, at)}{f': {same}' if site.compared_at else ''}"
    sums = f"{number(site.sums_differing)} sums differ" if site.sums_differing else "all are right"
    sums = "they could not be looked at" if site.sums_why else sums
    told = f": {sums}" if site.sums_checked_at else ""
    yield f"  sums      {_since(site.sums_checked_at, at)}{told}"
    yield f"  clock     {_clock(site.clock_offset_ms)} against the centre, at the last hello"
    yield f"  epoch     {site.epoch or '-'}  worker {site.worker or '-'}"
    yield from _why(each.reasons)


def _protected(site: SitePicture) -> str:
    through = site.protected_through
    until = f"through {local(through)}" if through else "by no backup"
    return (
        f"{until}; {number(site.safe_n)} of {number(site.last_n)} transactions are safe, the edge"
        " keeps the rest"
    )


def _since(instant: datetime | None, now: datetime) -> str:
    return f"{_ago(instant, now)} ago" if instant else "never"


def _backlog(each: SiteVerdict) -> str:
    backlog = each.picture.backlog
    if backlog is None:
        return "not known: the broker does not answer, or has no such stream"
    return f"{number(backlog.messages)} messages at the broker, stream {backlog.filled:.0%} full"


def _lag(each: SiteVerdict, verdict: Verdict) -> str:
    lag = each.picture.feed_lag(verdict.picture.centre.shared_pos)
    return "never followed" if lag is None else f"{number(lag)} entries not taken at its last hello"


def _oldest(each: SiteVerdict, now: datetime) -> str:
    oldest = each.picture.reviews_oldest_at
    return f", the oldest for {_ago(oldest, now)}" if oldest else ""
