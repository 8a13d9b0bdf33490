"""Two persons decide on one review before they hear of one another: nobody's decision is lost."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.decisions import CENTRE, ENDS, Persons, Sides, Taken
from tests.sim.story import NORTH, Story, id_of, lab, play

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

#: What a person may take: a side, the value of a side in their own words, or one of neither.
TAKEN: tuple[Taken, ...] = ("here", "central", 3, 4)
DOSES: tuple[tuple[int, int], ...] = ((3, 5), (5, 3))


def value_of(taken: Taken, sides: tuple[Any, Any]) -> Any:
    return taken if isinstance(taken, int) else sides[taken != "here"]


@pytest.mark.parametrize("ends", [ENDS, ENDS[::-1]], ids=["site first", "centre first"])
def test_of_two_decisions_that_differ_the_safer_stands_and_a_person_is_asked(play, ends):
    asked = list(product(DOSES, TAKEN, TAKEN))

    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel({k: sides for k, (sides, *_) in enumerate(asked)})
        for end in ends:
            for number, (_, here, there) in enumerate(asked):
                assert await persons.decide(end, number, there if end == CENTRE else here)
        await s.rest()
        for number, (sides, here, there) in enumerate(asked):
            values = {value_of(here, sides), value_of(there, sides)}
            assert await s.both(number, "dose") == (min(values),), asked[number]
            is_open = f"state = 'OPEN' AND row_id = '{id_of(number)}'"
            assert await s.count("mes.sync_reviews", is_open) == len(values) - 1, asked[number]
            where = f"row_id = '{id_of(number)}'"
            assert await s.count("mes.sync_conflicts", where) == len(values), asked[number]
        await persons.check(range(len(asked)))

    play(story)


@pytest.mark.parametrize("ends", [ENDS, ENDS[::-1]], ids=["site first", "centre first"])
def test_a_row_that_one_lets_go_and_the_other_keeps_stays_and_a_person_is_asked(play, ends):
    asked = list(product(((None, 5), (5, None)), ("here", "central"), ("here", "central")))

    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel({k: sides for k, (sides, *_) in enumerate(asked)})
        for end in ends:
            for number, (_, here, there) in enumerate(asked):
                assert await persons.decide(end, number, there if end == CENTRE else here)
        await s.rest()
        for number, (sides, here, there) in enumerate(asked):
            is_open = f"state = 'OPEN' AND row_id = '{id_of(number)}'"
            assert await s.count("mes.sync_reviews", is_open) == (here != there), asked[number]
            goes = here == there and value_of(here, sides) is None
            left = await s.count("mes.orders", f"id = '{id_of(number)}'")
            assert left == (not goes), asked[number]
        await persons.check(range(len(asked)))

    play(story)


@pytest.mark.parametrize("sides", DOSES)
def test_a_program_that_had_not_heard_of_a_decision_does_not_replace_it_unasked(play, sides):
    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel({1: sides, 2: sides})
        assert await persons.decide(CENTRE, 1, 3)  # it stands
        s.change(1, dose=6)
        assert await persons.decide(NORTH, 2, 3)
        await s.plan(2, dose=6)
        await s.rest()
        for number in (1, 2):
            assert await s.both(number, "dose") == (3,)
        assert await persons.check([1, 2]) == [1, 2]

    play(story)


def test_a_decision_that_both_ends_have_heard_of_is_made_once(play):
    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel({1: (3, 5), 2: (3, 5)})
        assert await persons.decide(NORTH, 1, "here")
        assert await persons.decide(CENTRE, 2, "here")
        await s.rest()
        for end, number in product(ENDS, (1, 2)):
            assert not await persons.decide(end, number, "central")
        s.change(1, dose=8)  # whoever has heard of it may write as ever
        await s.plan(2, dose=8)
        await s.rest()
        for number in (1, 2):
            assert await s.both(number, "dose") == (8,)
        assert await s.count("mes.sync_conflicts") == 2

    play(story)


# --- in whatever order ----------------------------------------------------------------------------

KINDS: tuple[Sides, ...] = ((3, 5), (5, 3), (None, 5), (5, None))
#: What somebody at an end takes of each row, where anything; whether they insist on it, and
#: whether they decide on the last review of it first.
DECIDE = st.tuples(
    st.sampled_from(ENDS),
    st.tuples(*[st.sampled_from((None, *TAKEN))] * len(KINDS)),
    st.booleans(),
    st.booleans(),
)
HEAR = st.sampled_from(("send", "ingest", "sequence", "publish", "receive", "fetch"))


async def come_to_terms(s: Story, persons: Persons) -> None:
    """Let one person, now here and now there, decide on all that is left to decide."""
    for turn in range(8):
        if not (asked := await persons.check(range(len(KINDS)))):
            return
        for number in asked:
            made = False
            for taken in ("here", "central") if turn % 2 else ("central", "here"):
                end = ENDS[(turn + number) % 2]
                made = made or await persons.decide(end, number, taken, insists=True)
            assert made, number
        await s.rest()
    raise AssertionError("decisions that nobody disputes come to no end")


@given(
    steps=st.lists(st.one_of(DECIDE, HEAR), max_size=16),
    skew_ms=st.sampled_from((0, -600_000, 600_000)),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whoever_decides_in_whatever_order_what_is_decided_stands_or_somebody_is_asked(
    play, steps, skew_ms
):
    async def story(s: Story) -> None:
        persons = Persons(s)
        await persons.quarrel(dict(enumerate(KINDS)))
        s.world.clock.skew[NORTH] = skew_ms
        for step in steps:
            await take(s, persons, step)
        await s.rest()
        await persons.check(range(len(KINDS)))
        await come_to_terms(s, persons)

    async def take(s: Story, persons: Persons, step: Any) -> None:
        if isinstance(step, str):
            await s.step(step)
            return
        end, takes, insists, last = step
        for number, taken in enumerate(takes):
            if taken is not None:
                await persons.decide(end, number, taken, insists=insists, last=last)

    play(story)
