"""``mes-central withheld``: a person decides on what a site told of a row of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from central.cli import exits
from central.store.withheld import kept_as
from tests.integration.command_world import fetch, mes_central  # noqa: F401

if TYPE_CHECKING:
    from typing import Any

    from tests.integration.command_world import MesCentral

pytestmark = pytest.mark.postgres

ROW = "00000000-0000-7000-8000-0000000000a1"
WORDS = ("00000000-0000-7000-8000-0000000000b1", "00000000-0000-7000-8000-0000000000b2")
TOLD = {"home_site_id": "SITE_002", "status": "REVOKED"}
HELD = {"home_site_id": "SITE_001", "status": "ACTIVE"}


@pytest.fixture
def words(centre: str) -> str:
    """A person of SITE_001 by the backup, of whom SITE_002 told that they are theirs."""
    fetch(
        centre,
        "INSERT INTO mes.persons (site_id, created_at, id, person_no, home_site_id, assigned_sites,"
        " status) VALUES ('*', '2026-11-20 08:00Z', %s, 'P-1', 'SITE_001', '[]', 'ACTIVE')",
        ROW,
    )
    for number, (word, told) in enumerate(zip(WORDS, (TOLD, {"name": "Ada"}), strict=True)):
        fetch(
            centre,
            "INSERT INTO sync.withheld (id, site, owner, table_name, row_id, version, history,"
            " lost_ord, told, held, is_beside, is_whole) VALUES (%s, 'SITE_002', '*', 'persons',"
            " %s, gen_random_uuid(), gen_random_uuid(), %s, %s, %s, false, true)",
            word, ROW, 7 + number, json.dumps(told),
            json.dumps(HELD if told is TOLD else {"name": None}),
        )  # fmt: skip
    return centre


def persons(url: str) -> list[tuple[Any, ...]]:
    return fetch(url, "SELECT home_site_id, status, name FROM mes.persons")


def test_what_waits_is_listed_shown_and_counted_in_the_status_of_its_teller(
    mes_central: MesCentral, words: str
):
    listed = mes_central("withheld", "list").out
    assert 'status "ACTIVE" -> "REVOKE' in listed
    assert "2 rows; next: mes-central withheld show" in listed
    shown = mes_central("withheld", "show", WORDS[0][-8:]).out
    assert f"persons {ROW} of *, told by SITE_002: open" in shown
    assert "SITE_002 does not get the row as it stood" in shown
    assert 'told     status = "REVOKED"' in shown
    assert 'held     status = "ACTIVE"' in shown
    document = mes_central("withheld", "list", "--json").document
    assert [each["told"] for each in document["withheld"]] == [{"name": "Ada"}, TOLD]
    assert "MES-WITHHELD" in mes_central("status", "SITE_002").out
    assert "MES-WITHHELD" not in mes_central("status", "SITE_001").out


def test_what_is_taken_is_a_write_of_the_centre_and_tells_both_sites(
    mes_central: MesCentral, words: str
):
    assert mes_central("withheld", "take", WORDS[0][-8:], "--by", "m.weber").code == 0
    assert persons(words) == [("SITE_002", "REVOKED", None)]
    told = fetch(words, "SELECT scopes FROM sync.touched WHERE 'SITE_002' = ANY(scopes)")
    assert [set(scopes) for (scopes,) in told] == [{"SITE_001", "SITE_002"}]
    again = mes_central("withheld", "take", WORDS[0][-8:])
    assert (again.code, "is settled already: taken" in again.err) == (exits.FAILED, True)
    ((one,),) = fetch(words, "SELECT settled_by FROM sync.withheld WHERE state = 'taken'")
    assert one == "m.weber"


def test_all_of_a_site_is_taken_at_once_or_let_go_of(mes_central: MesCentral, words: str):
    assert mes_central("withheld", "take").code == exits.USAGE
    taken = mes_central("withheld", "take", "--site", "SITE_002", "--json").document
    assert taken["withheld"] == list(WORDS)
    assert persons(words) == [("SITE_002", "REVOKED", "Ada")]
    assert mes_central("withheld", "list").out == "nothing is withheld\n"
    assert len(mes_central("withheld", "list", "--all", "--json").document["withheld"]) == 2


def test_what_is_let_go_of_stays_on_record_and_writes_nothing(mes_central: MesCentral, words: str):
    assert mes_central("withheld", "discard", *(each[-8:] for each in WORDS)).code == 0
    assert persons(words) == [("SITE_001", "ACTIVE", None)]
    states = fetch(words, "SELECT state, told IS NOT NULL FROM sync.withheld")
    assert states == [("discarded", True)] * 2


def test_what_was_written_since_is_taken_the_place_of_only_by_who_has_seen_it(
    mes_central: MesCentral, words: str
):
    fetch(words, "UPDATE mes.persons SET status = 'SUSPENDED'")
    ran = mes_central("withheld", "take", "--site", "SITE_002")
    assert (ran.code, persons(words)) == (exits.FAILED, [("SITE_001", "SUSPENDED", "Ada")])
    assert "was written since the restore; look with" in ran.out
    ran = mes_central("withheld", "take", WORDS[0][-8:])
    assert (ran.code, "--seen" in ran.err) == (exits.FAILED, True)
    shown = mes_central("withheld", "show", WORDS[0][-8:], "--json").document
    assert shown["standing"]["values"]["status"] == "SUSPENDED"
    seen, other = shown["standing"]["version"], "00000000-0000-7000-8000-0000000000ff"
    ran = mes_central("withheld", "take", WORDS[0][-8:], "--seen", other)
    assert (ran.code, f"--seen {seen}" in ran.err) == (exits.FAILED, True)
    assert mes_central("withheld", "take", WORDS[0][-8:], "--seen", seen).code == 0
    assert persons(words) == [("SITE_002", "REVOKED", "Ada")]


def test_of_a_row_that_is_deleted_nothing_is_taken_and_it_stays_open(
    mes_central: MesCentral, words: str
):
    fetch(words, "DELETE FROM mes.persons")
    ran = mes_central("withheld", "take", WORDS[0][-8:])
    assert (ran.code, "is deleted; write it anew" in ran.err) == (exits.FAILED, True)
    assert fetch(words, "SELECT count(*) FROM sync.withheld WHERE state = 'open'") == [(2,)]


def test_what_a_rule_of_the_table_refuses_stays_open_and_says_why(
    mes_central: MesCentral, words: str
):
    fetch(words, "ALTER TABLE mes.persons ADD CONSTRAINT none_revoked CHECK (status <> 'REVOKED')")
    ran = mes_central("withheld", "take", WORDS[0][-8:])
    assert (ran.code, "none_revoked" in ran.err) == (exits.FAILED, True)
    assert fetch(words, "SELECT count(*) FROM sync.withheld WHERE state = 'open'") == [(2,)]


def test_what_a_trigger_refuses_holds_up_no_other_row(mes_central: MesCentral, words: str):
    fetch(
        words,
        "CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.status = 'REVOKED' THEN RAISE EXCEPTION 'none is revoked'; END IF; RETURN NEW;"
        " END $$; CREATE TRIGGER no BEFORE UPDATE ON mes.persons FOR EACH ROW"
        " EXECUTE FUNCTION public.no()",
    )
    ran = mes_central("withheld", "take", "--site", "SITE_002")
    assert (ran.code, "none is revoked" in ran.out) == (exits.FAILED, True)
    assert persons(words) == [("SITE_001", "ACTIVE", "Ada")]


def test_all_means_all_however_many_one_list_holds(mes_central: MesCentral, words: str):
    fetch(
        words,
        "INSERT INTO sync.withheld SELECT gen_random_uuid(), 'SITE_003', '*', 'persons', row_id,"
        " gen_random_uuid(), history, n, told, held, is_whole, is_beside FROM sync.withheld,"
        " generate_series(1, 1005) AS n WHERE lost_ord = 7",
    )
    gone = mes_central("withheld", "discard", "--site", "SITE_003", "--json").document
    assert (len(gone["withheld"]), gone["refused"]) == (1005, {})


def test_whatever_a_site_tells_can_be_kept():
    values = {"name": "a\x00b", "path": "C:\\u0000", "high": float("nan"), "raw": b"\x00\xff"}
    told = {"name": "a\ufffdb", "path": "C:\\u0000", "high": "nan", "raw": "00ff"}
    assert json.loads(str(kept_as(values))) == told


def test_an_unknown_name_is_told(mes_central: MesCentral, words: str):
    fetch(words, "DELETE FROM sync.withheld WHERE id = %s", WORDS[1])
    for name in ("ffffffff", "%", "", WORDS[0][-3:]):  # one alone is named by none of them
        ran = mes_central("withheld", "discard", name)
        assert (ran.code, f"nothing is withheld as {name};" in ran.err) == (exits.FAILED, True)


def test_a_name_of_several_is_told(mes_central: MesCentral, words: str):
    fetch(
        words,
        "INSERT INTO sync.withheld SELECT '10000000-0000-7000-8000-0000000000b1', site, owner,"
        " table_name, row_id, version, history, lost_ord, told, held, is_whole, is_beside"
        " FROM sync.withheld WHERE id = %s",
        WORDS[0],
    )
    ran = mes_central("withheld", "discard", WORDS[0][-8:])
    assert (ran.code, "names several" in ran.err) == (exits.FAILED, True)
