"""``mes-central readers``: who may be made a reader, and that one taken away reads no more."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from central.roles import APP, BI, INGEST, OWNER
from tests.integration.centre import rows
from tests.integration.command_world import mes_central
from tests.integration.readers_world import logins, new_name
from tests.integration.rowed import rowed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.command_world import MesCentral, Ran

__all__ = ["logins", "mes_central", "rowed"]


def run(url: str, *statements: str) -> None:
    """Run statements as a superuser."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def exists(url: str, name: str) -> bool:
    return bool(rows(url, "SELECT FROM pg_roles WHERE rolname = %s", name))


def removed(ran: Ran) -> dict[str, Any]:
    """What the command says came of a removal."""
    document = dict(ran.document)
    return {key: document[key] for key in document if key not in ("schema", "name")}


DROPPED = {
    "sessions_ended": 0, "sessions_standing": 0, "role_foreign": False,
    "role_stays_because": None, "role_logs_in": False,
}  # fmt: skip


@pytest.fixture
def role(mes_central: MesCentral) -> Iterator[str]:
    """The name of a role that a test makes."""
    name = new_name()
    yield name
    if exists(mes_central.url, name):
        run(mes_central.url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.fixture
def admin(mes_central: MesCentral) -> Iterator[str]:
    """The address of an administrator who is no superuser, on roles that a superuser made."""
    name, password = f"admin_{secrets.token_hex(6)}", secrets.token_hex(8)
    run(
        mes_central.url,
        f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'",
        f"GRANT {OWNER}, {INGEST} TO {name}",
        f"GRANT {BI} TO {name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
    )
    yield make_conninfo(mes_central.url, user=name, password=password, options="")
    run(mes_central.url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


# --- to make one ---------------------------------------------------------------------------------


def add(mes_central: MesCentral, name: str, path: Path, *more: object) -> Ran:
    return mes_central("readers", "add", name, "--all-sites", "--password-file", path, *more)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE ROLE {name} LOGIN IN ROLE {bi}",
        "CREATE ROLE {name} LOGIN IN ROLE {bi}; COMMENT ON ROLE {name} IS 'mes-sync reader of x'",
        "CREATE ROLE {name} NOLOGIN IN ROLE {bi}; {comment}",
        "CREATE ROLE {name} LOGIN IN ROLE {bi}, {ingest}; {comment}",
        "CREATE ROLE {name} LOGIN SUPERUSER IN ROLE {bi}; {comment}",
        "CREATE ROLE {name} LOGIN CREATEROLE IN ROLE {bi}; {comment}",
        "CREATE ROLE {name} LOGIN BYPASSRLS IN ROLE {bi}; {comment}",
    ],
)
def test_a_role_that_may_more_or_that_others_made_is_not_taken_over(
    mes_central, role, tmp_path, made
):
    database = urlsplit(mes_central.url).path[1:]
    noted = f"COMMENT ON ROLE {role} IS 'mes-sync reader of {database}'"
    run(mes_central.url, made.format(name=role, bi=BI, ingest=INGEST, comment=noted))
    ran = add(mes_central, role, tmp_path / "password")
    assert (ran.code, "is no reader of this database" in ran.err) == (64, True)
    assert not (tmp_path / "password").exists()
    (found,) = rows(mes_central.url, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", role)
    assert found["rolpassword"] is None


def test_a_reader_that_is_added_again_begins_as_a_new_one_does(mes_central, logins, role):
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        session.execute(f"ALTER ROLE {role} SET statement_timeout = 0".encode())
    run(mes_central.url, f"ALTER ROLE {role} CONNECTION LIMIT -1")
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        assert session.execute("SHOW statement_timeout").fetchone() == ("30s",)
    (found,) = rows(mes_central.url, "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", role)
    assert found["rolconnlimit"] == 20


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe a password of another code\n")
    path.chmod(0o600)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


@pytest.mark.parametrize("made", [not_text, a_link_to_nothing])
def test_a_password_file_that_can_not_be_read_is_told_as_such(mes_central, role, tmp_path, made):
    made(tmp_path / "password")
    ran = add(mes_central, role, tmp_path / "password")
    assert (ran.code, str(tmp_path / "password") in ran.err) == (64, True)
    assert not exists(mes_central.url, role)


# --- to take one away ----------------------------------------------------------------------------


def owns_a_temporary_table(session: psycopg.Connection, url: str, name: str) -> None:
    run(url, f"GRANT TEMPORARY ON DATABASE {session.info.dbname} TO {name}")
    session.execute("SET default_transaction_read_only = off")
    session.execute("CREATE TEMPORARY TABLE kept (n integer)")


def owns_a_large_object(session: psycopg.Connection, url: str, name: str) -> None:
    run(url, "SELECT lo_create(4711)", f"ALTER LARGE OBJECT 4711 OWNER TO {name}")


def has_set_its_default_privileges(session: psycopg.Connection, url: str, name: str) -> None:
    session.execute("SET default_transaction_read_only = off")
    session.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")


@pytest.mark.parametrize(
    "owning", [owns_a_temporary_table, owns_a_large_object, has_set_its_default_privileges]
)
def test_a_login_that_owns_something_is_taken_away_with_it(mes_central, logins, role, owning):
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        owning(session, mes_central.url, role)
        ran = mes_central("readers", "remove", role, "--json")
    assert (ran.code, removed(ran)) == (0, DROPPED | {"sessions_ended": 1})
    assert not exists(mes_central.url, role)


@contextmanager
def something_elsewhere(url: str, name: str) -> Iterator[None]:
    """The role owns something in another database, out of reach of this one."""
    elsewhere = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    number = secrets.randbelow(2**30) + 100_000
    owned = f"ALTER LARGE OBJECT {number} OWNER TO {name}"
    run(elsewhere, f"SELECT lo_create({number})", owned)
    yield
    run(elsewhere, f"SELECT lo_unlink({number})")


def test_a_role_that_can_not_be_dropped_stays_without_any_access(mes_central, logins, rowed, role):
    address = logins("SITE_001", name=role)
    with something_elsewhere(rowed, role):
        ran = mes_central("readers", "remove", role)
        assert (ran.code, f"{role} reads no more" in ran.out) == (1, True)
        assert "the role stays because: " in ran.out
        assert "in database postgres" in ran.out
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(address)
        assert mes_central("readers", "list", "--json").document["readers"] == []
        (left,) = rows(
            rowed,
            """SELECT a.rolcanlogin, a.rolpassword, pg_has_role(a.oid, %s, 'MEMBER') AS reads
               FROM pg_authid AS a WHERE a.rolname = %s""",
            BI,
            role,
        )
        assert left == {"rolcanlogin": False, "rolpassword": None, "reads": False}
    assert mes_central("readers", "remove", role).code == 0, "it may be run again"
    assert not exists(rowed, role)


@pytest.mark.parametrize("power", ["LOGIN SUPERUSER", "NOLOGIN"])
def test_of_a_role_that_is_not_ours_only_the_row_is_taken_away(mes_central, role, power):
    run(
        mes_central.url,
        f"CREATE ROLE {role} {power}",
        f"INSERT INTO sync.reader (name) VALUES ('{role}')",
    )
    ran = mes_central("readers", "remove", role)
    assert (ran.code, "is not ours" in ran.out) == (0, True)
    assert exists(mes_central.url, role)
    assert mes_central("readers", "list", "--json").document["readers"] == []


def test_a_role_that_somebody_dropped_leaves_its_row_to_be_taken_away(mes_central, logins, role):
    logins("SITE_001", name=role)
    run(mes_central.url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    ran = mes_central("readers", "remove", role, "--json")
    assert (ran.code, removed(ran)) == (0, DROPPED)


# --- by an administrator who is no superuser ------------------------------------------------------


def test_who_is_no_superuser_takes_away_the_logins_he_made_with_their_sessions(
    mes_central, logins, rowed, admin, role
):
    address = logins("SITE_001", name=role, MES_ADMIN_URL=admin)
    with psycopg.connect(address, autocommit=True) as session:
        found = session.execute("SELECT DISTINCT site_id FROM mes.work_orders").fetchall()
        assert found == [("SITE_001",)]
        ran = mes_central("readers", "remove", role, "--json")
        assert (ran.code, removed(ran)) == (0, DROPPED | {"sessions_ended": 1})
    assert not exists(rowed, role)


def test_who_may_not_end_sessions_and_drop_the_role_leaves_it_without_rows(
    mes_central, logins, rowed, admin, role
):
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        ran = mes_central("readers", "remove", role, "--json", MES_ADMIN_URL=admin)
        found = removed(ran)
        assert ran.code == 1
        assert (found["sessions_ended"], found["sessions_standing"]) == (0, 1)
        assert (found["role_logs_in"], "permission denied" in found["role_stays_because"]) == (
            True,
            True,
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="has no sites"):
            session.execute("SELECT * FROM mes.work_orders")
    ran = mes_central("readers", "remove", role, "--json", MES_ADMIN_URL=rowed)
    assert ran.code == 0


# --- what everybody may do -----------------------------------------------------------------------


HARM = (
    "SELECT pg_advisory_lock(hashtextextended('mes.leases', 0))",
    "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "CREATE TEMPORARY TABLE mine (n integer)",
)


def test_a_login_holds_up_nobody_and_fills_no_disk(mes_central, logins, role):
    assert mes_central("migrate").code == 0  # a copy of a database has the database's rights anew
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        for statement in HARM:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.encode())
        session.execute("SELECT pg_advisory_unlock_all()")  # drivers do, when they clean up


def test_a_migration_withdraws_what_everybody_may_do_once(mes_central):
    steps = mes_central("migrate", "--json").document["steps"]
    assert "rights that everybody had withdrawn" in steps
    assert mes_central("migrate", "--json").document["steps"] == []
    with psycopg.connect(mes_central.url, autocommit=True) as connection:
        for role in (INGEST, OWNER):
            connection.execute(f"SET ROLE {role}".encode())
            connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute(f"SET ROLE {INGEST}".encode())
        connection.execute("CREATE TEMPORARY TABLE mine (n integer)")
        connection.execute(f"SET ROLE {APP}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_advisory_xact_lock(1)")


def test_what_only_a_superuser_may_withdraw_is_told_with_the_statements(
    mes_central, admin, role, tmp_path
):
    run(mes_central.url, "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC")
    name = urlsplit(mes_central.url).path[1:]
    ran = mes_central(
        "readers", "add", role, "--all-sites", "--password-file", tmp_path / "password", "--json",
        MES_ADMIN_URL=admin,
    )  # fmt: skip
    told = ran.document["superuser_to_run"]
    assert told == [
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock(bigint) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_lock(bigint) TO {OWNER}, {INGEST}",
        f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC',
        f'GRANT TEMPORARY ON DATABASE "{name}" TO {INGEST}',
        f"""ALTER ROLE "{role}" SET log_statement = 'all'""",
    ]
    assert f"{told[0]};" in add(mes_central, role, tmp_path / "password").out
    assert mes_central("migrate", "--json").document["steps"] == []
    run(mes_central.url, *told)
    ran = add(mes_central, role, tmp_path / "password", "--json")
    assert ran.document["superuser_to_run"] == []
    assert mes_central("readers", "remove", role).code == 0


def test_all_that_a_login_sends_is_noted_by_postgresql_and_no_login_ends_that(
    mes_central, logins, role
):
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        session.execute("SET default_transaction_read_only = off")
        for ending in ("SET log_statement = none", f"ALTER ROLE {role} SET log_statement = none"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(ending.encode())
        session.execute(f"ALTER ROLE {role} RESET ALL".encode())
    with psycopg.connect(logins("SITE_001", name=role), autocommit=True) as session:
        assert session.execute("SHOW log_statement").fetchone() == ("all",)


# --- what there is, and its sessions -------------------------------------------------------------


def test_readers_are_listed_changed_and_taken_away_with_their_sessions(mes_central, rowed, logins):
    address = logins("SITE_001", name=(name := f"grafana_{secrets.token_hex(4)}"))
    with psycopg.connect(address, autocommit=True) as session:
        (listed,) = mes_central("readers", "list", "--json").document["readers"]
        assert (listed["name"], listed["sites"], listed["connected"]) == (name, ["SITE_001"], 1)
        logins("SITE_002", name=name)
        found = session.execute("SELECT DISTINCT site_id FROM mes.work_orders").fetchall()
        assert found == [("SITE_002",)], "at once, also for sessions that stand"
        ran = mes_central("readers", "remove", name)
        assert (ran.code, "1 sessions ended" in ran.out) == (0, True)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(address)
    ran = mes_central("readers", "remove", name)
    assert (ran.code, f"{name} is no reader" in ran.err) == (1, True)


@pytest.mark.parametrize(
    "name",
    ["postgres", "mes_app", "pg_monitor", "Grafana", "a-b", "x" * 41, "public", "current_user"],
)
def test_no_reader_is_made_of_a_name_that_is_taken_or_can_be_none(
    mes_central: MesCentral, tmp_path: Path, name: str
):
    path = tmp_path / "password"
    ran = mes_central("readers", "add", name, "--all-sites", "--password-file", path)
    assert (ran.code, name in ran.err, path.exists()) == (64, True, False)
    assert mes_central("readers", "list", "--json").document["readers"] == []


def test_a_reader_of_a_site_that_is_not_registered_is_not_made(mes_central, tmp_path):
    name = new_name()
    ran = mes_central(
        "readers", "add", name, "--site", "SITE_099", "--password-file", tmp_path / "password"
    )
    assert (ran.code, "SITE_099: not registered" in ran.err) == (1, True)
    assert not (tmp_path / "password").exists()
    assert rows(mes_central.url, "SELECT FROM pg_roles WHERE rolname = %s", name) == []


def test_a_password_stands_in_a_file_that_nobody_else_reads(mes_central, logins, tmp_path):
    logins("SITE_001", name=(name := new_name()))
    path = tmp_path / name
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    ran = mes_central("readers", "add", name, "--all-sites", "--password-file", path)
    assert (ran.code, "chmod 600" in ran.err) == (64, True)
