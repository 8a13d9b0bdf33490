"""Runs seeds of the model: python -m tests.model --runs 2000 [--seed N] [--off RULE] [--trace]."""

from __future__ import annotations

from collections import Counter

import click

from tests.model.checks import Violation
from tests.model.rules import Rule
from tests.model.world import World


@click.command()
@click.option("--runs", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--off", multiple=True, type=click.Choice([rule.name for rule in Rule]))
@click.option("--restores", is_flag=True, help="With restores and clones, which are half done.")
@click.option("--trace", is_flag=True, help="Print the first run step by step.")
def main(*, runs: int, seed: int, off: tuple[str, ...], restores: bool, trace: bool) -> None:
    """Run seeds and print those that break an invariant, and what was met."""
    reach: Counter[str] = Counter()
    broken = 0
    for number in range(seed, seed + (1 if trace else runs)):
        world = World(number, frozenset(Rule[name] for name in off), restores=restores)
        try:
            world.run()
        except Violation as why:
            broken += 1
            click.echo(f"seed {number}: {why}")
        reach += world.centre.reach
        if trace:
            click.echo("\n".join(world.trace))
    click.echo(f"{broken} of {1 if trace else runs} runs broke an invariant")
    click.echo(", ".join(f"{what} {count}" for what, count in sorted(reach.items())))


if __name__ == "__main__":
    main()
