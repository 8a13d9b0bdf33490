"""``mes-sync check``: the status as one line for a monitoring system."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

import click

from edge.cli import exits, given
from edge.status import read_picture
from edge.verdict import (
    BACKLOG_CRITICAL_MS,
    BACKLOG_OLD_MS,
    CLOCK_MAX_MS,
    Verdict,
    judge,
)
from shared.clock import DRIFT_MAX_MS
from shared.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WORDS: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_LINE_MAX: Final = 80


@click.command()
@given.store_option
@click.option("--format", "form", type=click.Choice(["nagios", "checkmk"]), default="nagios",
              show_default=True, help="Whose line to write.")  # fmt: skip
def check(*, store: Path, form: str) -> int:
    """Write one line for Nagios or Checkmk.

    Exit code 0 ok, 1 warning, 2 critical, 3 unknown; Checkmk reads it from the line.
    """
    try:
        verdict = judge(read_picture(store, given.now_ms()))
    except (SchemaMismatch, sqlite3.Error, OSError) as error:
        click.echo(_head(form, exits.UNKNOWN, str(error), ""))
        return exits.OK if form == "checkmk" else exits.UNKNOWN
    said = "; ".join(each.message for each in verdict.reasons) or verdict.words
    code = int(verdict.level)
    text = f"{verdict.picture.site} {said}"[:_LINE_MAX]
    click.echo(_head(form, code, text, _measures(verdict, form)))
    return exits.OK if form == "checkmk" else code


def _head(form: str, code: int, text: str, measures: str) -> str:
    if form == "checkmk":
        return f'{code} "MES sync" {measures or "-"} {text}'
    return f"SYNC {_WORDS[code]} - {text.replace('|', '/')}" + (
        f" | {measures}" if measures else ""
    )


def _measures(verdict: Verdict, form: str) -> str:
    picture = verdict.picture
    found: Iterator[tuple[str, float, str, str]] = iter((
        ("backlog_age", picture.age(picture.backlog.oldest_ms) / 1000, "s",
         f"{BACKLOG_OLD_MS // 1000};{BACKLOG_CRITICAL_MS // 1000}"),
        ("backlog", picture.backlog.transactions, "", ";"),
        ("conflicts", picture.conflicts.open, "", "1;"),
        ("parked", picture.unapplied.parked, "", "1;"),
        ("clock_offset", abs(picture.clock.offset_ms) / 1000, "s",
         f"{CLOCK_MAX_MS // 1000};{DRIFT_MAX_MS // 1000}"),
        ("store_size", picture.space.store_bytes, "B", ";"),
        ("disk_free", picture.space.free_bytes, "B", ";"),
    ))  # fmt: skip
    if form == "checkmk":
        return "|".join(f"{name}={value:g};{limits}" for name, value, _, limits in found)
    return " ".join(f"{name}={value:.12g}{unit};{limits};0" for name, value, unit, limits in found)
