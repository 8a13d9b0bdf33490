"""Migrations of the centre: with data in place, once, whole or not at all."""

from __future__ import annotations

import asyncio
import secrets
import threading
from shutil import copytree

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from central import migrate as module
from central import roles
from central.migrate import FOLDER, migrate
from central.roles import APP, READER
from central.rollups import ROLLED, deltas_of
from central.unions import tables_of
from shared.errors import NotAuthorised, SchemaMismatch, ServerTooOld, StoreBusy
from tests.integration.central_world import CATALOG, SITES
from tests.integration.centre import client, insert, rows
from tests.integration.tools import (
    FIRST,
    GRADE,
    centre_with_a_tool,
    changed,
    tool,
)


@pytest.fixture
async def centre(database):
    return await centre_with_a_tool(database)


# --- the first time, and every other ---------------------------------------------------------


async def test_an_empty_database_gets_all_tables_of_the_catalogue(database):
    done = await migrate(database, CATALOG, SITES)
    made = rows(
        database,
        """SELECT relname FROM pg_class WHERE relnamespace = 'mes'::regnamespace
           AND relkind IN ('r', 'p') AND NOT relispartition""",
    )
    rolled = {each for name in ROLLED for each in (deltas_of(name), *tables_of(name))}
    tables = {table.name for table in CATALOG.tables}
    assert {row["relname"] for row in made} == tables | rolled
    numbered = rows(database, "SELECT name FROM sync.table_no")
    assert {row["name"] for row in numbered} == {table.name for table in CATALOG.tables}
    assert "table work_orders created" in done
    assert "site SITE_001 registered" in done
    assert done[-1].endswith("partitions made")


async def test_a_second_run_finds_nothing_to_do(database):
    await migrate(database, CATALOG, SITES)
    assert await migrate(database, CATALOG, SITES, dry_run=True) == []
    assert await migrate(database, CATALOG, SITES) == []


async def test_a_dry_run_tells_the_steps_and_changes_nothing(database):
    planned = await migrate(database, CATALOG, SITES, dry_run=True)
    assert rows(database, "SELECT FROM pg_namespace WHERE nspname IN ('sync', 'mes')") == []
    done = await migrate(database, CATALOG, SITES)
    assert [step for step in done if not step.startswith("role ")][:-1] == planned


async def test_everything_belongs_to_the_owner_whoever_migrates(centre):
    owned = rows(
        centre,
        """SELECT DISTINCT relowner::regrole::text AS owner FROM pg_class
           WHERE relnamespace IN ('sync'::regnamespace, 'mes'::regnamespace)
           UNION SELECT proowner::regrole::text FROM pg_proc
           WHERE pronamespace IN ('sync'::regnamespace, 'mes'::regnamespace)""",
    )
    assert owned == [{"owner": "mes_owner"}]


async def test_a_site_is_registered_once_and_gets_its_partitions(centre):
    done = await migrate(centre, FIRST, ("EAST", "SITE_001"))
    assert [step for step in done if "site" in step] == ["site EAST registered"]
    with client(centre, "EAST") as east:
        insert(east, "tools", code="T1")


