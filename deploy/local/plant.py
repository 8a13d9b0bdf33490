"""A plant: a process that writes a site's SQLite store as the plant's own programs would.

    python -m deploy.local.plant --store site.db --site SITE_001 --rate 40 --seconds 30 --seed 7

It uses nothing but sqlite3, and stops in good order at SIGTERM.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from pathlib import Path

import click

from deploy.local.plainsql import PlainStore
from deploy.local.shopfloor import Shopfloor

#: A plant that fell behind its rate, as after a pause of the machine, does not catch up on more.
BEHIND_MAX_S = 1.0


def run_for(shopfloor: Shopfloor, rate: float, seconds: float, stop: threading.Event) -> int:
    """Write about ``rate`` rows a second for so long (0: until stopped); return their number."""
    started = due = time.monotonic()
    rows = 0
    while not stop.is_set() and not 0 < seconds <= time.monotonic() - started:
        written = shopfloor.step()
        rows += written
        due = max(due + written / rate, time.monotonic() - BEHIND_MAX_S)
        stop.wait(max(0.0, due - time.monotonic()))
    return rows


@click.command()
@click.option(
    "--store", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--site", required=True, help="the site that the store belongs to")
@click.option("--rate", default=40.0, show_default=True, help="rows a second")
@click.option("--seconds", default=30.0, show_default=True, help="how long; 0 until it is stopped")
@click.option("--seed", default=1, show_default=True, help="the same seed makes the same choices")
@click.option("--burst", default=0, show_default=True, help="measurements written at once, first")
def main(store: Path, site: str, rate: float, seconds: float, seed: int, burst: int) -> None:
    """Write a site's store as the programs of its plant would."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    chance = random.Random(f"{site} {seed}")  # noqa: S311 - repeatable, not secret
    plain = PlainStore(store, chance)
    shopfloor = Shopfloor(plain, site, chance)
    started = time.monotonic()
    rows = shopfloor.burst(burst) if burst else 0
    if not burst or seconds:
        rows += run_for(shopfloor, rate, seconds, stop)
    plain.close()
    took = time.monotonic() - started
    json.dump({"site": site, "rows": rows, "seconds": round(took, 3)}, sys.stdout)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
