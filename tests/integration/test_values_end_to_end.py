"""What SQLite lets a program write arrives as it was written, or is refused or parked by name."""

from __future__ import annotations

import random
import sqlite3

import psycopg
import pytest

from central.migrate import migrate
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Table
from tests.integration.central_world import CATALOG, SITES, connect, execute
from tests.integration.whole_world import whole_world

SITE = SITES[0]
ODDS = Table(
    "odds",
    Direction.BOTH,
    (
        Column("label", ColumnType(Kind.TEXT)),
        Column("count", ColumnType(Kind.INTEGER)),
        Column("amount", ColumnType(Kind.DECIMAL, precision=30, scale=6)),
        Column("reading", ColumnType(Kind.FLOAT)),
        Column("raw", ColumnType(Kind.BYTES)),
        Column("raw_two", ColumnType(Kind.BYTES)),
        Column("raw_three", ColumnType(Kind.BYTES)),
        Column("flag", ColumnType(Kind.BOOLEAN)),
        Column("marks", ColumnType(Kind.SET)),
        Column("changed_by", ColumnType(Kind.TEXT, length=80), writer=True),
    ),
)
WITH_ODDS = Catalog(CATALOG.version + 1, (*CATALOG.tables, ODDS))

FINE = [
    ("label", ""),
    ("label", "é" * 131_072),
    ("label", "tab\t newline\n back\\slash 'quote' \x01 é 日本 🏭"),
    ("count", 0),
    ("count", 2**53 + 1),
    ("count", -(2**63)),
    ("amount", "123456789012345678901234.123456"),
    ("amount", "-0.000001"),
    ("amount", "1e3"),
    ("reading", -0.0),
    ("reading", 1e308),
    ("reading", 5e-324),
    ("reading", float("nan")),  # SQLite itself stores NULL
    ("raw", b""),
    ("raw", bytes(range(256))),
    ("flag", 1),
    ("marks", '["a","b"]'),
    ("label", None),
]
BAD = [
    ("label", "nul\x00inside"),
    ("label", b"\xff\xfe is no text"),
    ("count", 1.5),
    ("amount", "12,5"),
    ("flag", 2),
    ("marks", "not a set"),
]


@pytest.fixture
async def world(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,)) as world:
        await world.settle()
        await world.stop_centre()
        await migrate(world.url, WITH_ODDS, SITES)
        await world.start_centre(WITH_ODDS)
        edge = world.edges[SITE]
        await edge.stop()
        edge.catalog = WITH_ODDS
        await edge.start()
        await world.eventually(lambda: edge.read("SELECT 1 FROM sqlite_master WHERE name = 'odds'"))
        yield world


async def test_every_value_that_a_kind_allows_stands_the_same_at_both_ends(world):
    edge = world.edges[SITE]
    for column, value in FINE:
        edge.write((f'INSERT INTO odds ("{column}") VALUES (?)', (value,)))
    await world.settle(60)
    assert await world.central("SELECT message FROM mes.sync_parked") == []
    assert (await world.central("SELECT count(*) FROM mes.odds"))[0][0] == len(FINE)


async def test_every_value_that_the_centre_may_write_stands_the_same_at_the_site(world):
    written = [(column, value) for column, value in FINE if str(value) != "nan"]
    async with connect(world.url) as connection:
        for column, value in written:
            await connection.execute(
                f'INSERT INTO mes.odds (site_id, "{column}") VALUES (%s, %s)',
                [SITE, bool(value) if column == "flag" else value],
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            await connection.execute("UPDATE mes.odds SET reading = 'NaN'")
    await world.settle(60)
    assert world.edges[SITE].read("SELECT count(*) FROM odds") == [(len(written),)]


async def test_an_empty_value_is_not_null_and_a_long_one_changes_alone_in_both_directions(world):
    edge, whole = world.edges[SITE], (bytes(200_000), "é" * 100_000)
    edge.write(("INSERT INTO odds (label, raw, raw_two) VALUES ('', x'', NULL)", ()))
    edge.write(("INSERT INTO odds (count, raw, label) VALUES (1, ?, ?)", whole))
    await world.settle()
    found = "SELECT label, raw, raw_two FROM mes.odds WHERE count IS NULL"
    assert await world.central(found) == [("", b"", None)]
    edge.write("UPDATE odds SET raw = NULL, raw_two = x'', label = NULL WHERE count IS NULL")
    edge.write(("UPDATE odds SET raw = ? WHERE count = 1", (b"\x00",)))
    await world.settle()
    assert await world.central(found) == [(None, None, b"")]
    changed = "SELECT raw, label FROM mes.odds WHERE count = 1"
    assert await world.central(changed) == [(b"\x00", whole[1])]
    await execute(
        world.url,
        "UPDATE mes.odds SET raw = '', label = '' WHERE count IS NULL",
        f"UPDATE mes.odds SET raw = decode(repeat('07', {len(whole[0])}), 'hex') WHERE count = 1",
    )
    await world.settle()
    assert edge.read("SELECT label, raw, raw_two FROM odds WHERE count IS NULL") == [("", b"", b"")]
    assert edge.read("SELECT length(raw), label FROM odds WHERE count = 1") == [
        (len(whole[0]), whole[1])
    ]
    assert await world.central("SELECT 1 FROM mes.sync_conflicts") == []


async def test_a_row_larger_than_a_message_crosses_in_both_directions(world):
    edge, chance = world.edges[SITE], random.Random(1)
    huge = tuple(chance.randbytes(500_000) for _ in range(3))
    edge.write(("INSERT INTO odds (raw, raw_two, raw_three) VALUES (?, ?, ?)", huge))
    await world.settle(60)
    await world.central("UPDATE mes.odds SET raw = substr(raw, 2), raw_two = raw_three RETURNING 1")
    await world.settle(60)
    assert edge.read("SELECT raw, raw_two FROM odds") == [(huge[0][1:], huge[2])]


async def test_a_value_that_no_kind_allows_is_refused_at_the_write_or_parked_by_name(world):
    edge = world.edges[SITE]
    parked = 0
    for column, value in BAD:
        refusal = _refusal(edge, column, value)
        assert not refusal or column in refusal
        parked += not refusal
    # Invalid UTF-8 gets past every check that SQLite can make.
    edge.write("INSERT INTO odds (label) VALUES (CAST(x'fffe41' AS TEXT))")
    edge.write("INSERT INTO odds (label) VALUES ('after all of them')")
    await world.settle(60)
    messages = await world.central("SELECT message, state FROM mes.sync_parked")
    assert len(messages) == parked + 1
    assert all(any(name in message for name in ODDS.names) for message, _ in messages)
    assert await world.central("SELECT label FROM mes.odds") == [("after all of them",)]
    assert edge.read("SELECT count(*) FROM sync_parked")[0][0] == parked + 1


def _refusal(edge, column, value) -> str:
    try:
        edge.write((f'INSERT INTO odds ("{column}") VALUES (?)', (value,)))
    except sqlite3.IntegrityError as refusal:
        return str(refusal)
    return ""
