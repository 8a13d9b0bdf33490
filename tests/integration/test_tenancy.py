"""Who reads for which sites: the API in the name of its user, and logins for plain SQL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import dict_row

from central.roles import API, APP, BI, INGEST, OWNER, READER, as_role
from central.rollups import ROLLED, ROLLUPS, deltas_of
from central.unions import UNIONS
from tests.integration.central_world import CATALOG
from tests.integration.centre import client as program
from tests.integration.centre import insert, rows
from tests.integration.command_world import mes_central
from tests.integration.readers_world import logins
from tests.integration.rowed import rowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Client = psycopg.Connection[dict[str, Any]]
    #: Opens a connection that reads the rows of these sites.
    Opened = Callable[..., Any]

__all__ = ["logins", "mes_central", "rowed"]

#: What a program may look for: everything but what PostgreSQL shows to everybody.
_EVERYTHING = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT LIKE 'pg\\_%'
      AND n.nspname <> 'information_schema'"""


@contextmanager
def api(url: str, *sites: str) -> Iterator[Client]:
    """The API in the middle of a transaction for a user of these sites."""
    address = as_role(url, API)
    with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SELECT set_config('app.sites', %s, false)", [",".join(sites)])
        yield connection


@pytest.fixture(params=["the API", "a login for plain SQL"])
def opened(request, rowed, logins) -> Opened:
    """Opens a connection in either of the two ways."""

    @contextmanager
    def open_one(*sites: str) -> Iterator[Client]:
        if request.param == "the API":
            with api(rowed, *sites) as connection:
                yield connection
        else:
            with psycopg.connect(
                logins(*sites), autocommit=True, row_factory=dict_row
            ) as connection:
                yield connection

    return open_one


def run(connection: Client, statement: LiteralString, table: dict[str, str] | str) -> Any:
    names = ("mes", table) if isinstance(table, str) else (table["schema"], table["name"])
    return connection.execute(sql.SQL(statement).format(sql.Identifier(*names)))


def copied(connection: Client, statement: str) -> list[str]:
    with connection.cursor().copy(statement.encode()) as out:
        return b"".join(bytes(block) for block in out).decode().splitlines()


def shared_in(name: str) -> set[str]:
    """Whether the table has a row of all sites beside those of each."""
    whole = {table.name for table in CATALOG.tables if not table.partitioned}
    return {"*"} if name in whole else set()


# --- what is read, and that nothing is written ---------------------------------------------------


def test_of_all_tables_and_partitions_there_are_it_reads_no_row_of_another_site(rowed, opened):
    found, readable = rows(rowed, _EVERYTHING), set()
    with opened("SITE_001") as north:
        for each in found:
            try:
                seen = run(north, "SELECT to_jsonb(t) AS row FROM {} AS t", each).fetchall()
            except InsufficientPrivilege:
                continue
            readable.add(f"{each['schema']}.{each['name']}")
            sites = {row["row"].get(name) for row in seen for name in ("site_id", "site", "scope")}
            if each["schema"] == "mes":
                assert sites - {None} == {"SITE_001"} | shared_in(each["name"]), each
            else:
                assert sites <= {"SITE_001", "*", None}, each
    assert len(found) > 200
    # The API needs of the bookkeeping which version stands, the keys that people know rows by, and
    # how the sync of its sites is, which months are in files, and what was known of them when.
    ours = {"sync.table_no", "sync.head", "sync.row_key", "sync.site", "sync.epoch"}
    ours |= {"sync.verified", "sync.compare", "sync.backup_position", "sync.feed_head"}
    ours |= {"sync.backup", "sync.site_day", "sync.archive", "sync.rollup_check"}
    ours |= {"sync.late_report", "sync.restated", "sync.known_since", "sync.complete_through"}
    rolled = {*map(deltas_of, ROLLED)} | {n for each in ROLLUPS for n in (each.name, each.folded)}
    rolled |= {union.name for union in UNIONS}
    tables = {f"mes.{name}" for name in (*(table.name for table in CATALOG.tables), *rolled)}
    assert readable - ours == tables
    assert readable & ours in (set(), ours)


