from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.import_world import Site
from tests.integration.site_world import (
    ASIDE,
    CONFLICT,
    MADE,
    ORDER,
    PLAN,
    REVIEW,
    SETTLED,
    TICKET,
    from_centre,
    mes_sync,
    row,
    told,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return told(Site.new(tmp_path))


def resolve(site: Site, *arguments: str, name: str = CONFLICT):
    return mes_sync(
        site, "conflicts", "resolve", name, "--reason", "re-measured", "--by", "j.kiss", *arguments
    )


def sample_size(site: Site) -> object:
    return site.rows("SELECT sample_size, changed_by FROM inspection_plans")[0]


def review(site: Site) -> tuple[object, ...]:
    return site.rows("SELECT state, take, value, decided_by, reason FROM sync_reviews")[0]


# --- looking -------------------------------------------------------------------------------------


def test_the_list_holds_what_waits_for_a_person(site: Site):
    out = mes_sync(site, "conflicts", "list").out
    assert "000c0001" in out
    assert "P-7 1" in out
    assert "000c0002" not in out
    assert "next: mes-sync conflicts show 000c0001" in out


def test_all_conflicts_are_listed_those_that_wait_first(site: Site):
    found = mes_sync(site, "conflicts", "list", "--all", "--json").document["conflicts"]
    assert [(each["id"], each["state"]) for each in found] == [
        (CONFLICT, "open"),
        (SETTLED, "decided"),
    ]
    assert found[0]["here"] == {
        "value": {"sample_size": 7},
        "site": "F07",
        "writer": "j.kiss",
        "at": "2026-01-01T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--table", "work_orders"], 1),
        (["--table", "equipment"], 0),
        (["--since", "1h"], 0),
        (["--since", "9000d"], 2),
        (["--limit", "1"], 1),
    ],
)
def test_the_list_can_be_narrowed(site: Site, arguments: list[str], found: int):
    done = mes_sync(site, "conflicts", "list", "--all", "--json", *arguments)
    assert len(done.document["conflicts"]) == found


def test_a_conflict_is_shown_with_both_values_writers_and_clocks(site: Site):
    out = mes_sync(site, "conflicts", "show", "0c0001").out
    assert "here     sample_size = 7  by j.kiss at F07  2026-01-01 00:00:00 UTC" in out
    assert "central  sample_size = 9  by m.weber at the centre" in out
    assert "base     sample_size = 5" in out
    assert "stands   sample_size = 9" in out
    assert "mes-sync conflicts resolve 000c0001" in out


def test_a_conflict_may_be_named_by_its_review(site: Site):
    assert mes_sync(site, "conflicts", "show", REVIEW, "--json").document["id"] == CONFLICT


@pytest.mark.parametrize(
    ("name", "said"),
    [("0001", ""), ("ffff", "no conflict ffff"), ("x'y", "names no conflict"), ("c", "at least")],
)
def test_a_name_that_fits_none_is_told(site: Site, name: str, said: str):
    done = mes_sync(site, "conflicts", "show", name)
    assert (done.code, said in done.err) == (1 if said else 0, True)


def test_a_name_that_fits_several_is_told(site: Site):
    other = CONFLICT.replace("-8000-", "-8001-")
    from_centre(site, row(
        "sync_conflicts", id=other, site_id="F07", created_at=MADE, table_name="work_orders",
        row_id=ORDER, column_group="notes", policy="last_write", verdict="here",
    ))  # fmt: skip
    assert "names several" in mes_sync(site, "conflicts", "show", "000c0001").err


# --- deciding ------------------------------------------------------------------------------------


def test_a_decision_writes_the_row_and_the_review_and_both_are_captured(site: Site):
    done = resolve(site, "--take", "here")
    assert done.code == 0, done.err
    assert "sample_size 9 -> 7" in done.out
    assert sample_size(site) == (7, "j.kiss")
    assert review(site) == ("RESOLVED", "here", '{"sample_size": 7}', "j.kiss", "re-measured")
    logged = site.rows("SELECT op, o_sample_size FROM _sync_log_inspection_plans")
    assert logged == [("U", 9), ("S", 7)]
    assert site.rows("SELECT op, o_state FROM _sync_log_sync_reviews") == [("U", "OPEN")]


