"""``mes-sync status``."""

from __future__ import annotations

import sqlite3
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.status import read_picture
from edge.verdict import SCHEMA, Verdict, document, judge
from shared.clock import DRIFT_MAX_MS
from shared.errors import SchemaMismatch
from shared.look import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.picture import Picture
    from shared.verdict import Reason

WATCH_S: Final = 2.0
_UNREADABLE: Final = "MES-STORE-UNREADABLE"


@click.command()
@given.store_option
@click.option("--watch", is_flag=True, help="Again every 2 s; on a pipe, one JSON line each time.")
@look.as_json
def status(*, store: Path, watch: bool, json_wanted: bool) -> int:
    """Say whether the site's sync is well, why not, and what to type next.

    Exit code 0: all is well; 1: something needs a look; 2: a person is needed before it goes on.
    """
    json_wanted = json_wanted or (watch and not sys.stdout.isatty())
    while True:
        level = _show(store, json_wanted=json_wanted, watch=watch)
        if not watch:
            return level
        sys.stdout.flush()
        time.sleep(WATCH_S)  # a command by itself: nothing else runs meanwhile


def _show(store: Path, *, json_wanted: bool, watch: bool) -> int:
    try:
        verdict = judge(read_picture(store, given.now_ms()))
    except (SchemaMismatch, sqlite3.Error, PermissionError) as error:
        return _unreadable(error, json_wanted=json_wanted, watch=watch)
    if json_wanted:
        look.say_json(document(verdict), indent=None if watch else 2)
        return int(verdict.level)
    if watch:
        click.clear()
    for line in lines(verdict):
        look.say(line)
    return int(verdict.level)


def _unreadable(error: Exception, *, json_wanted: bool, watch: bool) -> int:
    """Tell that nothing can be told, in the form in which it was asked for."""
    reason = {"code": _UNREADABLE, "level": "critical", "message": str(error)}
    if json_wanted:
        said: dict[str, Any] = {"schema": SCHEMA, "status": "critical", "exit_code": exits.CRITICAL}
        said |= {"verdict": "the store can't be read", "reasons": [reason]}
        look.say_json(said, indent=None if watch else 2)
    else:
        look.say(f"{look.painted('CRITICAL', 'critical')}  the store can't be read")
        look.say(_line("why", f"{_UNREADABLE}  {error}"))
        look.say(_line("next", f"mes-sync explain {_UNREADABLE}"))
    return exits.CRITICAL


