"""Questions of a site are answered or refused in words, whatever their fields hold."""

from __future__ import annotations

import asyncio

import pytest
from psycopg_pool import AsyncConnectionPool

from central.control import Control
from central.questions import check_question
from shared.errors import MalformedMessage, SyncError
from sync import codec
from sync.handshake import Hello
from tests.fuzz.bounds import bounded
from tests.fuzz.questions import QUESTIONS, RIGHT, questions
from tests.fuzz.target import Target
from tests.integration.central_world import CATALOG, make_centre


@pytest.mark.slow
@pytest.mark.parametrize("target", QUESTIONS, ids=lambda target: target.name)
def test_whatever_a_site_asks_can_be_acted_on_or_is_refused(target, seed):
    target.run(seed)


@pytest.mark.parametrize("verb", sorted(RIGHT))
def test_what_an_agent_asks_passes_the_check(verb):
    check_question(verb, RIGHT[verb])


@pytest.mark.parametrize("name", ["hash", "acked_hash"])
def test_a_number_in_the_place_of_bytes_does_not_become_as_many_bytes(name):
    hello = RIGHT["hello"] | {name: 10**11}
    with bounded(seconds=5, megabytes=1):
        with pytest.raises(MalformedMessage, match=name):
            check_question("hello", hello)
        if name == "hash":
            with pytest.raises(MalformedMessage, match="a hash is expected"):
                Hello.read(hello)


def test_an_endless_number_in_a_hello_is_refused():
    with pytest.raises(MalformedMessage, match="hello"):
        Hello.read(RIGHT["hello"] | {"n": float("inf")})


@pytest.mark.slow
def test_the_centre_answers_whatever_is_asked_or_says_why_not(database, seed):
    """With PostgreSQL: its own errors are none of the words that a site is told."""
    with asyncio.Runner() as runner:
        runner.run(make_centre(database))

        async def ask(verb: str, asked: dict[str, object]) -> None:
            async def waiting(_: str) -> int:
                return 0

            async with AsyncConnectionPool(database, min_size=1, max_size=4, open=False) as pool:
                control = Control(pool, CATALOG, waiting)
                payload = codec.encode_control(asked)
                try:
                    answer = await control.answer(f"ctl.SITE_001.{verb}", payload)
                except SyncError as why:
                    assert str(why)  # noqa: PT017
                else:
                    assert isinstance(codec.decode_control(answer), dict)
                for task in control._spools.values():
                    task.cancel()
                await asyncio.gather(*control._spools.values(), return_exceptions=True)

        def check(given: tuple[str, dict[str, object]]) -> None:
            runner.run(ask(*given))

        Target("asked of PostgreSQL", check, questions()).run(seed, 60)
