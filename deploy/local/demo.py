"""The demo: a centre, a broker and some factories on this machine, and the proof that they agree.

    python -m deploy.local.demo [--keep] [--data FILE] [--sites N] [--seconds S]

Ends with 0 only if all held. `--keep` leaves everything running until Ctrl-C. The environment may
name DATA, MES_DEMO_DIR (the folder, which is then left there), MES_DATABASE_URL and MES_NATS_URL.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psycopg

from deploy.local import report, where
from deploy.local.planning import THREE_SITES, utc_sites
from deploy.local.rehearsal import CUT_AT, HEAL_AT, Rehearsal
from deploy.local.verify import measured
from deploy.local.world import World
from shared.errors import SyncError

if TYPE_CHECKING:
    from deploy.local.report import Measured

FOLDER = ".mes-demo"
DATA_SITES = 3
#: Rows a second of a plant once the demo is over and kept running.
KEEP_RATE = 4.0
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for on the command line and in the environment."""

    keep: bool
    data: Path | None
    sites: int
    seconds: float
    seed: int
    root: Path
    #: Whether the folder was named, and stays.
    named: bool
    database_url: str
    nats_url: str
    started: float = field(default_factory=time.monotonic)

    def tell(self, line: str) -> None:
        """Print a line of progress with the time since the start."""
        print(f"{time.monotonic() - self.started:6.1f} s  {line}", flush=True)


@click.command()
@click.option("--keep", is_flag=True, help="leave everything running until Ctrl-C")
@click.option("--data", type=click.Path(path_type=Path), help="a production log (CSV) to load")
@click.option(
    "--sites", type=click.IntRange(2, 30), default=DATA_SITES, help="with --data: how many"
)
@click.option("--seconds", default=30.0, show_default=True, help="how long the plants work")
@click.option("--seed", default=1, show_default=True, help="the same seed makes the same choices")
def main(*, keep: bool, data: Path | None, sites: int, seconds: float, seed: int) -> None:
    """Run a centre and some factories on this machine, and show that they agree."""
    data = data or (Path(os.environ["DATA"]) if os.environ.get("DATA") else None)
    if data is not None and not data.is_file():
        raise click.ClickException(f"{data} does not exist")
    folder = os.environ.get("MES_DEMO_DIR")
    wish = Wish(
        keep=keep, data=data.absolute() if data else None, sites=sites, seconds=seconds, seed=seed,
        root=Path(folder or FOLDER).absolute(), named=bool(folder),
        database_url=os.environ.get("MES_DATABASE_URL", ""),
        nats_url=os.environ.get("MES_NATS_URL", ""),
    )  # fmt: skip
    # A polite end is an end in order, as by Ctrl-C; a job in the background begins deaf to that.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(_run(wish))


def _run(wish: Wish) -> int:
    """Run the demo and return its exit status."""
    plans = utc_sites(wish.sites) if wish.data else THREE_SITES
    chance = random.Random(wish.seed)  # noqa: S311 - repeatable, not secret
    held = False
    try:
        with (
            World(wish.root, plans, has_pages=wish.keep) as world,
            Rehearsal(world, chance, wish.tell) as rehearsal,
        ):
            found = _perform(world, rehearsal, chance, wish)
            print(report.text(found))
            held = not any(check.wrong for check in report.checks(found))
            if wish.keep:
                _keep(world, rehearsal, wish)
            else:
                print(where.LATER)
            wish.tell("stopping")
    except (SyncError, psycopg.Error, sqlite3.Error) as error:
        # What went wrong first; that something did not stop may only have come of it.
        if error.__context__ is not None:
            wish.tell(f"FAILED: {error.__context__}")
        wish.tell(f"FAILED: {error}")
        print(f"The logs are in {wish.root / 'logs'}.")
        return 1
    except KeyboardInterrupt:
        wish.tell("stopped before the end")
        return INTERRUPTED
    if held and not (wish.named or wish.keep):
        shutil.rmtree(wish.root)
    wish.tell("all held" if held else f"NOT all held; the logs are in {wish.root / 'logs'}")
    return 0 if held else 1


def _perform(world: World, rehearsal: Rehearsal, chance: random.Random, wish: Wish) -> Measured:
    answers: dict[str, str] = {}
    rehearsal.open(wish.database_url, wish.nats_url)
    if wish.data is None:
        rehearsal.receive_orders()
        rehearsal.prepare_quarrel()
        rehearsal.plants_work(wish.seconds, wish.seed)
        rehearsal.burst()
    else:
        answers = rehearsal.load_log(wish.data, wish.seconds * (HEAL_AT - CUT_AT))
    return measured(world, rehearsal, chance, answers)


def _keep(world: World, rehearsal: Rehearsal, wish: Wish) -> None:
    """Let the plants go on slowly until somebody presses Ctrl-C."""
    print(where.text(world))
    wish.tell("running until Ctrl-C")
    try:
        rehearsal.go_on(KEEP_RATE, wish.seed)
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    main()
