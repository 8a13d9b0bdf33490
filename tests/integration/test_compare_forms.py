"""Both ends write a row as the same text, whatever its values: SQLite, PostgreSQL, and in words."""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import struct
from datetime import UTC, date, datetime
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from central.compare import rows as central_rows
from central.schema import create_statements
from central.store.literals import copy_text
from edge.store import EdgeStore
from edge.store import compare as edge_rows
from shared.catalog import COMMON, Catalog, Column, ColumnType, Direction, Kind, Table
from shared.sums import Cut, Sum, hash_of
from shared.values import canonical
from tests.integration.edge_world import SITE, uid

TYPES = {
    Kind.DECIMAL: ColumnType(Kind.DECIMAL, precision=30, scale=9),
    **{kind: ColumnType(kind) for kind in Kind if kind is not Kind.DECIMAL},
}
TABLE = Table("odds", Direction.BOTH, tuple(Column(f"c_{k}", TYPES[k]) for k in Kind))
CREATED = "2026-11-26T10:45:01.002Z"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
VALUES = {
    Kind.UUID: st.uuids().map(str),
    Kind.TEXT: texts,
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1) | st.just(2**53 + 1),
    Kind.DECIMAL: st.decimals("-999999999999999999999", "999999999999999999999", places=9),
    Kind.FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    Kind.BOOLEAN: st.sampled_from([0, 1]),
    Kind.TIMESTAMP: st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    Kind.DATE: st.dates(date(1, 1, 1), date(9999, 12, 31)),
    Kind.TIME: st.times().map(lambda t: f"{t:%H:%M}"),
    Kind.JSON: st.recursive(st.none() | st.booleans() | texts | st.integers(), st.lists),
    Kind.SET: st.lists(texts, max_size=4),
    Kind.BYTES: st.binary(max_size=30),
}


@st.composite
def rows_of_values(draw):
    kinds = [column.type.kind for column in TABLE.columns]
    return tuple(
        draw(st.none() | VALUES[kind].map(lambda v, kind=kind: form_of(kind, v))) for kind in kinds
    )


def form_of(kind, value):
    if kind is Kind.JSON:
        return json.dumps(value)
    return canonical(TYPES[kind], value)


def in_words(key, values):
    """The text as the docstring of ``shared.sums`` has it."""
    found = []
    for kind, value in zip(
        (Kind.UUID, Kind.TEXT, Kind.TIMESTAMP, *Kind), (*key, *values), strict=True
    ):
        if value is None:
            found.append("")
        elif kind in (Kind.TEXT, Kind.JSON, Kind.SET):
            found.append(f"{len(value.encode())}:{value}")
        elif kind is Kind.BYTES:
            found.append(f"x{value.hex()}")
        elif kind is Kind.FLOAT:
            found.append(struct.pack(">d", value).hex())
        else:
            found.append(str(value))
    return "|".join(found)