def test_what_stands_already_is_logged_as_decided_and_by_whom(site: Site):
    assert "it stands already" in resolve(site, "--take", "central").out
    assert sample_size(site) == (9, "j.kiss")
    assert review(site)[:2] == ("RESOLVED", "central")
    logged = site.rows("SELECT op, o_sample_size FROM _sync_log_inspection_plans")
    assert logged == [("U", None), ("S", 9)]


@pytest.mark.parametrize(
    "take", ["value=8", 'value={"sample_size": 8}', 'value={"sample_size":"8"}']
)
def test_a_value_of_ones_own_is_taken_in_its_canonical_form(site: Site, take: str):
    assert resolve(site, "--take", take).code == 0
    assert sample_size(site) == (8, "j.kiss")
    assert json.loads(str(review(site)[2])) == {"sample_size": 8}


@pytest.mark.parametrize(
    ("take", "code", "said"),
    [
        ("value=-1", 1, "below the least value allowed"),
        ("value=many", 1, "a whole number is expected"),
        ('value={"frequency": 3}', 1, "not in conflict; give values of sample_size only"),
        ("value={}", 1, "give a value for one or more of sample_size"),
        ("value={", 64, "not JSON"),
        ("value", 64, "here, central or value=... is expected"),
        ("there", 64, "here, central or value=... is expected"),
        ("here=3", 64, "here, central or value=... is expected"),
    ],
)
def test_a_decision_that_cannot_be_written_is_told_and_changes_nothing(
    site: Site, take: str, code: int, said: str
):
    done = resolve(site, "--take", take)
    assert (done.code, said in done.err) == (code, True), done.err
    assert (sample_size(site), review(site)[0]) == ((9, None), "OPEN")


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(site: Site):
    done = resolve(site, "--take", "here", "--dry-run")
    assert done.out == "would write  inspection_plans P-7 1: sample_size 9 -> 7\n"
    assert (sample_size(site), review(site)[0]) == ((9, None), "OPEN")


def test_the_same_decision_once_more_does_nothing(site: Site):
    resolve(site, "--take", "value=8")
    before = site.content(), site.rows("SELECT count(*) FROM _sync_log_sync_reviews")
    done = resolve(site, "--take", "value=8")
    assert (done.code, "decided before" in done.out) == (0, True)
    assert (site.content(), site.rows("SELECT count(*) FROM _sync_log_sync_reviews")) == before


@pytest.mark.parametrize("take", ["central", "value=9"])
def test_another_decision_is_refused_and_the_first_is_told(site: Site, take: str):
    resolve(site, "--take", "value=8")
    done = resolve(site, "--take", take)
    assert done.code == 1
    assert "j.kiss took value at" in done.err
    assert "re-measured" in done.err
    assert sample_size(site) == (8, "j.kiss")


def test_what_a_policy_has_decided_needs_no_person(site: Site):
    done = resolve(site, "--take", "central", name=SETTLED)
    assert (done.code, "policy last_write has decided" in done.err) == (1, True)


def test_a_row_that_was_written_since_is_decided_only_anyway(site: Site):
    from_centre(site, ("UPDATE inspection_plans SET sample_size = 12", ()))
    done = resolve(site, "--take", "here")
    assert done.code == 1
    assert 'now stands {"sample_size": 12}' in done.err
    assert resolve(site, "--take", "here", "--anyway").code == 0
    assert sample_size(site) == (7, "j.kiss")


def test_a_decision_on_a_row_that_is_gone_closes_the_review(site: Site):
    from_centre(site, ("DELETE FROM inspection_plans", ()))
    assert resolve(site, "--take", "here", "--anyway").code == 0
    assert review(site)[:2] == ("RESOLVED", "here")


@pytest.mark.parametrize(
    ("here", "take", "left"),
    [({}, "here", 0), ({}, "central", 1), ({"sample_size": 7}, "here", 1),
     ({"sample_size": 7}, "central", 0)],
)  # fmt: skip
def test_where_one_side_deleted_the_row_a_person_takes_the_deletion_or_the_row(
    site: Site, here: dict[str, int], take: str, left: int
):
    central = {} if here else {"sample_size": 9}
    for table in ("sync_conflicts", "sync_reviews"):
        from_centre(site, (
            f"UPDATE {table} SET here_value = ?, central_value = ?, column_group = '*'"
            " WHERE row_id = ?", (json.dumps(here), json.dumps(central), PLAN),
        ))  # fmt: skip
    from_centre(site, ("UPDATE sync_conflicts SET policy = 'delete' WHERE id = ?", (CONFLICT,)))
    done = resolve(site, "--take", take)
    assert done.code == 0, done.err
    assert site.rows("SELECT count(*) FROM inspection_plans") == [(left,)]
    assert review(site)[:2] == ("RESOLVED", take)
    assert "only whole rows" not in done.out