def test_of_the_bookkeeping_the_api_reads_versions_keys_and_files_of_its_sites(rowed):
    with psycopg.connect(rowed, autocommit=True) as superuser:
        of = "FROM unnest(ARRAY['SITE_001', 'SITE_002', '*']) AS s(site)"
        superuser.execute(
            "INSERT INTO sync.row_key (site_id, table_no, key, id)"
            f" SELECT site, 1, '[0, A1]', gen_random_uuid() {of}".encode()
        )
        superuser.execute(
            "INSERT INTO sync.head (site_id, table_no, id, created_at, version, ord)"
            f" SELECT site, 1, gen_random_uuid(), now(), uuidv7(), 1 {of}".encode()
        )
        superuser.execute(
            "INSERT INTO sync.archive (table_name, site_id, month, state)"
            f" SELECT 'job_responses', site, '2024-02', 'dropped' {of}".encode()
        )
    with api(rowed, "SITE_001") as north:
        for name in ("archive", "head", "row_key"):
            query = sql.SQL("SELECT DISTINCT site_id FROM {}").format(sql.Identifier("sync", name))
            found = {row["site_id"] for row in north.execute(query)}
            everywhere = {row["site_id"] for row in rows(rowed, query.as_string())}
            assert found == everywhere & {"SITE_001", "*"}
            assert "SITE_002" in everywhere


def test_of_the_bookkeeping_the_api_reads_how_the_sync_of_its_own_sites_is(rowed):
    made = {
        "feed_head": "(scope) SELECT site",
        "epoch": "(site, epoch) SELECT site, gen_random_uuid()",
        "verified": "(site, started_at) SELECT site, now()",
        "compare": "(site, run, differing, whole, report)"
        " SELECT site, gen_random_uuid(), 0, true, '{}'",
        "backup_position": "(backup, site, epoch, last_n, through_ms)"
        " SELECT 'mon', site, gen_random_uuid(), 1, 1",
        "site_day": "(site, zone, day_start) SELECT site, 'UTC', '00:00'",
        "refused": "(site, reason, message, sha256, payload, stored_at_ms)"
        " SELECT site, 'x', 'x', 'x', 'x', 1",
    }
    with psycopg.connect(rowed, autocommit=True) as superuser:
        superuser.execute("INSERT INTO sync.backup (name) VALUES ('mon')")
        for table, values in made.items():
            of = "FROM unnest(ARRAY['SITE_001', 'SITE_002']) AS s(site) ON CONFLICT DO NOTHING"
            superuser.execute(f"INSERT INTO sync.{table} {values} {of}".encode())
    with api(rowed, "SITE_001") as north:
        looked = dict.fromkeys([*made, "site"], "site") | {"feed_head": "scope"}
        for table, column in looked.items():
            query = f"SELECT DISTINCT {column} AS site FROM sync.{table}"
            everywhere = {row["site"] for row in rows(rowed, query)}
            found = {row["site"] for row in north.execute(query.encode())}
            assert found == everywhere & {"SITE_001", "*"}, table
            assert "SITE_002" in everywhere, table
        with pytest.raises(InsufficientPrivilege):
            north.execute("SELECT payload FROM sync.refused")


def test_it_exports_no_row_of_another_site(opened):
    with opened("SITE_001") as north:
        for table in CATALOG.tables:
            lines = copied(north, f"COPY (SELECT site_id FROM mes.{table.name}) TO STDOUT")
            assert set(lines) - {"*"} == {"SITE_001"}, table.name


def test_of_all_tables_and_partitions_there_are_it_may_write_none(opened):
    with opened("SITE_001") as north:
        found = north.execute(
            f"""SELECT * FROM ({_EVERYTHING}) AS e
            WHERE has_table_privilege(oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
               OR has_any_column_privilege(oid, 'INSERT, UPDATE, REFERENCES')""".encode()
        ).fetchall()
        assert found == []
        north.execute("SET default_transaction_read_only = off")
        for table in CATALOG.tables:
            with pytest.raises(InsufficientPrivilege):
                run(north, "DELETE FROM {}", table.name)