@pytest.fixture(scope="module")
def centre(postgres_url):
    """A database of its own: that of the session is what each test's centre is copied from."""
    name = f"mes_forms_{secrets.token_hex(6)}"
    own = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    admin = urlunsplit(urlsplit(postgres_url)._replace(path="/postgres"))
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mes; CREATE SCHEMA sync")
        connection.execute("CREATE FUNCTION sync.is_set(text) RETURNS boolean RETURN true")
        for statement in create_statements(TABLE):
            connection.execute(statement)
        yield connection
    with psycopg.connect(admin, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "edge.db"
    store = EdgeStore.open(path, Catalog(1, (TABLE,)), site=SITE, now_ms=1, host="here")
    yield store
    store.close()


@pytest.fixture(scope="module")
def looker(store):
    looker = edge_rows.Looker(store.opened)
    yield looker
    looker.close()


def put(centre, store, batch):
    names = [*(c.name for c in COMMON), *TABLE.names]
    keyed = [(uid(number), SITE, CREATED, *values) for number, values in enumerate(batch)]
    plain = sqlite3.connect(store.opened.path, isolation_level=None)
    plain.execute("UPDATE _sync_applying SET flag = 1")
    plain.execute("DELETE FROM odds")
    plain.executemany(
        f"INSERT INTO odds ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", keyed
    )
    plain.close()
    put_central(centre, batch)
    return keyed


def put_central(centre, batch):
    names = [*(c.name for c in COMMON), *TABLE.names]
    keyed = [(uid(number), SITE, CREATED, *values) for number, values in enumerate(batch)]
    centre.execute("TRUNCATE mes.odds")
    kinds = [Kind.UUID, Kind.TEXT, Kind.TIMESTAMP, *Kind]
    columns = list(zip(*keyed, strict=True))
    with centre.cursor().copy(f"COPY mes.odds ({', '.join(names)}) FROM STDIN") as copy:
        copy.write(copy_text(list(zip(kinds, map(list, columns), strict=True)), len(keyed)))


NOTHING = (None,) * len(Kind)
EMPTY = tuple({Kind.TEXT: "", Kind.BYTES: b""}.get(kind) for kind in Kind)
ZERO = tuple(
    {Kind.FLOAT: 0.0, Kind.INTEGER: 2**53 + 1, Kind.DECIMAL: "0"}.get(kind) for kind in Kind
)
PARTED = tuple({Kind.TEXT: "a|b", Kind.JSON: '"|"', Kind.SET: '["|"]'}.get(kind) for kind in Kind)
LINES = tuple({Kind.TEXT: "one\ntwo\r\n\tthree \\ ' é 日本 🏭 \x01"}.get(kind) for kind in Kind)


@given(batch=st.lists(rows_of_values(), min_size=1, max_size=8))
@example(batch=[NOTHING, EMPTY, ZERO, PARTED, LINES])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_row_is_the_same_text_at_both_ends_whatever_kinds_of_values_it_holds(
    centre, store, looker, batch
):
    keyed = put(centre, store, batch)
    expression = central_rows.row_expression(TABLE.columns)
    there = dict(centre.execute(f"SELECT t.id::text, {expression} FROM mes.odds t").fetchall())
    part = edge_rows.Part(TABLE, TABLE.columns)
    here = {
        row_id.decode(): text.decode()
        for row_id, text in looker._read(part, [part.cut], 'd."id"', [])
    }
    words = {row[0]: in_words((row[0], row[1], row[2]), row[3:]) for row in keyed}
    assert here == words
    assert there == words


@given(batch=st.lists(rows_of_values(), min_size=2, max_size=8, unique=True))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_rows_that_differ_in_any_value_are_different_texts(centre, store, looker, batch):
    keyed = put(centre, store, batch)
    assert len({in_words(("", "", ""), row[3:]) for row in keyed}) == len(batch)


def test_bucket_sums_are_the_same_at_both_ends_and_in_words(centre, store, looker):
    batch = [tuple("v" if k is Kind.TEXT else None for k in Kind)] * 200
    keyed = put(centre, store, batch)
    cut = Cut(digits=1)
    words: dict[str, Sum] = {}
    for row in keyed:
        before = words.get(row[0][-1], Sum(0, 0))
        number = hash_of(in_words(row[:3], row[3:]).encode())
        words[row[0][-1]] = Sum(before.rows + 1, (before.sum + number) % 2**64)
    assert looker.sums(edge_rows.Part(TABLE, TABLE.columns, cut)) == words
    part = central_rows.Part(TABLE, SITE, TABLE.columns, cut)
    assert asyncio.run(_sums(centre.info.dsn, centre.info.password, part)) == words


async def _sums(dsn, password, part):
    async with await psycopg.AsyncConnection.connect(dsn, password=password, autocommit=True) as it:
        return await central_rows.read_sums(it, part)


def test_negative_zero_is_zero_at_either_end(centre, store, looker):
    minus = tuple(-0.0 if kind is Kind.FLOAT else None for kind in Kind)
    keyed = put(centre, store, [minus])
    expression = central_rows.row_expression(TABLE.columns)
    ((there,),) = centre.execute(f"SELECT {expression} FROM mes.odds t").fetchall()
    ((_, here),) = looker._read(edge_rows.Part(TABLE, TABLE.columns), [Cut()], 'd."id"', [])
    plus = (0.0 if kind is Kind.FLOAT else None for kind in Kind)
    assert there == here.decode() == in_words(keyed[0][:3], plus)