def test_a_value_is_no_answer_to_a_deletion(site: Site):
    from_centre(site, ("UPDATE sync_conflicts SET policy = 'delete' WHERE id = ?", (CONFLICT,)))
    assert "take here or central" in resolve(site, "--take", "value=3").err


def test_a_row_that_the_store_refuses_leaves_the_review_open(site: Site):
    from_centre(site, (
        "CREATE TRIGGER plant BEFORE UPDATE ON inspection_plans"
        " BEGIN SELECT RAISE(ABORT, 'the plan is locked'); END", (),
    ))  # fmt: skip
    done = resolve(site, "--take", "here")
    assert (done.code, done.err) == (1, "mes-sync: the store refuses it: the plan is locked\n")
    assert review(site)[0] == "OPEN"


def test_errors_are_json_where_that_was_asked_for(site: Site):
    done = mes_sync(site, "conflicts", "show", "ffff", "--json")
    assert json.loads(done.err)["schema"] == "mes-sync.error/v1"
    assert (done.out, json.loads(done.err)["exit_code"]) == ("", 1)


# --- parked --------------------------------------------------------------------------------------


def test_parked_rows_and_rows_set_aside_are_listed_together(site: Site):
    found = mes_sync(site, "parked", "list", "--json").document["parked"]
    assert {(each["id"], each["place"]) for each in found} == {(TICKET, "centre"), (ASIDE, "here")}
    out = mes_sync(site, "parked", "list").out
    assert "invalid_value: priority = 200" in out
    assert "another row has order_no A-1" in out


def test_a_parked_row_is_shown_in_full_with_what_to_do(site: Site):
    out = mes_sync(site, "parked", "show", "d0001").out
    assert "priority = 200" in out
    assert "mes-central parked retry 000d0001" in out


def test_a_write_too_large_to_be_sent_is_listed_until_it_is_settled(site: Site):
    from_centre(site, ("UPDATE _sync_aside SET code = 'too_large'", ()))
    found = mes_sync(site, "parked", "list", "--json").document["parked"]
    assert [each["state"] for each in found if each["place"] == "here"] == ["too_large"]


def test_settled_rows_are_listed_only_where_asked_for(site: Site):
    from_centre(site, ("UPDATE sync_parked SET state = 'applied'", ()))
    assert len(mes_sync(site, "parked", "list", "--json").document["parked"]) == 1
    assert len(mes_sync(site, "parked", "list", "--all", "--json").document["parked"]) == 2


def aside(site: Site) -> list[tuple[object, ...]]:
    return site.rows("SELECT id, code FROM _sync_aside ORDER BY code")


@pytest.mark.parametrize("code", ["parked", "gone", "left"])
def test_a_row_aside_with_which_nothing_is_left_to_happen_may_be_forgotten(site: Site, code):
    from_centre(site, ("UPDATE _sync_aside SET code = ?", (code,)))
    shown = mes_sync(site, "parked", "show", ASIDE).out
    assert f"mes-sync parked discard {ASIDE[-8:]}" in shown
    done = mes_sync(site, "parked", "discard", ASIDE[-8:], "--json")
    assert [each["state"] for each in done.document["discarded"]] == [code]
    assert aside(site) == []
    assert mes_sync(site, "parked", "discard", ASIDE).code == 1


def test_of_a_row_aside_for_two_reasons_the_one_still_to_be_settled_is_shown_first(site: Site):
    more = (
        "INSERT INTO _sync_aside (table_name, id, code, content, reason, at_ms)"
        " SELECT table_name, id, ?, '{}', 'never deleted here', at_ms + ? FROM _sync_aside"
    )
    from_centre(site, ("UPDATE _sync_aside SET code = 'gone'", ()), (more, ("refused", 1)))
    shown = mes_sync(site, "parked", "show", ASIDE[-8:]).out
    assert shown.index("never deleted here") < shown.index("mes-sync parked discard")
    assert "it is tried again" in shown
    assert mes_sync(site, "parked", "discard", ASIDE).code == 0
    assert aside(site) == [(ASIDE, "refused")]


