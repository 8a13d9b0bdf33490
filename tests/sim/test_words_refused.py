"""What a site tells of rows of others is confirmed, and PostgreSQL does not take it."""

from __future__ import annotations

import json
import random
import string

import pytest

from tests.sim.story import NORTH, SOUTH, Story, lab, play
from tests.sim.test_rows_that_moved_on import a_person
from tests.sim.test_words_on_rows_of_others import (
    SHARED_WITH_SOUTH,
    centre,
    people,
    told_first,
    withheld,
)

__all__ = ["lab", "play"]

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]

_CHECK = (
    "ALTER TABLE mes.people ADD CONSTRAINT no_west CHECK (sites NOT LIKE '%WEST%') NOT VALID",
    "ALTER TABLE mes.people DROP CONSTRAINT no_west",
)


def _trigger(refusal: str) -> tuple[str, str]:
    return (
        "CREATE FUNCTION public.no_west() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.sites LIKE '%WEST%' THEN {refusal}; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER no_west BEFORE UPDATE ON mes.people FOR EACH ROW"
        " EXECUTE FUNCTION public.no_west()",
        "DROP FUNCTION public.no_west CASCADE",
    )


@pytest.mark.parametrize(
    "rule",
    [
        _CHECK,
        _trigger("RAISE EXCEPTION 'no'"),
        _trigger("RAISE EXCEPTION 'no' USING ERRCODE = 'MES01'"),
        _trigger("PERFORM no_such_function()"),
    ],
    ids=["check", "refusal", "code of its own", "trigger that fails"],
)
def test_a_rule_that_refuses_who_gets_a_row_holds_up_no_homecoming(play, rule):
    async def story(s: Story) -> None:
        admin = s.world.database.admin
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.back_up()
        await centre(s, "UPDATE mes.people SET sites = '[\"SOUTH\",\"WEST\"]', name = 'new'")
        await s.rest()
        await s.restore()
        await admin.execute(rule[0].encode())
        try:
            await told_first(s, SOUTH)
        finally:
            await admin.execute(rule[1].encode())
        assert await people(s) == [(NORTH, '["SOUTH"]', "new")]
        assert [state for *_, state in await withheld(s)] == ["open"]

    play(story)


def test_a_word_too_long_for_an_index_holds_up_no_homecoming(play):
    chance = random.Random(1)
    names = {"".join(chance.choices(string.ascii_uppercase, k=18)) for _ in range(600)}
    many = json.dumps(sorted(names | {SOUTH}), separators=(",", ":"))

    async def story(s: Story) -> None:
        admin = s.world.database.admin
        await a_person(s)
        await centre(s, SHARED_WITH_SOUTH)
        await s.back_up()
        await centre(s, f"UPDATE mes.people SET sites = '{many}', name = 'new'")
        await s.rest()
        await s.restore()
        await s.step("hello", SOUTH)
        await admin.execute(b"CREATE INDEX too_long ON mes.people (sites)")
        try:
            await s.rest(owed=True)
        finally:
            await admin.execute(b"DROP INDEX mes.too_long")
        assert await people(s) == [(NORTH, '["SOUTH"]', "new")]
        assert [state for *_, state in await withheld(s)] == ["open"]

    play(story)