def test_it_reads_all_of_its_sites_and_no_other(rowed, opened):
    with program(rowed, "SITE_003") as third:
        insert(third, "work_orders", order_no="3", qty_ordered=1)
    query = "SELECT DISTINCT site_id FROM mes.work_orders ORDER BY 1"
    with opened("SITE_001", "SITE_003") as two:
        assert [row["site_id"] for row in two.execute(query)] == ["SITE_001", "SITE_003"]


def test_it_reads_a_person_that_one_of_its_sites_shares(rowed, opened):
    with program(rowed, "SITE_001") as north:
        for number, home, assigned in (
            ("a", "SITE_003", "[]"),
            ("b", "SITE_001", '["SITE_002"]'),
            ("c", "SITE_001", '["SITE_0023"]'),
            ("d", "*", None),
        ):
            insert(north, "persons", person_no=number, home_site_id=home, assigned_sites=assigned)
    query = "SELECT person_no FROM mes.persons WHERE site_id = 'SITE_001' ORDER BY 1"
    with opened("SITE_002", "SITE_003") as two:
        assert [row["person_no"] for row in two.execute(query)] == ["a", "b", "d"]


def test_it_calls_no_function_that_works_with_the_rights_of_another(rowed, opened):
    with opened("SITE_001") as north:
        found = north.execute(
            """SELECT p.proname FROM pg_proc AS p
               WHERE p.prosecdef AND has_function_privilege(p.oid, 'EXECUTE')
                 AND p.pronamespace IN ('mes'::regnamespace, 'public'::regnamespace)"""
        ).fetchall()
    assert {row["proname"] for row in found} <= {"reader_sites"}


def test_statistics_of_columns_tell_nothing_of_other_sites(rowed, opened):
    with psycopg.connect(rowed, autocommit=True) as owner:
        owner.execute("ANALYZE mes.work_orders")
        assert owner.execute(
            "SELECT count(*) FROM pg_stats WHERE schemaname = 'mes'"
        ).fetchone() != (0,)
    with opened("SITE_001") as north:
        assert north.execute("SELECT * FROM pg_stats WHERE schemaname = 'mes'").fetchall() == []


def test_a_query_that_names_its_site_as_well_is_planned_on_its_partitions_alone(rowed, opened):
    with opened("SITE_001") as north:
        lines = north.execute("EXPLAIN SELECT * FROM mes.job_responses WHERE site_id = 'SITE_001'")
        plan = "\n".join(line["QUERY PLAN"] for line in lines)
    assert "job_responses__site_001" in plan
    assert "site_002" not in plan
    assert "Subplans Removed" not in plan, "left out only when the query starts"


# --- the API -------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [None, ""])
def test_the_api_is_refused_where_it_names_no_site(rowed, named):
    with psycopg.connect(as_role(rowed, API), autocommit=True) as connection:
        if named is not None:
            connection.execute("SELECT set_config('app.sites', %s, false)", [named])
        for table in CATALOG.tables:
            with pytest.raises(InsufficientPrivilege, match="no sites are named"):
                connection.execute(f"SELECT * FROM mes.{table.name}".encode())


@pytest.mark.parametrize(
    "named",
    [" , ", ",", "SITE_001,", ",SITE_001", "SITE_001, SITE_002", "site_001", "S" * 21, "**"],
)
def test_the_api_is_refused_where_what_it_names_is_no_list_of_sites(rowed, named):
    with api(rowed, named) as connection:
        for query in ("SELECT mes.asked_sites()", "SELECT * FROM mes.work_orders"):
            with pytest.raises(InsufficientPrivilege, match="names no sites"):
                connection.execute(query.encode())


def test_the_api_that_named_no_site_is_refused_before_there_is_a_row_if_it_asks(centre):
    with psycopg.connect(as_role(centre, API), autocommit=True) as connection:
        assert connection.execute("SELECT * FROM mes.work_orders").fetchall() == []
        with pytest.raises(InsufficientPrivilege, match="no sites are named"):
            connection.execute("SELECT mes.asked_sites()")