def test_a_row_that_stands_aside_for_two_losses_of_capture_is_shown_as_it_stood_at_each(site: Site):
    more = (
        "INSERT INTO _sync_aside (table_name, id, code, loss, content, reason, at_ms)"
        ' SELECT table_name, id, code, 2, \'{"notes": "the second"}\', reason, at_ms'
        " FROM _sync_aside"
    )
    first = "UPDATE _sync_aside SET code = 'uncaptured', loss = 1, content = '{\"notes\": \"one\"}'"
    from_centre(site, (first, ()), (more, ()))
    shown = mes_sync(site, "parked", "show", ASIDE).out
    assert '"one"' in shown
    assert '"the second"' in shown
    found = mes_sync(site, "parked", "show", ASIDE, "--json").document
    assert {each["content"]["notes"] for each in (found, *found["others"])} == {"one", "the second"}
    assert mes_sync(site, "parked", "discard", ASIDE).code == 0
    assert aside(site) == []


@pytest.mark.parametrize("code", ["unique", "refused", "too_large"])
def test_a_row_aside_that_still_comes_back_is_not_forgotten(site: Site, code):
    from_centre(site, ("UPDATE _sync_aside SET code = ?", (code,)))
    done = mes_sync(site, "parked", "discard", ASIDE)
    assert (done.code, f"is {code}, and not settled" in done.err) == (1, True)
    assert mes_sync(site, "parked", "discard", "--older-than", "1").code == 0
    assert aside(site) == [(ASIDE, code)]


def test_a_row_aside_on_which_the_centre_has_still_to_decide_is_not_forgotten(site: Site):
    from_centre(
        site,
        ("UPDATE _sync_aside SET code = 'left'", ()),
        ("INSERT INTO _sync_pending (table_no, id, n, op, mask)"
         " SELECT no, ?, 9, 'U', 1 FROM _sync_table JOIN _sync_aside ON name = table_name",
         (ASIDE,)),
    )  # fmt: skip
    assert mes_sync(site, "parked", "discard", ASIDE).code == 1
    assert aside(site) == [(ASIDE, "left")]


def test_all_that_were_set_aside_long_ago_are_forgotten_at_once(site: Site):
    more = "INSERT INTO _sync_aside (table_name, id, code, content, reason, at_ms)"
    now = f"{more} VALUES ('work_orders', 'new', 'gone', '{{}}', '', 9e15)"
    from_centre(site, ("UPDATE _sync_aside SET code = 'gone', at_ms = 0", ()), (now, ()))
    out = mes_sync(site, "parked", "discard", "--older-than", "90").out
    assert "1 row forgotten; the centre keeps what was written" in out
    assert aside(site) == [("new", "gone")]


def test_a_row_that_the_centre_parked_is_discarded_there(site: Site):
    assert "mes-central parked discard" in mes_sync(site, "parked", "discard", TICKET).err
    assert mes_sync(site, "parked", "discard").code == 64


def test_an_unknown_ticket_is_told(site: Site):
    done = mes_sync(site, "parked", "show", "ffff")
    assert (done.code, "no ticket ffff" in done.err) == (1, True)


# --- completion ----------------------------------------------------------------------------------


def complete(site: Site, words: str, *, shell: str = "bash") -> list[str]:
    done = mes_sync(
        site,
        _MES_SYNC_COMPLETE=f"{shell}_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    return [line.split(",")[1] for line in done.out.splitlines() if line]


def test_the_shell_completes_commands_tables_and_conflicts(site: Site):
    assert "conflicts" in complete(site, "mes-sync con")
    assert complete(site, "mes-sync conflicts show 000") == ["000c0001"]
    assert complete(site, "mes-sync conflicts list --table work") == ["work_orders"]


def test_completion_without_a_store_offers_nothing_and_says_nothing(tmp_path: Path):
    site = Site("none", tmp_path / "none.db")
    assert complete(site, "mes-sync conflicts show ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_each_shell_is_printed(site: Site, shell: str):
    done = mes_sync(site, "completion", shell)
    assert "_MES_SYNC_COMPLETE" in done.out
