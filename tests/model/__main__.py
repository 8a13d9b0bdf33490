"""Runs seeds of the model: python -m tests.model --runs 2000 [--restores] [--off RULE] [--jobs 2].

It ends with 1 where a run broke an invariant, or with all rules on never met what it has to meet.
"""

from __future__ import annotations

import sys
import time

import click

from tests.model.bias import BIASES
from tests.model.campaign import Order, Report, campaign, replay
from tests.model.checks import Violation
from tests.model.rules import Rule
from tests.model.world import World

#: Fewer runs need not meet everything.
_ENOUGH = 400


@click.command()
@click.option("--runs", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--off", multiple=True, type=click.Choice([rule.name for rule in Rule]))
@click.option("--restores", is_flag=True, help="With restores and clones of sites and the centre.")
@click.option("--bias", default="usual", show_default=True, type=click.Choice(list(BIASES)))
@click.option("--jobs", default=1, show_default=True, help="Processes.")
@click.option("--trace", is_flag=True, help="Print the first run step by step, and end.")
def main(
    *, runs: int, seed: int, off: tuple[str, ...], restores: bool, bias: str, jobs: int, trace: bool
) -> None:
    """Run seeds; print those that break an invariant, how to replay them, and what was met."""
    order = Order(seed, runs, frozenset(Rule[name] for name in off), restores, bias)
    if trace:
        sys.exit(_trace(order))
    began, told, report = time.monotonic(), set[int](), Report()
    for report in campaign(order, jobs):
        for broken in sorted(report.broken.keys() - told):
            click.echo(f"seed {broken}: {report.broken[broken]}\n  {replay(order, broken)}")
        told |= report.broken.keys()
    missed = report.missed(order) if runs >= _ENOUGH and not off and bias == "usual" else []
    took = time.monotonic() - began
    click.echo(
        f"{len(report.broken)} of {report.runs} runs broke an invariant; {took:.0f} s,"
        f" {1000 * report.seconds / max(report.runs, 1):.1f} ms of processor a run"
    )
    click.echo(", ".join(f"{what} {count}" for what, count in sorted(report.reach.items())))
    if missed:
        click.echo(f"never met: {', '.join(missed)}")
    sys.exit(1 if report.broken or missed else 0)


def _trace(order: Order) -> int:
    world = World(order.first, order.off, restores=order.restores, bias=BIASES[order.bias])
    try:
        world.run()
    except Violation as why:
        world.note(f"VIOLATION {why}")
        return 1
    finally:
        click.echo("\n".join(world.trace))
    return 0


if __name__ == "__main__":
    main()
