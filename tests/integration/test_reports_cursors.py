"""Cursors that somebody changed: PostgreSQL takes what they say, or they are refused before it."""

from __future__ import annotations

import base64
import json
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from central.reports.paging import Place, Statement
from central.reports.question import BadQuestion
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world

__all__ = ["api", "link", "world"]
pytestmark = [pytest.mark.postgres, pytest.mark.nats]

LOG = "/v1/reports/log?limit=1"
OUTPUT = "/v1/reports/output?measures=qty_good&group_by=site&sort=-qty_good&limit=1"

#: Texts near to what a place holds: digits and signs of many scripts, and halves of characters.
_NEAR = st.text(st.one_of(st.sampled_from("0123456789+-.,:eETZWe_ \u0665\ud800"), st.characters()))
_INSTANTS = st.builds(
    "{}-{:02}-{:02}T{:02}:{:02}:00{}".format,
    st.integers(0, 10_000), st.integers(0, 13), st.integers(0, 32), st.integers(0, 24),
    st.integers(0, 60), st.sampled_from(["Z", "+00:00", "+15:59", "+16:00", "-23:59", "", ",5Z"]),
)  # fmt: skip
_NUMBERS = st.builds(
    "{}e{}".format, st.decimals(allow_nan=True, allow_infinity=True), st.integers(-(10**7), 10**7)
)
_KINDS = st.sampled_from(["text", "numeric", "timestamptz", "uuid"])


def test_whatever_a_cursor_was_made_to_say_is_refused_or_taken_by_the_database(postgres_url):
    taken: dict[str, int] = {}

    @settings(max_examples=600, deadline=None)
    @given(_KINDS, st.one_of(_NEAR, _INSTANTS, _NUMBERS, st.decimals(-9, 9).map(str)))
    @example("timestamptz", "2026-W01-1T00:00:00+00:00")
    @example("timestamptz", "2026-01-01T00:00:00+23:59")
    @example("timestamptz", "2026-01-01T00:00:00,5+00:00")
    @example("timestamptz", "0001-01-01T00:00:00+14:00")
    @example("numeric", "1e999999")
    @example("numeric", "1e200000")
    @example("numeric", "\u0665")
    @example("numeric", "0e999999")
    @example("text", "\ud800")
    @example("text", "\x00")
    @example("uuid", "{00000000-0000-0000-0000-000000000000}")
    @example("uuid", "\u0665" * 32)
    def look(kind: str, text: str) -> None:
        made = Statement(columns=("a",), places=(Place("a", kind),))
        try:
            made.page(f"SELECT NULL::{kind} AS a", after=(text,), limit=1)
        except BadQuestion:
            return
        taken[kind] = taken.get(kind, 0) + 1
        assert connection.execute(made.text.encode(), made.values).fetchall() == [(None,)]

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        look()
    assert taken.keys() >= {"text", "numeric", "timestamptz"}, taken


async def next_of(api: Api, path: str) -> list[Any]:
    async with await api.asked_by("corporate") as client:
        answer = await client.get(path)
    cursor = answer.json()["next"]
    return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


@pytest.mark.parametrize(
    ("path", "value", "statuses"),
    [
        (LOG, "2026-W01-1T00:00:00+00:00", {200}),
        (LOG, "2026-01-01T00:00:00+23:59", {200}),
        (LOG, "2026-01-01T00:00:00,5+00:00", {200}),
        (LOG, "0001-01-01T00:00:00+14:00", {422}),
        (OUTPUT, "1e999999", {422}),
        (OUTPUT, "1e200000", {422}),
        (OUTPUT, "\u0665", {422}),
        (OUTPUT, "7", {200}),
    ],
)
async def test_a_cursor_with_another_first_place_is_answered_and_breaks_nothing(
    world, api, path, value, statuses
):
    for site in (world.site(), world.site("SITE_002")):
        await site.writes(site.insert("job_responses", site.report()))
    mark, _, *rest = await next_of(api, path)
    text = json.dumps([mark, value, *rest])
    cursor = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    async with await api.asked_by("corporate") as client:
        answer = await client.get(f"{path}&cursor={cursor}")
    assert answer.status_code in statuses, answer.text
