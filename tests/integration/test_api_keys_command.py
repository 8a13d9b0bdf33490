"""``mes-central api-keys`` and ``audit``: keys are made, listed, refused, and told of."""

from __future__ import annotations

import os
import pwd
import resource
import stat
from contextlib import contextmanager

import psycopg
import pytest

from central.api_keys import hash_of
from shared.exits import FAILED, USAGE
from tests.integration.centre import rows
from tests.integration.command_world import mes_central

__all__ = ["mes_central"]

pytestmark = pytest.mark.postgres


def add(mes_central, path, *more, name="grafana", grant="region:SITE_001,SITE_002"):
    return mes_central("api-keys", "add", name, "--grant", grant, "--key-file", path, *more)


def test_a_key_is_written_to_a_file_of_its_own_and_printed_nowhere(mes_central, tmp_path):
    path = tmp_path / "key"
    ran = add(mes_central, path, "--days", "365")
    key = path.read_text().strip()
    assert ran.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.split("_", 2)[2] not in ran.out + ran.err
    (kept,) = rows(
        mes_central.url,
        "SELECT name, hash, grants, round(extract(epoch FROM expires_at - now()) / 86400)::int"
        " AS days FROM sync.api_key",
    )
    assert kept == {
        "name": "grafana", "hash": hash_of(key), "grants": ["region:SITE_001,SITE_002"],
        "days": 365,
    }  # fmt: skip


def test_keys_are_listed_with_what_they_may_and_when_they_were_used(mes_central, tmp_path):
    add(mes_central, tmp_path / "one", "--scope", "read")
    add(mes_central, tmp_path / "two", name="terminal", grant="plant:SITE_003")
    mes_central("api-keys", "revoke", "grafana")
    listed = mes_central("api-keys", "list", "--json").document["keys"]
    assert [(each["name"], each["grants"], each["scopes"], each["stands"]) for each in listed] == [
        ("terminal", ["plant:SITE_003"], ["read", "review"], True),
        ("grafana", ["region:SITE_001,SITE_002"], ["read"], False),
    ]
    lines = mes_central("api-keys", "list").out.splitlines()
    assert lines[0].split() == ["NAME", "ID", "GRANTS", "SCOPES", "LAST", "USED", "ENDS"]
    assert lines[2].endswith("revoked")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"grant": "plant:SITE_001,SITE_002"}, "plant wants one site"),
        ({"grant": "king"}, "no such role"),
        ({"grant": "plant:SITE_777"}, "SITE_777 is not registered"),
        ({"name": "Grafana!"}, "can't name a key"),
    ],
)
def test_a_key_that_can_not_be_leaves_neither_a_row_nor_a_file(mes_central, tmp_path, given, told):
    path = tmp_path / "key"
    ran = add(mes_central, path, **given)
    assert ran.code in (FAILED, USAGE)
    assert told in ran.err
    assert not path.exists()
    assert rows(mes_central.url, "SELECT FROM sync.api_key") == []


def test_scopes_that_the_grants_do_not_allow_are_told_at_once(mes_central, tmp_path):
    ran = add(mes_central, tmp_path / "key", "--scope", "plan")
    assert ran.code == USAGE
    assert "none of region:SITE_001,SITE_002 allows plan" in ran.err


def test_a_file_that_is_there_is_left_as_it_is(mes_central, tmp_path):
    path = tmp_path / "key"
    path.write_text("of somebody else")
    ran = add(mes_central, path)
    assert (ran.code, path.read_text()) == (USAGE, "of somebody else")
    assert rows(mes_central.url, "SELECT FROM sync.api_key") == []


def test_a_name_is_that_of_one_key_and_free_again_once_it_is_revoked(mes_central, tmp_path):
    assert add(mes_central, tmp_path / "one").code == 0
    second = add(mes_central, tmp_path / "two")
    assert second.code == FAILED
    assert "revoke grafana" in second.err
    assert mes_central("api-keys", "revoke", "grafana").code == 0
    assert add(mes_central, tmp_path / "two").code == 0
    assert mes_central("api-keys", "revoke", "nobody").code == FAILED