# --- for people ----------------------------------------------------------------------------------


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield the status for people: the verdict, each part, why, and what to type next."""
    picture = verdict.picture
    word = look.painted(verdict.level.word.upper(), verdict.level.word)
    version = f", agent {picture.agent.version}" if picture.agent.version else ""
    yield f"{word}  {picture.site}: {verdict.words}{version}  {look.local(picture.at_ms)}"
    for name, text in (
        ("link", _link(picture)),
        ("send", _send(picture)),
        ("receive", _receive(picture)),
        ("centre", _centre(picture)),
        ("conflicts", _conflicts(picture)),
        ("parked", _parked(picture)),
        ("protected", _protected(picture)),
        ("compared", _compared(picture)),
        ("clock", _clock(picture)),
        ("store", _store(picture)),
    ):
        yield _line(name, text)
    for each in verdict.reasons:
        yield from _why(each)
    for hint in dict.fromkeys(each.hint for each in verdict.reasons if each.hint):
        yield _line("next", hint)


def _line(name: str, text: str) -> str:
    return f"  {name:<10}{text}"


def _why(reason: Reason) -> Iterator[str]:
    """Yield a reason in full, also where it takes several lines: it may say what to do."""
    blank = _line("", "")
    wrapped = textwrap.wrap(
        f"{reason.code}  {' '.join(reason.message.split())}", look.COLUMNS, break_on_hyphens=False,
        initial_indent=_line("why", ""), subsequent_indent=f"{blank}  ",
    )  # fmt: skip
    code = look.painted(reason.code, reason.level.word)
    yield wrapped[0].replace(reason.code, code, 1)
    yield from wrapped[1:]


def _link(picture: Picture) -> str:
    agent = picture.agent
    if not agent.running:
        told = (
            f"; last heard of {look.age(picture.age(agent.told_ms))} ago" if agent.told_ms else ""
        )
        return f"no agent runs{told}"
    servers = ", ".join(agent.servers) or "the broker"
    since = f" for {look.age(picture.age(agent.since_ms))}" if agent.since_ms else ""
    if not agent.connected:
        return f"no connection to {servers}{since}"
    rtt = "" if agent.rtt_ms is None else f", round trip {agent.rtt_ms:.0f} ms"
    lost = f", lost {agent.disconnects} times" if agent.disconnects else ""
    most = f", at most {look.size(agent.bytes_per_s_max)}/s" if agent.bytes_per_s_max else ""
    return f"connected to {servers}{since}{rtt}{lost}{most}"


def _send(picture: Picture) -> str:
    backlog = picture.backlog
    parts = []
    if backlog.transactions:
        parts.append(
            f"{counted(backlog.transactions, 'transaction waits', 'transactions wait')}"
            f" ({counted(backlog.rows, 'row', 'rows')}, {look.size(backlog.bytes)}),"
            f" oldest {look.age(picture.age(backlog.oldest_ms))}"
        )
    if backlog.undrained_rows:
        since = backlog.undrained_since_ms
        old = f", oldest {look.age(picture.age(since))}" if since else ""
        changes = counted(backlog.undrained_rows, "change", "changes")
        parts.append(f"{changes} not taken up yet{old}")
    return "; ".join(parts) or "nothing waits"


def _receive(picture: Picture) -> str:
    feed = picture.feed
    if feed.needs_snapshot:
        chunks = feed.snapshot_chunks
        loaded = (
            f"{counted(chunks, 'chunk', 'chunks')} so far"
            if chunks is not None
            else "not begun yet"
        )
        return f"loading the centre's state: {loaded}"
    waits = feed.waits_since_ms
    waiting = f", waits for the other feed for {look.age(picture.age(waits))}" if waits else ""
    return (
        f"own feed at {look.number(feed.own)}, shared feed at {look.number(feed.shared)}{waiting}"
    )


def _centre(picture: Picture) -> str:
    centre = picture.centre
    if centre.decided_at_ms is None:
        return "has decided on nothing yet"
    ago = look.age(picture.age(centre.decided_at_ms))
    return (
        f"last decision {ago} ago, on {look.number(centre.decided_n)}"
        f" of {counted(centre.last_n, 'transaction', 'transactions')}"
    )


def _conflicts(picture: Picture) -> str:
    conflicts = picture.conflicts
    today = ", ".join(f"{count} {policy}" for policy, count in conflicts.decided_today.items())
    by_rule = f"by policy in 24 h: {today}" if today else "none decided by policy in 24 h"
    if not conflicts.open:
        return f"none needs a person; {by_rule}"
    oldest = look.age(picture.age(conflicts.oldest_ms))
    waiting = counted(conflicts.open, "needs a person", "need a person")
    return f"{waiting}, oldest {oldest}; {by_rule}"


def _parked(picture: Picture) -> str:
    unapplied = picture.unapplied
    parts = []
    if unapplied.parked:
        oldest = look.age(picture.age(unapplied.oldest_ms))
        parts.append(f"{counted(unapplied.parked, 'row', 'rows')} at the centre, oldest {oldest}")
    if unapplied.waiting:
        parts.append(counted(unapplied.waiting, "row waits", "rows wait") + " for another row")
    aside = ", ".join(f"{count} {code}" for code, count in sorted(unapplied.aside.items()))
    if aside:
        parts.append(f"set aside here: {aside}")
    return "; ".join(parts) or "nothing"


def _protected(picture: Picture) -> str:
    kept, centre, protected = picture.kept, picture.centre, picture.protected
    if not centre.last_n:
        return "nothing was sent yet"
    if kept.oldest_ms is None:
        return f"everything up to transaction {look.number(kept.safe_n)} is safe"
    safe, number = look.number(kept.safe_n), look.number(kept.transactions)
    if not protected.marked:
        return (
            f"safe up to {safe}; {number} kept here until they are, the oldest of"
            f" {look.local(kept.oldest_ms)}"
        )
    through = (
        f"until {look.local(protected.through_ms)}" if protected.through_ms else "by no backup"
    )
    oldest = look.age(picture.age(kept.oldest_ms))
    return f"{through}, safe up to {safe}; {number} kept, the oldest {oldest}"


def _compared(picture: Picture) -> str:
    compared = picture.compared
    if compared.at_ms is None:
        return "with the centre's rows: not yet"
    ago = look.age(picture.age(compared.at_ms))
    differing = counted(compared.differing, "row differs", "rows differ")
    found = differing if compared.differing else "all the same"
    return f"with the centre's rows {ago} ago: {found}"


def _clock(picture: Picture) -> str:
    clock = picture.clock
    if clock.measured_at_ms is None:
        return "not compared with the centre's yet"
    side = "behind" if clock.offset_ms > 0 else "ahead of"
    ago = look.age(picture.age(clock.measured_at_ms))
    bound = DRIFT_MAX_MS // 60_000
    return (
        f"{abs(clock.offset_ms) / 1000:.1f} s {side} the centre's ({ago} ago);"
        f" a lead counts up to {bound} min"
    )


def _store(picture: Picture) -> str:
    space = picture.space
    used = 1 - space.free_bytes / space.disk_bytes if space.disk_bytes else 0.0
    return (
        f"{picture.store} {look.size(space.store_bytes)}, WAL {look.size(space.wal_bytes)};"
        f" disk {used:.0%} used, {look.size(space.free_bytes)} free"
    )
