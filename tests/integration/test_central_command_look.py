"""``mes-central``: status, conflicts and what was parked, as people and programs read them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from central.cli import exits
from tests.integration.command_world import at_the_centre, fetch, mes_central  # noqa: F401
from tests.integration.quarrel import Quarrel, quarrel

pytestmark = pytest.mark.postgres


@pytest.fixture
def disputed(centre: str) -> Quarrel:
    return at_the_centre(centre, lambda world: quarrel(world, world.site()))


# --- status ----------------------------------------------------------------------------------


def test_status_works_while_the_broker_is_down_and_says_so(mes_central):
    ran = mes_central("status")
    assert ran.code == 2
    first, *rest = ran.out.splitlines()
    assert first.startswith("CRITICAL")
    assert any("does not answer" in line for line in rest)
    assert "\x1b" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_status_of_one_site_is_told_in_full(mes_central, disputed):
    ran = mes_central("status", "SITE_001")
    assert "conflicts 1 wait for a person" in ran.out
    assert "SITE_002" not in ran.out
    assert mes_central("status", "SITE_X").code == exits.FAILED


def test_a_watched_status_on_a_pipe_is_a_line_each_time(mes_central):
    with subprocess.Popen(
        [sys.executable, "-m", "central", "status", "--watch"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert [json.loads(line)["schema"] for line in lines] == ["mes-central.status/v1"] * 2


# --- conflicts -------------------------------------------------------------------------------


def test_a_conflict_is_listed_shown_decided_and_shown_as_decided(mes_central, disputed):
    listed = mes_central("conflicts", "list", "--open").out
    name = disputed.conflict_id[-8:]
    assert name in listed
    assert disputed.number in listed
    shown = mes_central("conflicts", "show", name).out
    for piece in (
        '"USE_AS_IS"  by j.kiss at SITE_001',
        '"SCRAP"  by planner at the centre',
        "base",
    ):
        assert piece in shown
    assert f"resolve {name} --take here|central|value=..." in shown
    decided = mes_central(
        "conflicts", "resolve", name, "--take", "value=REWORK", "--reason", "MRB 12", "--by", "q"
    )
    assert decided.code == 0
    assert 'disposition "USE_AS_IS" -> "REWORK"' in decided.out
    assert "no such conflicts" in mes_central("conflicts", "list").out
    assert "value by q" in mes_central("conflicts", "show", name).out


def test_a_decision_on_a_row_written_since_is_refused_with_both_values(
    mes_central, centre, disputed
):
    query = "UPDATE mes.nonconformances SET disposition = 'REPAIR' WHERE id = %s"
    fetch(centre, query, disputed.row_id)
    name = disputed.conflict_id[-8:]
    arguments = ["conflicts", "resolve", name, "--take", "here", "--reason", "r"]
    ran = mes_central(*arguments)
    assert ran.code == exits.FAILED
    assert "USE_AS_IS" in ran.err
    assert "REPAIR" in ran.err
    seen = mes_central("conflicts", "show", name, "--json").document["standing"]["version"]
    assert mes_central(*arguments, "--seen", seen).code == 0


def test_several_columns_are_given_as_an_object(mes_central, disputed):
    name = disputed.conflict_id
    given = ["--take", 'value={"disposition": "REPAIR"}', "--reason", "r", "--json", "--dry-run"]
    document = mes_central("conflicts", "resolve", name, *given).document
    assert document["changes"] == {"disposition": "REPAIR"}
    assert document["dry_run"]
    bad = mes_central("conflicts", "resolve", name, "--take", "value={x", "--reason", "r")
    assert bad.code == exits.USAGE


# --- parked and refused ----------------------------------------------------------------------


def parked_order(centre: str) -> str:
    """Have an order parked whose parent in another table is missing; return its ticket."""

    async def send(world):
        site = world.site()
        bad = site.order(qty_ordered="much")
        await site.apply(site.sends(site.insert("work_orders", bad)))
        return await world.value("SELECT id::text FROM mes.sync_parked")

    return at_the_centre(centre, send)


def test_a_parked_row_is_listed_shown_and_stays_where_its_cause_does(mes_central, centre):
    ticket = parked_order(centre)
    assert ticket[-8:] in mes_central("parked", "list").out
    shown = mes_central("parked", "show", ticket[-8:]).out
    assert "invalid_value" in shown
    assert "much" in shown
    ran = mes_central("parked", "retry", ticket[-8:])
    assert (ran.code, "still not applied" in ran.out) == (exits.FAILED, True)


def test_a_row_that_waits_is_applied_by_a_retry_once_its_parent_is_there(mes_central, centre):
    async def orphan(world):
        site = world.site()
        order = site.order()
        report = site.report(work_order_id=order["id"])
        await site.apply(site.sends(site.insert("job_responses", report)))
        await world.client(
            "INSERT INTO mes.work_orders (id, order_no, qty_ordered) VALUES (%s, 'WO-1', 5)",
            order["id"],
        )

    at_the_centre(centre, orphan)
    waiting = mes_central("parked", "list", "--state", "waiting", "--json").document["parked"]
    assert len(waiting) == 1
    ran = mes_central("parked", "retry", "--site", "SITE_001", "--json")
    assert (ran.code, list(ran.document["applied"].values())) == (0, [True])
    assert "nothing is parked" in mes_central("parked", "list").out
    assert fetch(centre, "SELECT count(*) FROM mes.job_responses") == [(1,)]


def test_a_parked_row_is_given_up_on_a_persons_word(mes_central, centre):
    ticket = parked_order(centre)
    assert mes_central("parked", "discard", ticket, "--yes", "--by", "q.chief").code == 0
    (row,) = mes_central("parked", "list", "--all", "--json").document["parked"]
    assert (row["state"], row["message"]) == ("discarded", "discarded by q.chief")
    again = mes_central("parked", "discard", ticket, "--yes")
    assert (again.code, "discarded already" in again.err) == (exits.FAILED, True)
    assert mes_central("parked", "show", "ffffffff").code == exits.FAILED


def test_messages_that_nobody_could_read_are_listed(mes_central, centre):
    async def refuse(world):
        await world.store.quarantine("SITE_002", b"\x00\xff", ValueError("random bytes"), 1)

    assert "nothing was refused" in mes_central("refused", "list").out
    at_the_centre(centre, refuse)
    assert "random bytes" in mes_central("refused", "list").out
    listed = mes_central("refused", "list", "--site", "SITE_002", "--json").document["refused"]
    assert [each["bytes"] for each in listed] == [2]
