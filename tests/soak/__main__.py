"""``python -m tests.soak --minutes 30 --sites 30 [--seed N] [--report FOLDER]``: run a soak."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.soak.run import Soak


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="How long to write and break.")
@click.option("--sites", default=30, show_default=True)
@click.option("--seed", default=None, type=int, help="Of load and faults; drawn where not given.")
@click.option("--report", default=None, type=click.Path(path_type=Path), metavar="FOLDER",
              help="Where soak.md and soak.json go; else only printed.")  # fmt: skip
@click.option("--folder", default=None, type=click.Path(path_type=Path), metavar="FOLDER",
              help="Where everything runs and stays; else a temporary one.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Don't tell of each fault.")
def main(
    *, minutes: float, sites: int, seed: int | None, report: Path | None, folder: Path | None,
    quiet: bool,
) -> None:  # fmt: skip
    """Run sites, broker and centre as processes under load and faults; exit 1 on a violation."""
    began = time.monotonic()

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"{time.monotonic() - began:7.1f}  {text}", err=True)

    with tempfile.TemporaryDirectory(prefix="mes-soak-") as temporary:
        found = Soak(
            folder or Path(temporary), seconds=minutes * 60, sites=sites,
            seed=secrets.randbelow(2**31) if seed is None else seed, say=say,
        ).run()  # fmt: skip
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        (report / "soak.md").write_text(found.text(), encoding="utf-8")
        (report / "soak.json").write_text(json.dumps(found.document(), indent=1), encoding="utf-8")
    click.echo(found.text())
    sys.exit(0 if found.passed else 1)


if __name__ == "__main__":
    main()
