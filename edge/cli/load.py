"""``mes-edge import``: a CSV file into the site's store."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edge.cli import exits, given, look
from edge.csv_import import Order, Outcome, Part, read_map, run_import
from edge.store import setup
from shared.errors import BadSetting
from shared.look import counted

if TYPE_CHECKING:
    from edge.csv_import.mapping import ImportMap

_READABLE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_SHOW_EVERY_S: Final = 0.2


@click.command("import")
@click.argument("file", type=_READABLE)
@click.option("--map", "map_file", required=True, type=_READABLE, help="What goes where; TOML.")
@given.store_option
@click.option("--rejects", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Where rejected lines go; FILE.rejects.csv where it is not named.")  # fmt: skip
@click.option("--split-by", metavar="COLUMN",
              help="Take one part of the file, told by the number in this column.")  # fmt: skip
@click.option("--parts", type=click.IntRange(min=1), help="How many parts there are.")
@click.option("--part", type=click.IntRange(min=1), help="Which one is taken; 1 is the first.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
@look.as_json
def import_(*, file: Path, map_file: Path, store: Path, json_wanted: bool, **options: Any) -> int:
    """Import FILE by a map, exactly once.

    Bad lines go to the rejects file and stop nothing. Killed at any point, the same command again
    goes on where it stopped; after the end it does nothing. docs/import.md tells of maps.
    """
    opened = setup.open_to_look(store)
    with contextlib.closing(opened.connection):
        plan = read_map(map_file, opened.catalog, site=opened.site)
        part = _part(plan, options["split_by"], options["parts"], options["part"])
        order = Order(
            file=file,
            plan=plan,
            rejects=options["rejects"] or _rejects_path(file, part),
            site=opened.site,
            part=part,
            dry_run=options["dry_run"],
        )
        progress = _Progress(shown=sys.stderr.isatty() and not json_wanted)
        outcome = run_import(opened.connection, order, now_ms=given.now_ms(), watch=progress.show)
        progress.end()
    if json_wanted:
        look.say_json(_document(order, outcome, progress.seconds))
    else:
        _tell(order, outcome, progress.seconds)
    return exits.REJECTED if outcome.progress.rejected else exits.OK


def _part(plan: ImportMap, column: str | None, parts: int | None, part: int | None) -> Part | None:
    if parts is None and part is None:
        return None
    column = column or plan.split_by
    if parts is None or part is None or column is None:
        raise BadSetting("--parts and --part go together, with --split-by or the map's split_by")
    if part > parts:
        raise BadSetting(f"--part {part} is beyond --parts {parts}; the first is 1")
    return Part(column, parts, part)


def _rejects_path(file: Path, part: Part | None) -> Path:
    name = f".part-{part.part}-of-{part.parts}" if part else ""
    return file.with_name(f"{file.name}{name}.rejects.csv")


class _Progress:
    """One line on a terminal that says how far it is."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._began = time.monotonic()
        self._next = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def show(self, outcome: Outcome) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _SHOW_EVERY_S
            share = outcome.bytes_read / max(1, outcome.file_bytes)
            rate = int(outcome.taken / max(self.seconds, 0.001))
            line = (
                f"{share:4.0%}  {look.number(outcome.progress.rows)} rows  {look.number(rate)}/s"
                f"  {look.number(outcome.rejected)} rejected"
            )
            click.echo(f"\r{line:<60}", nl=False, err=True)

    def end(self) -> None:
        if self._shown and self._next:
            click.echo(f"\r{'':60}\r", nl=False, err=True)


def _tell(order: Order, outcome: Outcome, seconds: float) -> None:
    progress = outcome.progress
    if outcome.done_before:
        look.say(f"nothing to do: {order.file} was imported by this map before")
        look.say(
            f"  rows      {look.number(progress.rows)}, {look.number(progress.rejected)} rejected"
        )
        return
    said = "would take" if order.dry_run else "took"
    rate = int(outcome.taken / max(seconds, 0.001))
    look.say(
        f"{said} {look.number(outcome.taken)} lines of {order.file}, {look.number(rate)} rows/s"
    )
    if outcome.rows_before:
        before = counted(outcome.rows_before, "row", "rows")
        look.say(f"  went on after {before} of an earlier run")
    for name in sorted({*outcome.tables.made, *outcome.tables.changed, *outcome.tables.stood}):
        look.say(f"  {name:<24}{_counts(outcome, name)}")
    if outcome.elsewhere:
        elsewhere = counted(outcome.elsewhere, "line belongs", "lines belong")
        look.say(f"  {elsewhere} to other parts")
    if progress.rejected:
        rejected = counted(progress.rejected, "line was", "lines were")
        look.say(f"  {rejected} rejected: {order.rejects}")
    for line, reason in outcome.first_rejects:
        look.say(f"    line {line}: {look.short(reason, look.COLUMNS - 20)}")


def _counts(outcome: Outcome, name: str) -> str:
    tables = outcome.tables
    found = (("new", tables.made), ("changed", tables.changed), ("were there", tables.stood))
    said = [f"{look.number(tally[name])} {word}" for word, tally in found if tally[name]]
    return ", ".join(said) or "nothing new"


def _document(order: Order, outcome: Outcome, seconds: float) -> dict[str, Any]:
    return {
        "schema": "mes-edge.import/v1",
        "file": str(order.file),
        "file_sha256": outcome.file_digest,
        "dry_run": order.dry_run,
        "done_before": outcome.done_before,
        "rows": outcome.progress.rows,
        "rows_before": outcome.rows_before,
        "taken": outcome.taken,
        "elsewhere": outcome.elsewhere,
        "rejected": outcome.rejected,
        "rejected_in_all": outcome.progress.rejected,
        "rejects_file": str(order.rejects) if outcome.progress.rejected else None,
        "first_rejects": [
            {"line": line, "reason": reason} for line, reason in outcome.first_rejects
        ],
        "tables": {
            "new": dict(outcome.tables.made),
            "changed": dict(outcome.tables.changed),
            "were_there": dict(outcome.tables.stood),
        },
        "seconds": round(seconds, 3),
    }
