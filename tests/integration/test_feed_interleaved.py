"""Two programs of the centre write by turns: each one's rows come together when it commits."""

from __future__ import annotations

import pytest

from shared.changes import Fate
from tests.integration.central_world import connect
from tests.integration.test_feed import follow, new_orders, rows, sequence

SITE = "SITE_001"


@pytest.mark.parametrize("first_commits_first", [True, False])
async def test_statements_of_two_transactions_by_turns_come_as_two_wholes(
    centre, first_commits_first
):
    async with (
        connect(centre, autocommit=False) as one,
        connect(centre, autocommit=False) as two,
    ):
        for program, number in ((one, "1"), (one, "2"), (two, "3"), (one, "4"), (two, "5")):
            await program.execute(new_orders(SITE, number))
            await sequence(centre)
        assert await follow(centre, SITE) == []
        for program in (one, two) if first_commits_first else (two, one):
            await program.commit()
            await sequence(centre)
    entries = [rows([entry]) for entry in await follow(centre, SITE)]
    wholes = [["1", "2", "4"], ["3", "5"]]
    assert entries == [
        [(Fate.PUT, number) for number in numbers]
        for numbers in (wholes if first_commits_first else wholes[::-1])
    ]