def test_sites_named_for_one_transaction_are_not_those_of_the_next(rowed):
    with psycopg.connect(as_role(rowed, API), autocommit=True) as connection:
        with connection.transaction():
            connection.execute("SELECT set_config('app.sites', 'SITE_001', true)")
            assert connection.execute("SELECT count(*) FROM mes.work_orders").fetchone() == (1,)
        with pytest.raises(InsufficientPrivilege, match="no sites are named"):
            connection.execute("SELECT count(*) FROM mes.work_orders")


def test_the_role_of_the_api_owns_nothing_and_can_not_bypass(rowed):
    (found,) = rows(
        rowed,
        """SELECT r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb AS may,
                  (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owns,
                  (SELECT count(*) FROM pg_auth_members WHERE member = r.oid) AS belongs_to
           FROM pg_roles AS r WHERE r.rolname = %s""",
        API,
    )
    assert found == {"may": False, "owns": 0, "belongs_to": 0}


# --- logins for plain SQL ------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["app.sites", "app.current_site_id", "app.person"])
def test_a_login_sees_no_more_by_any_setting(rowed, logins, setting):
    with psycopg.connect(logins("SITE_001"), autocommit=True) as north:
        north.execute("SELECT set_config(%s, 'SITE_002', false)", [setting])
        found = north.execute("SELECT DISTINCT site_id FROM mes.work_orders").fetchall()
        assert found == [("SITE_001",)]


@pytest.mark.parametrize("role", [API, APP, READER, INGEST, OWNER, BI])
def test_a_login_takes_no_other_role(rowed, logins, role):
    with psycopg.connect(logins("SITE_001"), autocommit=True) as north:
        for statement in (f"SET ROLE {role}", f"SET SESSION AUTHORIZATION {role}"):
            with pytest.raises(InsufficientPrivilege):
                north.execute(statement.encode())


def test_a_login_that_acts_as_the_group_keeps_its_own_sites(rowed, logins):
    address = logins("SITE_001")
    with psycopg.connect(rowed, autocommit=True) as owner:
        name = conninfo_to_dict(address)["user"]
        owner.execute(f"GRANT {BI} TO {name} WITH SET TRUE".encode())
    with psycopg.connect(address, autocommit=True) as north:
        north.execute(f"SET ROLE {BI}".encode())
        found = north.execute("SELECT DISTINCT site_id FROM mes.work_orders").fetchall()
        assert found == [("SITE_001",)]


def test_a_login_of_all_sites_reads_those_that_come_later_too(rowed, logins):
    address = logins()
    with psycopg.connect(rowed, autocommit=True) as owner:
        owner.execute("INSERT INTO sync.site (site) VALUES ('SITE_009')")
        owner.execute("SELECT sync.make_partition('work_orders', 'SITE_009', now()::date)")
    with program(rowed, "SITE_009") as later:
        insert(later, "work_orders", order_no="9", qty_ordered=1)
    with psycopg.connect(address, autocommit=True) as reader:
        found = reader.execute("SELECT DISTINCT site_id FROM mes.work_orders ORDER BY 1").fetchall()
    assert found == [("SITE_001",), ("SITE_002",), ("SITE_009",)]


def test_a_login_that_was_given_no_sites_is_refused(rowed, logins):
    address = logins("SITE_001")
    with psycopg.connect(rowed, autocommit=True) as owner:
        owner.execute("DELETE FROM sync.reader")
    with (
        psycopg.connect(address, autocommit=True) as reader,
        pytest.raises(InsufficientPrivilege, match="has no sites"),
    ):
        reader.execute("SELECT * FROM mes.work_orders")


def test_a_session_of_a_login_begins_read_only_and_with_its_time_bounded(rowed, logins):
    with psycopg.connect(logins("SITE_001"), autocommit=True) as north:
        shown = [
            north.execute(f"SHOW {name}".encode()).fetchone()
            for name in ("default_transaction_read_only", "statement_timeout", "search_path")
        ]
    assert shown == [("on",), ("30s",), ("mes",)]