def test_keys_made_and_revoked_are_in_the_audit_log_with_who_did_it(mes_central, tmp_path):
    add(mes_central, tmp_path / "key", "--days", "30", "--scope", "read")
    mes_central("api-keys", "revoke", "grafana")
    who = f"os {pwd.getpwuid(os.getuid()).pw_name}"
    kept = mes_central("audit", "--changes", "--json").document["entries"]
    assert [(each["who"], each["action"], each["target"]) for each in kept] == [
        (who, "api-keys revoke", "grafana"), (who, "api-keys add", "grafana"),
    ]  # fmt: skip
    assert kept[1]["changed"] == {
        "name": "grafana", "grants": ["region:SITE_001,SITE_002"], "scopes": ["read"], "days": 30,
    }  # fmt: skip
    assert who in mes_central("audit", "--who", who.split()[1]).out


def test_who_made_a_key_is_told_by_the_system_and_by_no_variable(mes_central, tmp_path):
    ran = mes_central(
        "api-keys", "add", "x", "--grant", "corporate", "--key-file", tmp_path / "key",
        LOGNAME="somebody.else", USER="somebody.else",
    )  # fmt: skip
    assert ran.code == 0
    assert "somebody.else" not in mes_central("audit").out


def test_a_key_that_can_not_be_noted_is_neither_made_nor_revoked(mes_central, tmp_path):
    add(mes_central, tmp_path / "one")
    with psycopg.connect(mes_central.url, autocommit=True) as connection:
        connection.execute("REVOKE INSERT ON sync.audit FROM mes_ingest")
    assert add(mes_central, tmp_path / "two", name="terminal").code != 0
    assert not (tmp_path / "two").exists()
    assert mes_central("api-keys", "revoke", "grafana").code != 0
    kept = rows(mes_central.url, "SELECT name, revoked_at FROM sync.api_key")
    assert kept == [{"name": "grafana", "revoked_at": None}]


@contextmanager
def no_room_for_files():
    """Let no file of this process grow, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_key_that_can_not_be_written_is_revoked_again_and_leaves_no_file(mes_central, tmp_path):
    path = tmp_path / "key"
    with no_room_for_files():
        ran = add(mes_central, path)
    assert (ran.code, path.exists()) == (FAILED, False)
    assert "is revoked again" in ran.err
    (kept,) = rows(mes_central.url, "SELECT revoked_at IS NOT NULL AS revoked FROM sync.api_key")
    assert kept["revoked"]
    actions = rows(mes_central.url, "SELECT action FROM sync.audit ORDER BY no")
    assert [each["action"] for each in actions] == ["api-keys add", "api-keys revoke"]
    assert add(mes_central, path).code == 0  # the name is free


def test_a_key_that_can_be_neither_written_nor_revoked_is_told_with_what_to_do(
    mes_central, tmp_path
):
    with psycopg.connect(mes_central.url, autocommit=True) as connection:
        connection.execute("REVOKE UPDATE ON sync.api_key FROM mes_ingest")
    with no_room_for_files():
        ran = add(mes_central, tmp_path / "key")
    assert ran.code == FAILED
    assert "mes-central api-keys revoke grafana" in ran.err


def test_the_audit_log_is_shown_by_who_asked_and_of_which_site(mes_central):
    with psycopg.connect(mes_central.url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO sync.audit (who, address, action, target, sites, status, changed) VALUES
               ('key grafana', '::1', 'GET /v1/sites', '/v1/sites', '{SITE_001}', 200, NULL),
               ('user 7 anna', '::1', 'POST /v1/x', '/v1/x', '{SITE_002}', 200, '{"a": 1}'),
               ('nobody', '::1', 'GET /v1/sites', '/v1/sites', '{}', 401, NULL)"""
        )

    def asked(*words):
        return [e["who"] for e in mes_central("audit", "--json", *words).document["entries"]]

    assert asked() == ["nobody", "user 7 anna", "key grafana"]
    assert asked("--who", "grafana") == asked("--who", "key grafana") == ["key grafana"]
    assert asked("--who", "7") == asked("--changes") == ["user 7 anna"]
    assert asked("--site", "SITE_001") == ["key grafana"]
    assert asked("--limit", "1") == ["nobody"]
    assert "GET /v1/sites" in mes_central("audit").out


def test_nobody_of_the_centre_may_change_a_line_of_the_audit_log(mes_central):
    with psycopg.connect(mes_central.url) as connection:
        for role in ("mes_ingest", "mes_api", "mes_app"):
            connection.execute(f"SET LOCAL ROLE {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute("UPDATE sync.audit SET who = 'nobody'")
            connection.execute("RESET ROLE")
