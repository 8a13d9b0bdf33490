"""PostgreSQL reads from an array literal the values that were put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.canonical import expression
from central.store.literals import ARRAYS, array
from tests.unit.test_store_literals import KINDS

if TYPE_CHECKING:
    from shared.catalog import Kind
    from shared.changes import Value


@st.composite
def columns(draw: st.DrawFn) -> tuple[Kind, list[Value]]:
    kind = draw(st.sampled_from([*KINDS]))
    return kind, draw(st.lists(st.none() | KINDS[kind], max_size=5))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns())
def test_an_array_literal_holds_the_values_to_the_letter(
    postgres_url: str, column: tuple[Kind, list[Value]]
) -> None:
    kind, values = column
    query = (
        f"SELECT {expression(kind, 'v')} FROM unnest(%s::{ARRAYS[kind]})"
        " WITH ORDINALITY AS a (v, n) ORDER BY n"
    )
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute(query.encode(), [array(kind, values)]).fetchall()
    assert [value for (value,) in found] == values