async def test_two_that_migrate_at_once_both_end_well_and_one_does_it(database):
    outcomes: list[list[str]] = []

    def run() -> None:
        outcomes.append(asyncio.run(migrate(database, FIRST, SITES)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 3
    assert sum("table tools created" in done for done in outcomes) == 1


async def test_passwords_let_roles_log_in_and_reach_the_server_as_verifiers_only(centre):
    await migrate(centre, FIRST, SITES, passwords={APP: "geheim", READER: "s3cret"})
    stored = rows(centre, "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = %s", APP)
    assert stored[0]["rolpassword"].startswith("SCRAM-SHA-256$")
    given = psycopg.conninfo.conninfo_to_dict(centre) | {"user": APP, "password": "geheim"}
    with psycopg.connect(**given) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (APP,)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(**given | {"password": "wrong"})


# --- the numbered files ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return copytree(FOLDER, tmp_path / "migrations")


async def test_a_new_file_is_applied_once(centre, folder):
    (folder / "0099_more.sql").write_text("CREATE TABLE sync.more (n integer);")
    done = await migrate(centre, FIRST, SITES, folder=folder)
    assert done == ["0099_more applied", "grants on the schemas renewed"]
    assert await migrate(centre, FIRST, SITES, folder=folder) == []
    (right,) = rows(centre, "SELECT has_table_privilege('mes_ingest', 'sync.more', 'INSERT') AS it")
    assert right["it"]


async def test_an_applied_file_that_was_changed_is_refused(centre, folder):
    with (folder / "0001_bookkeeping.sql").open("a") as file:
        file.write("-- harmless\n")
    with pytest.raises(SchemaMismatch, match=r"0001_bookkeeping\.sql was changed after"):
        await migrate(centre, FIRST, SITES, folder=folder)


async def test_a_program_older_than_the_database_is_refused(centre, folder):
    (folder / "0099_more.sql").write_text("SELECT 1;")
    await migrate(centre, FIRST, SITES, folder=folder)
    with pytest.raises(SchemaMismatch, match="later release"):
        await migrate(centre, FIRST, SITES)


async def test_a_file_that_fails_leaves_the_database_as_it_was(centre, folder):
    (folder / "0099_more.sql").write_text("CREATE TABLE sync.more (n integer); SELECT 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await migrate(centre, changed(GRADE), SITES, folder=folder)
    assert rows(centre, "SELECT to_regclass('sync.more') AS it") == [{"it": None}]
    assert "grade" not in tool(centre)
    assert await migrate(centre, FIRST, SITES) == []


@pytest.mark.parametrize(
    ("number", "table", "columns"),
    [(34, "equipment_state_events", "since"), (37, "downtime_annotations", "from_at")],
)
async def test_a_database_with_facts_of_machines_gets_the_paths_by_which_reports_find_them(
    database, number, table, columns
):
    await migrate(database, CATALOG, SITES)
    rows(database, f"SELECT sync.make_partition('{table}', '{SITES[0]}', '2026-11-01')")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"DROP INDEX mes.{table}_latest")  # as the release before had it
        connection.execute("DELETE FROM sync.migration WHERE number = %s", [number])
    done = await migrate(database, CATALOG, SITES)
    assert [each[:4] for each in done if each.endswith("applied")] == [f"{number:04}"]
    found = rows(
        database,
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'mes' AND indexdef LIKE %s",
        f"%{table}%(equipment_id, {columns})",
    )
    assert {table, f"{table}__{SITES[0].lower()}__2026_11"} <= {each["tablename"] for each in found}
    assert await migrate(database, CATALOG, SITES) == []


async def test_in_which_life_a_site_brought_all_home_is_told_of_those_before_it_was_noted(database):
    await migrate(database, CATALOG, SITES)
    homes = (FOLDER / "0020_homecomings.sql").read_text()
    homes = homes[homes.index("UPDATE sync.site") :]
    rows(
        database,
        """WITH lives AS (
            INSERT INTO sync.life (started_ms, held_order, order_here)
            VALUES (1000, 0, 0), (2000, 0, 0), (3000, 0, 0)
        ), restores AS (
            INSERT INTO sync.restore (site, who, why, found, at) VALUES
                ('SITE_001', 'centre', '', '{}', to_timestamp(1.5)),
                ('SITE_001', 'centre', '', '{}', to_timestamp(2.5)),
                ('SITE_002', 'edge', '', '{}', to_timestamp(3.5))
        ) UPDATE sync.site SET home_no = 3 WHERE site = 'SITE_003' RETURNING 1""",
    )
    rows(database, f"{homes.rstrip().rstrip(';')} RETURNING 1")
    found = rows(database, "SELECT site, home_no FROM sync.site WHERE home_no > 0 ORDER BY site")
    assert [tuple(row.values()) for row in found] == [("SITE_001", 2), ("SITE_003", 3)]


async def test_a_server_that_is_too_old_is_refused_with_the_next_step(centre, monkeypatch):
    monkeypatch.setattr(module, "SERVER_MIN", 990000)
    with pytest.raises(ServerTooOld, match=r"99 is needed\. Upgrade the server with pg_upgrade"):
        await migrate(centre, FIRST, SITES)


# --- locks -----------------------------------------------------------------------------------


async def test_a_busy_table_is_waited_for_in_short_turns(centre, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.3)
    reader = psycopg.connect(centre)
    reader.execute("SELECT * FROM mes.tools")
    release = threading.Timer(1.0, reader.close)
    release.start()
    assert "tools.grade added" in await migrate(centre, changed(GRADE), SITES)
    release.join()


async def test_a_table_that_stays_busy_is_named_and_nothing_is_changed(centre, monkeypatch):
    monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(module, "LOCK_TRIES", 2)
    with psycopg.connect(centre) as reader:
        reader.execute("SELECT * FROM mes.tools")
        with pytest.raises(StoreBusy, match="pg_stat_activity"):
            await migrate(centre, changed(GRADE), SITES)
    assert "grade" not in tool(centre)


async def test_the_ingest_gets_no_right_that_only_a_superuser_can_give(database):
    await migrate(database, CATALOG, SITES)
    with psycopg.connect(database) as connection:
        granted = connection.execute(
            "SELECT parname FROM pg_parameter_acl WHERE paracl::text LIKE '%mes\\_ingest=%'"
        ).fetchall()
    assert granted == []


# --- by an administrator who is no superuser -------------------------------------------------


@pytest.fixture
def administrator(database):
    """Makes an administrator who belongs to roles that a superuser made; gives the address."""
    name, password = f"admin_{secrets.token_hex(6)}", secrets.token_hex(8)
    with psycopg.connect(database, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'".encode())
        superuser.execute(f"ALTER DATABASE {superuser.info.dbname} OWNER TO {name}".encode())
        yield make_conninfo(database, user=name, password=password, options="")
        superuser.execute(f"ALTER DATABASE {superuser.info.dbname} OWNER TO CURRENT_USER".encode())
        superuser.execute(f"DROP OWNED BY {name} CASCADE".encode())
        superuser.execute(f"DROP ROLE {name}".encode())


async def test_who_is_no_superuser_migrates_to_a_release_with_a_new_role(
    database, administrator, monkeypatch
):
    await migrate(database, FIRST, SITES)
    name = psycopg.conninfo.conninfo_to_dict(administrator)["user"]
    role = f"role_{secrets.token_hex(6)}"
    with psycopg.connect(database, autocommit=True) as superuser:
        superuser.execute(f"GRANT mes_owner, mes_ingest TO {name}".encode())
        monkeypatch.setattr(roles, "ROLES", roles.ROLES | {role: "NOLOGIN"})
        try:
            done = await migrate(administrator, changed(GRADE), SITES)
        finally:
            superuser.execute(f"DROP ROLE IF EXISTS {role}".encode())
    assert {f"role {role} created", "tools.grade added"} <= set(done)


async def test_who_does_not_belong_to_the_roles_is_told_what_a_superuser_has_to_run(
    database, administrator
):
    await migrate(database, FIRST, SITES)
    with pytest.raises(NotAuthorised, match="let a superuser run once: GRANT mes_owner TO"):
        await migrate(administrator, changed(GRADE), SITES)
