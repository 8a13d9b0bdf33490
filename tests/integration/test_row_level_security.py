"""Row-level security: a program that works for one site sees and changes the rows of that site."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from central.roles import ANALYST, APP, CLIENTS, INGEST, READER
from tests.integration.central_world import CATALOG
from tests.integration.centre import client, insert, rows
from tests.integration.rowed import row_of, rowed

if TYPE_CHECKING:
    from shared.catalog import Table

__all__ = ["rowed"]


def writable(table: Table) -> bool:
    return not table.append_only and (table.two_way or not table.name.startswith("sync_"))


def tables_in(url: str) -> list[dict]:
    return rows(
        url,
        """SELECT relname AS name, relispartition AS child, relrowsecurity AS enabled,
                  relforcerowsecurity AS forced, relacl::text AS rights
           FROM pg_class WHERE relnamespace = 'mes'::regnamespace AND relkind IN ('r', 'p')""",
    )


def run(connection, statement: LiteralString, name: str):
    return connection.execute(sql.SQL(statement).format(sql.Identifier("mes", name)))


def test_every_table_and_every_partition_enforces_it_even_for_the_owner(rowed):
    found = tables_in(rowed)
    assert len([each for each in found if each["child"]]) > 100
    assert [each["name"] for each in found if not (each["enabled"] and each["forced"])] == []


def test_no_client_has_a_right_on_a_partition(rowed):
    children = [each for each in tables_in(rowed) if each["child"]]
    assert len(children) > 100
    for each in children:
        assert f"{INGEST}=arwd/" in each["rights"]
        assert not any(f"{role}=" in each["rights"] for role in CLIENTS)


@pytest.mark.parametrize("role", [APP, READER])
def test_a_client_of_one_site_sees_no_row_of_another_in_any_table(rowed, role):
    children, whole = 0, {table.name for table in CATALOG.tables if not table.partitioned}
    with client(rowed, "SITE_001", role) as north:
        for each in tables_in(rowed):
            if each["child"]:
                children += 1
                with pytest.raises(InsufficientPrivilege):
                    run(north, "SELECT * FROM {}", each["name"])
            else:
                seen = run(north, "SELECT DISTINCT site_id FROM {}", each["name"]).fetchall()
                sites = {row["site_id"] for row in seen}
                shared = {"*"} if each["name"] in whole else set()
                assert sites == {"SITE_001"} | shared, each["name"]
    assert children > 100


def test_a_client_of_one_site_changes_no_row_of_another_in_any_table(rowed):
    count = (
        "SELECT site_id, count(*) AS n FROM {} WHERE site_id <> 'SITE_001' GROUP BY 1 ORDER BY 1"
    )
    for table in CATALOG.tables:
        with client(rowed, role=None) as owner, client(rowed, "SITE_001") as north:
            before = run(owner, count, table.name).fetchall()
            if writable(table):
                one = table.columns[0].name
                run(north, f"UPDATE {{}} SET {one} = {one}", table.name)
                assert run(north, "DELETE FROM {}", table.name).rowcount == 1
                with pytest.raises(InsufficientPrivilege, match="row-level security"):
                    north.execute(row_of(table, "SITE_002").encode())
            else:
                with pytest.raises(InsufficientPrivilege):
                    run(north, "DELETE FROM {}", table.name)
            assert run(owner, count, table.name).fetchall() == before


def test_without_a_site_nothing_is_seen_and_nothing_written(rowed):
    with client(rowed, site=None) as nobody:
        for table in CATALOG.tables:
            shared = [] if table.partitioned else [{"site_id": "*"}]
            seen = run(nobody, "SELECT site_id FROM {}", table.name).fetchall()
            assert seen == shared, table.name
        with pytest.raises(InsufficientPrivilege):
            nobody.execute("INSERT INTO mes.holds (site_id, target_type, target_id, placed_at)"
                           " VALUES ('SITE_001', 'LOT', uuidv7(), now())")  # fmt: skip
        with pytest.raises(InsufficientPrivilege):
            insert(nobody, "reason_codes", kind="HOLD", code="1")


def test_an_emptied_site_is_no_site(rowed):
    with client(rowed, "") as nobody:
        assert run(nobody, "SELECT * FROM {}", "work_orders").fetchall() == []


def test_shared_rows_are_read_by_all_and_changed_only_in_their_own_name(rowed):
    with client(rowed, "SITE_001") as north, client(rowed, "*") as planner:
        change = "UPDATE mes.material_definitions SET description = 'x' WHERE site_id = '*'"
        assert north.execute(change).rowcount == 0
        assert planner.execute(change).rowcount == 1
        assert run(planner, "SELECT * FROM {}", "work_orders").fetchall() == []


def test_a_person_is_seen_by_the_sites_in_its_share_only(rowed):
    with client(rowed, "SITE_001") as north:
        for home, assigned in (
            ("SITE_001", '["SITE_002"]'),
            ("SITE_003", '["SITE_0023"]'),
            ("*", None),
        ):
            insert(north, "persons", person_no=home, home_site_id=home, assigned_sites=assigned)
    seen = {}
    for site in ("SITE_002", "SITE_003"):
        with client(rowed, site) as reader:
            found = reader.execute("SELECT person_no FROM mes.persons WHERE site_id = 'SITE_001'")
            seen[site] = {row["person_no"] for row in found}
    assert seen == {"SITE_002": {"SITE_001", "*"}, "SITE_003": {"SITE_003", "*"}}


def test_a_person_that_others_may_read_is_changed_by_its_own_site_alone(rowed):
    with client(rowed, "SITE_001") as north:
        insert(north, "persons", person_no="9", home_site_id="SITE_002")
    with client(rowed, "SITE_002") as south:
        assert (
            south.execute("UPDATE mes.persons SET name = 'x' WHERE person_no = '9'").rowcount == 0
        )


def test_the_analyst_reads_all_sites_and_writes_nothing(rowed):
    with client(rowed, None, ANALYST) as analyst:
        found = run(analyst, "SELECT DISTINCT site_id FROM {}", "work_orders").fetchall()
        assert {row["site_id"] for row in found} == {"SITE_001", "SITE_002"}
        for table in CATALOG.tables:
            with pytest.raises(InsufficientPrivilege):
                run(analyst, "DELETE FROM {}", table.name)


def test_partitions_of_other_sites_are_left_out_before_a_query_starts(rowed):
    with client(rowed, "SITE_001") as north:
        lines = run(north, "EXPLAIN SELECT * FROM {}", "job_responses").fetchall()
    plan = "\n".join(line["QUERY PLAN"] for line in lines)
    assert "Subplans Removed: 8" in plan
    assert "job_responses__site_001" in plan
    assert "job_responses__site_002" not in plan


def test_the_owner_of_all_tables_can_not_log_in_and_sees_no_row(rowed):
    (owner,) = rows(rowed, "SELECT * FROM pg_roles WHERE rolname = 'mes_owner'")
    assert not any(owner[right] for right in ("rolcanlogin", "rolbypassrls", "rolsuper"))
    with client(rowed, None, "mes_owner") as connection:
        assert run(connection, "SELECT * FROM {}", "work_orders").fetchall() == []
