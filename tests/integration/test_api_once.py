"""A decision that names itself is made once, however often it is sent."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from central.api import once
from central.api.once import Named, UnderWay
from central.retention import Kept, forget
from central.roles import as_role
from tests.integration.api_world import api, client, link
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel, stands, write

__all__ = ["api", "client", "link", "world"]

pytestmark = [pytest.mark.postgres, pytest.mark.nats]

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


async def asked(world, found, **changed):
    made = {"take": "central", "reason": "recall", "by": "q.chief"}
    seen = await world.head(found.row_id)
    return f"/v1/conflicts/{found.conflict_id}/resolve", made | {"seen": seen} | changed


async def test_the_same_key_has_the_same_answer_and_nothing_is_done_again(client, world):
    path, made = await asked(world, await quarrel(world, world.site()))
    first = await client.post(path, json=made, headers=KEY)
    again = await client.post(path, json=made, headers=KEY)
    unquoted = {"Idempotency-Key": KEY["Idempotency-Key"].strip('"')}
    third = await client.post(path, json=made, headers=unquoted)
    assert (first.status_code, first.json()["again"]) == (200, False)
    assert first.content == again.content == third.content
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert await world.value("SELECT count(*) FROM sync.audit WHERE changed IS NOT NULL") == 1


async def test_an_answer_stands_though_the_row_was_written_since(client, world):
    found = await quarrel(world, world.site())
    path, made = await asked(world, found)
    first = await client.post(path, json=made, headers=KEY)
    await write(world, found.row_id, "REPAIR")
    again = await client.post(path, json=made, headers=KEY)
    assert again.content == first.content
    assert await stands(world, found.row_id) == "REPAIR"


async def test_two_that_come_at_once_are_one(client, world):
    path, made = await asked(world, await quarrel(world, world.site()))
    answers = await asyncio.gather(*(client.post(path, json=made, headers=KEY) for _ in range(5)))
    assert {each.status_code for each in answers} == {200}
    assert len({each.content for each in answers}) == 1
    assert answers[0].json()["again"] is False
    assert await world.value("SELECT count(*) FROM sync.audit WHERE changed IS NOT NULL") == 1


async def test_the_same_key_for_another_request_is_refused_and_nothing_is_done(client, world):
    first, second = await quarrel(world, world.site()), await quarrel(world, world.site("SITE_002"))
    path, made = await asked(world, first)
    await client.post(path, json=made, headers=KEY)
    elsewhere, theirs = await asked(world, second)
    for at, body in ((path, made | {"reason": "otherwise"}), (elsewhere, theirs)):
        answer = await client.post(at, json=body, headers=KEY)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/key-reused")
        assert answer.json()["errors"][0]["field"] == "header.idempotency-key"
    assert await stands(world, second.row_id) == "USE_AS_IS"


async def test_a_key_stands_for_the_address_as_well(client, world):
    """The same body, sent elsewhere, is another request."""
    first, second = await quarrel(world, world.site()), await quarrel(world, world.site("SITE_002"))
    path, made = await asked(world, first)
    await client.post(path, json=made, headers=KEY)
    elsewhere, _ = await asked(world, second)
    answer = await client.post(elsewhere, json=made, headers=KEY)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/key-reused")


async def test_a_key_is_that_of_who_sends_it(api, client, world):
    path, made = await asked(world, await quarrel(world, world.site()))
    first = await client.post(path, json=made, headers=KEY)
    async with await api.asked_by("admin") as other:
        theirs = await other.post(path, json=made, headers=KEY)
    assert (first.json()["again"], theirs.json()["again"]) == (False, True)


async def test_an_answer_is_not_given_to_a_key_that_no_longer_reaches_its_site(client, world):
    path, made = await asked(world, await quarrel(world, world.site()))
    await client.post(path, json=made, headers=KEY)
    narrowed = KEY | {"X-Site-Id": "SITE_002"}
    assert (await client.post(path, json=made, headers=narrowed)).status_code == 404


async def test_what_was_refused_leaves_its_key_free(client, world):
    path, made = await asked(world, await quarrel(world, world.site()))
    refused = await client.post(path, json=made | {"seen": "x"}, headers=KEY)
    assert (refused.status_code, await world.rows("SELECT FROM sync.answer")) == (409, [])
    assert (await client.post(path, json=made, headers=KEY)).status_code == 200


async def test_an_answer_that_can_not_be_kept_undoes_what_it_tells_of(client, world):
    found = await quarrel(world, world.site())
    path, made = await asked(world, found)
    await world.admin.execute("REVOKE UPDATE (answer) ON sync.answer FROM mes_ingest")
    await world.admin.execute("ALTER TABLE sync.answer ADD CHECK (answer IS NULL)")
    assert (await client.post(path, json=made, headers=KEY)).status_code == 500
    assert await stands(world, found.row_id) == "USE_AS_IS"
    assert await world.value("SELECT count(*) FROM sync.audit WHERE changed IS NOT NULL") == 0


async def test_a_day_later_a_key_may_stand_for_another_request_and_is_forgotten(client, world):
    found = await quarrel(world, world.site())
    path, made = await asked(world, found)
    await client.post(path, json=made, headers=KEY)
    kept = "SELECT round(extract(epoch FROM expires_at - now()) / 3600)::int FROM sync.answer"
    assert await world.value(kept) == 24
    await world.admin.execute("UPDATE sync.answer SET expires_at = now() - interval '1 second'")
    other = await client.post(path, json=made | {"reason": "otherwise"}, headers=KEY)
    assert other.json()["again"] is True  # it was looked at anew
    await world.admin.execute("UPDATE sync.answer SET expires_at = now() - interval '1 second'")
    counts = await forget(world.admin, Kept(version_days=0, history_days=0))
    assert (counts, await world.rows("SELECT FROM sync.answer")) == ({"answers": 1}, [])


async def test_who_waits_too_long_for_the_first_is_told_so(world):
    one = Named("key x", "k", b"f" * 32)
    url = as_role(world.url, "mes_ingest")
    async with (
        await psycopg.AsyncConnection.connect(url) as first,
        await psycopg.AsyncConnection.connect(url) as second,
    ):
        assert await once.begin(first, one) is None
        await second.execute("SET lock_timeout = '100ms'")
        with pytest.raises(UnderWay):
            await once.begin(second, one)


@pytest.mark.parametrize("key", ["", "a b", 'a"b', "x" * 201, '""', "é"])
async def test_a_key_that_is_none_is_refused_by_its_field(client, key):
    headers = {"Idempotency-Key": key.encode()}
    made = {"take": "here", "reason": "r", "by": "b", "seen": "x"}
    answer = await client.post("/v1/conflicts/ffffffff/resolve", json=made, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "header.Idempotency-Key"
