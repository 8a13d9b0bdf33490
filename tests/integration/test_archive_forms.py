"""Values of every kind are the same in PostgreSQL, in a file of the archive, and out of DuckDB."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.archive_file import Writing, blocks, read_whole
from central.archive_hash import all_named, function_statement, hash_expression, hashes, named
from central.archive_reading import Wanted, read_files
from shared.catalog import COMMON, Column, ColumnType, Kind
from shared.sums import folded
from tests.integration.edge_world import SITE, uid
from tests.integration.test_compare_forms import CREATED, TABLE, centre, put_central, rows_of_values

__all__ = ["centre"]

pytestmark = pytest.mark.postgres

COLUMNS = (*COMMON, *TABLE.columns)
some_rows = st.lists(rows_of_values(), min_size=1, max_size=8)
a_while = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def block_of(batch):
    keyed = [(uid(n), SITE, CREATED, *values) for n, values in enumerate(batch)]
    return [list(column) for column in zip(*keyed, strict=True)]


@given(some_rows)
@a_while
def test_a_row_has_the_same_hash_in_postgres_and_in_words(centre, batch):
    put_central(centre, batch)
    centre.execute(function_statement(TABLE))
    expected = sorted(hashes(COLUMNS, block_of(batch)))
    for expression in (hash_expression(all_named(TABLE), "t"), "sync.row_hash_odds(t)"):
        found = centre.execute(f"SELECT {expression} FROM mes.odds AS t").fetchall()
        assert sorted(folded(number) for (number,) in found) == expected


@given(some_rows)
@a_while
def test_a_file_gives_back_what_was_written_to_the_letter(tmp_path, batch):
    path = tmp_path / "odds" / "one.parquet"
    path.unlink(missing_ok=True)
    writing = Writing(path, TABLE)
    block = block_of(batch)
    writing.add(block)
    sealed = writing.seal()
    assert not path.exists()
    writing.keep({"rows": len(batch)})
    assert read_whole(path, TABLE) == sealed
    assert sealed.contents.sum == folded(sum(hashes(COLUMNS, block)))
    (found,) = blocks(path, TABLE)
    assert found == block
    wanted = Wanted(
        since=datetime(2026, 1, 1, tzinfo=UTC), before=datetime(2027, 1, 1, tzinfo=UTC), rows_max=99
    )
    rows = read_files([(path, SITE)], TABLE, wanted)
    assert sorted(rows) == sorted(zip(*block, strict=True))


@given(rows_of_values(), rows_of_values())
@a_while
def test_rows_that_differ_in_any_value_have_other_hashes(one, other):
    same = [repr(value) for value in one] == [repr(value) for value in other]
    block = block_of([one])
    (first,) = hashes(COLUMNS, block)
    (again,) = hashes(COLUMNS, [*block[:3], *([value] for value in other)])
    assert (again == first) is same or one == other


def test_a_column_that_is_renamed_or_added_with_no_value_changes_no_hash():
    table = replace(TABLE, columns=(TABLE.columns[1],))
    renamed = replace(TABLE.columns[1], name="c_words", renamed_from=("c_text",))
    added = Column("c_new", ColumnType(Kind.INTEGER))
    later = replace(table, columns=(added, renamed))
    keys = [[uid(1)], [SITE], [CREATED]]
    before = hashes((*COMMON, *table.columns), [*keys, ["said"]])
    assert hashes((*COMMON, *later.columns), [*keys, [None], ["said"]]) == before
    assert [name for _, name in named(later, ["id", "c_text"])] == ["id", "c_text"]
