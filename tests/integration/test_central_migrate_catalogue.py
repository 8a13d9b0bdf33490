"""From one catalogue to the next at the centre, with rows in place and values that came early."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import msgpack
import psycopg
import pytest

from central import extra
from central.migrate import migrate
from central.roles import ANALYST, INGEST, as_role
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.errors import CatalogError
from tests.integration.central_world import SITES
from tests.integration.centre import client, insert, queue, rows
from tests.integration.tools import (
    FIRST,
    GRADE,
    TOOLS,
    WEAR,
    centre_with_a_tool,
    changed,
    column_type,
    renamed,
    replace_tables,
    set_aside,
    tool,
)


@pytest.fixture
async def centre(database):
    return await centre_with_a_tool(database)


# --- the catalogue ---------------------------------------------------------------------------


async def test_an_added_column_has_its_default_in_rows_that_are_there(centre):
    queued = len(queue(centre))
    done = await migrate(centre, changed(GRADE), SITES)
    assert "tools.grade added" in done
    assert tool(centre)["grade"] == "A"
    assert len(queue(centre)) == queued
    with client(centre) as north:
        north.execute("UPDATE mes.tools SET grade = 'B'")
    (last,) = rows(centre, "SELECT mask FROM sync.version ORDER BY ord DESC LIMIT 1")
    assert last["mask"] == 1 << 5


async def test_an_added_column_keeps_its_rules(centre):
    await migrate(centre, changed(replace(GRADE, values=("A", "B"))), SITES)
    with client(centre) as north, pytest.raises(psycopg.errors.CheckViolation, match="grade_is_al"):
        north.execute("UPDATE mes.tools SET grade = 'Z'")


async def test_a_renamed_column_keeps_its_values_its_rules_and_its_bit(centre):
    new = changed(weight=renamed("weight", "kg"))
    assert "tools.weight renamed to kg" in await migrate(centre, new, SITES)
    assert tool(centre)["kg"] == Decimal("12.50")
    with client(centre) as north:
        north.execute("UPDATE mes.tools SET kg = 13")
        with pytest.raises(psycopg.errors.CheckViolation, match="kg_at_most_99"):
            north.execute("UPDATE mes.tools SET kg = 100")
    (last,) = rows(centre, "SELECT mask FROM sync.version ORDER BY ord DESC LIMIT 1")
    assert last["mask"] == 1 << 1


async def test_a_renamed_natural_key_is_held_under_its_new_name(centre):
    await migrate(centre, changed(code=renamed("code", "tool_no")), SITES)
    with client(centre) as north, pytest.raises(psycopg.errors.UniqueViolation, match="tool_no"):
        insert(north, "tools", tool_no="T1")


async def test_a_wider_column_takes_more_and_keeps_what_it_had(centre):
    new = changed(
        code=replace(TOOLS.column("code"), type=ColumnType(Kind.TEXT, length=40)),
        weight=replace(
            TOOLS.column("weight"), type=ColumnType(Kind.DECIMAL, None, 12, 4, None, Decimal(999))
        ),
        state=replace(TOOLS.column("state"), order=("NEW", "USED", "WORN")),
        count=replace(TOOLS.column("count"), type=ColumnType(Kind.INTEGER), default=1),
    )
    before = tool(centre)
    done = await migrate(centre, new, SITES)
    assert [step for step in done if "widened" in step] == [
        "tools.code widened to text(40)",
        "tools.weight widened to decimal(12,4)",
        "tools.state widened to text",
        "tools.count widened to integer",
    ]
    assert tool(centre) == before
    assert column_type(centre, "code") == "character varying(40)"
    assert column_type(centre, "weight") == "numeric(12,4)"
    with client(centre) as north:
        insert(north, "tools", code="T-number-2", weight="-998.1234", state="USED")
    (new_row,) = rows(centre, "SELECT count FROM mes.tools WHERE code = 'T-number-2'")
    assert new_row["count"] == 1


async def test_a_column_can_be_renamed_and_widened_and_another_added_in_one_step(centre):
    wide = renamed("code", "tool_no", type=ColumnType(Kind.TEXT))
    await migrate(centre, changed(GRADE, code=wide), SITES)
    assert tool(centre) | {"tool_no": "T1", "grade": "A"} == tool(centre)


async def test_a_range_may_grow_with_a_new_name_and_only_the_new_range_is_checked(centre):
    wide = ColumnType(Kind.DECIMAL, None, 12, 4, Decimal(-5), Decimal(999))
    await migrate(centre, changed(weight=renamed("weight", "kg", type=wide)), SITES)
    checks = rows(
        centre,
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'mes.tools'::regclass"
        " AND (conname LIKE 'kg%' OR conname LIKE 'weight%') ORDER BY 1",
    )
    assert [each["conname"] for each in checks] == [
        "kg_at_least_minus_5",
        "kg_at_most_999",
        "kg_is_a_number",
    ]
    with client(centre) as north:
        north.execute("UPDATE mes.tools SET kg = 500")
        with pytest.raises(psycopg.errors.CheckViolation, match="kg_at_most_999"):
            north.execute("UPDATE mes.tools SET kg = 1000")


async def test_new_columns_and_wider_types_reach_the_partitions_there_are(centre):
    await migrate(centre, changed(GRADE), SITES)
    (leaf,) = rows(centre, "SELECT tableoid::regclass::text AS name FROM mes.tools")
    assert rows(centre, f"SELECT grade FROM {leaf['name']}") == [{"grade": "A"}]
    assert column_type(centre, "grade", leaf["name"].removeprefix("mes.")) == (
        "character varying(10)"
    )


async def test_a_new_table_of_a_plant_is_captured_and_split_like_all_others(centre):
    more = Table("gauges", Direction.BOTH, (Column("code", GRADE.type, since=2),), partitioned=True)
    done = await migrate(centre, replace_tables(FIRST, more), SITES)
    assert "table gauges created" in done
    with client(centre) as north:
        row_id = insert(north, "gauges", code="G")
    assert [q["table_name"] for q in queue(centre, row_id)] == ["gauges"]


async def test_a_catalogue_that_would_lose_something_is_refused_and_nothing_changes(centre):
    with pytest.raises(CatalogError, match="it is gone"):
        await migrate(centre, Catalog(2, (TOOLS,)), SITES)
    assert await migrate(centre, FIRST, SITES) == []


async def test_steps_can_be_skipped_over_several_versions(centre):
    second = changed(GRADE)
    third = changed(
        replace(GRADE, name="rank", renamed_from=("grade",)),
        replace(GRADE, name="colour", since=3),
        version=3,
    )
    await migrate(centre, second, SITES)
    done = await migrate(centre, third, SITES)
    assert {"tools.grade renamed to rank", "tools.colour added"} <= set(done)
    known = rows(centre, "SELECT version FROM sync.catalogue ORDER BY applied_at")
    assert [row["version"] for row in known] == [1, 2, 3]


async def test_a_policy_alone_needs_no_step_but_is_recorded(centre):
    other = changed(code=replace(TOOLS.column("code"), policy=Policy.CENTRAL))
    assert await migrate(centre, other, SITES) == [
        "catalogue 2 recorded", "grants on the schemas renewed"
    ]  # fmt: skip


# --- values that came before their column ----------------------------------------------------


async def test_values_set_aside_are_filled_into_their_new_column_and_not_sent_again(centre):
    set_aside(centre, "grade", "B")
    queued, versions = queue(centre), rows(centre, "SELECT * FROM sync.version")
    assert await migrate(centre, FIRST, SITES) == []
    done = await migrate(centre, changed(GRADE), SITES)
    assert "tools.grade filled in for 1 rows" in done
    assert tool(centre)["grade"] == "B"
    assert rows(centre, "SELECT * FROM sync.extra") == []
    assert queue(centre) == queued
    assert rows(centre, "SELECT * FROM sync.version") == versions


async def test_values_of_every_kind_are_filled_in(centre):
    kinds = {
        "a_uuid": (ColumnType(Kind.UUID), str(uuid4())),
        "a_decimal": (ColumnType(Kind.DECIMAL, None, 18, 6), "12.5"),
        "a_whole": (ColumnType(Kind.INTEGER), 7),
        "a_float": (ColumnType(Kind.FLOAT), 0.25),
        "a_yes": (ColumnType(Kind.BOOLEAN), 1),
        "a_time": (ColumnType(Kind.TIMESTAMP), "2026-11-01T02:03:04.567Z"),
        "a_date": (ColumnType(Kind.DATE), "2026-11-01"),
        "an_hour": (ColumnType(Kind.TIME), "06:30"),
        "a_json": (ColumnType(Kind.JSON), '{"a":  1}'),
        "a_set": (ColumnType(Kind.SET), '["a","b"]'),
        "some_bytes": (ColumnType(Kind.BYTES), b"\x00\xff"),
        "nothing": (ColumnType(Kind.TEXT), None),
    }
    for name, (_, value) in kinds.items():
        set_aside(centre, name, value)
    columns = [Column(name, type_, since=2) for name, (type_, _) in kinds.items()]
    await migrate(centre, changed(*columns), SITES)
    assert rows(centre, "SELECT * FROM sync.extra") == []
    found = tool(centre)
    assert found["a_decimal"] == Decimal("12.5")
    assert found["a_yes"] is True
    assert found["a_set"] == '["a","b"]'
    assert found["some_bytes"] == b"\x00\xff"
    assert found["a_time"].isoformat() == "2026-11-01T02:03:04.567000+00:00"
    assert rows(centre, "SELECT a_json::text AS it FROM mes.tools") == [{"it": '{"a":  1}'}]


async def test_values_that_came_before_the_release_did_are_filled_in_without_any_other_step(centre):
    await migrate(centre, changed(GRADE), SITES)
    set_aside(centre, "grade", "B")
    queued = queue(centre)
    assert await migrate(centre, changed(GRADE), SITES) == ["tools.grade filled in for 1 rows"]
    assert queue(centre) == queued


async def test_many_values_are_filled_in_a_batch_at_a_time(centre, monkeypatch):
    monkeypatch.setattr(extra, "TOGETHER_MAX", 7)
    with psycopg.connect(as_role(centre, INGEST), autocommit=True) as ingest:
        ingest.execute(
            """INSERT INTO mes.tools (code, site_id)
               SELECT n::text, site FROM generate_series(1, 30) n, unnest(%s::text[]) site""",
            [list(SITES)],
        )
    set_aside(centre, "grade", "B")
    with psycopg.connect(as_role(centre, INGEST), autocommit=True) as ingest:
        ingest.execute(
            "UPDATE sync.extra SET value = %s WHERE id IN"
            " (SELECT id FROM mes.tools WHERE code IN ('3', '30'))",
            [msgpack.packb("too long for it")],
        )
    done = await migrate(centre, changed(GRADE), SITES)
    assert "tools.grade filled in for 85 rows" in done
    assert any(step.startswith("tools.grade not filled in for 6 rows: row") for step in done)
    assert rows(centre, "SELECT grade, count(*) AS n FROM mes.tools GROUP BY 1 ORDER BY 1") == [
        {"grade": "A", "n": 6}, {"grade": "B", "n": 85}
    ]  # fmt: skip


async def test_a_value_that_breaks_the_rule_of_its_column_is_named_and_kept(centre):
    set_aside(centre, "grade", "far too long for it")
    done = await migrate(centre, changed(GRADE), SITES)
    assert [step for step in done if "not filled in" in step]
    assert tool(centre)["grade"] == "A"
    assert len(rows(centre, "SELECT * FROM sync.extra")) == 1


async def test_a_value_under_an_earlier_name_finds_its_column(centre):
    set_aside(centre, "quality", "C")
    named = replace(GRADE, renamed_from=("quality",))
    await migrate(centre, changed(named), SITES)
    assert tool(centre)["grade"] == "C"


async def test_facts_take_values_set_aside_though_nobody_may_change_them(centre):
    with psycopg.connect(as_role(centre, INGEST), autocommit=True) as ingest:
        ingest.execute(
            "INSERT INTO sync.extra SELECT site_id, 'wear', id, created_at, 'depth', %s, 2, 1, 0"
            " FROM mes.wear",
            [msgpack.packb(4)],
        )
    depth = Column("depth", ColumnType(Kind.INTEGER), since=2, policy=Policy.APPEND_ONLY)
    wear = replace(WEAR, columns=(*WEAR.columns, depth), groups=())
    await migrate(centre, changed(tables=(wear,)), SITES)
    assert rows(centre, "SELECT depth FROM mes.wear") == [{"depth": 4}]


async def test_the_analyst_reads_a_new_table(centre):
    more = Table("gauges", Direction.BOTH, (Column("code", GRADE.type, since=2),))
    await migrate(centre, replace_tables(FIRST, more), SITES)
    with client(centre, None, ANALYST) as analyst:
        assert analyst.execute("SELECT * FROM mes.gauges").fetchall() == []
