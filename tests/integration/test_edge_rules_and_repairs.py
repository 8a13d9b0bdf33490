"""What the plant's rules keep from being repaired is told, and stops no comparison."""

from __future__ import annotations

import pytest

from edge.store import mend
from tests.integration.edge_world import CREATED, NEVER, SITE, plant, put, uid  # noqa: F401

TOLD = "MES-REPAIR-REFUSED"
EARLIER = "2011-01-02T03:04:05.678Z"
RULES = {
    "refuses": "SELECT RAISE(ABORT, 'it stays')",
    "passes over": "SELECT RAISE(IGNORE)",
    "rolls back": "SELECT RAISE(ROLLBACK, 'it stays')",
    "can't be run": "SELECT no_function_of_ours(NEW.id)",
}
#: Such a rule leaves nothing of what was done along with its row, or lets no row pass.
OF_ALL = ("rolls back", "can't be run")
every_rule = pytest.mark.parametrize("kind", RULES)


def rule(plant, kind, table, when):
    does = RULES[kind]
    plant.write(f"CREATE TRIGGER a_rule BEFORE UPDATE ON {table} WHEN {when} BEGIN {does}; END")


def repair(plant, work, table, rows):
    opened = plant.store.opened
    return work(opened, opened.catalog.table(table), rows)


def two_facts(plant):
    for number in (7, 8):
        plant.insert("reports", id=uid(number), good=number)
    plant.drain()


def two_orders(plant):
    plant.take(put("orders", {"id": uid(1), "notes": "a"}, {"id": uid(2), "notes": "b"}, order=1))


def dates(plant):
    return [row["created_at"] for row in plant.rows("SELECT created_at FROM orders ORDER BY id")]


@every_rule
def test_a_fact_that_may_not_be_sent_again_is_told_and_the_others_are_sent(plant, kind):
    two_facts(plant)
    rule(plant, kind, "reports", "NEW.good = 7")
    done = repair(plant, mend.resend, "reports", [uid(7), uid(8)])
    assert plant.events() == [TOLD]
    message = plant.value("SELECT message FROM _sync_event")
    assert f"reports {uid(7)}" in message
    plant.drain()
    if kind in OF_ALL:
        assert (done, plant.last_n, uid(8) in message) == (0, 1, True)
    else:
        assert (done, plant.last_n) == (1, 2)
        assert [block.ids for block in plant.sent(2)] == [[uid(8)]]


@every_rule
def test_a_row_that_may_not_have_the_centres_date_is_told_and_the_others_get_theirs(plant, kind):
    two_orders(plant)
    rule(plant, kind, "orders", "NEW.notes = 'a'")
    keys = {uid(1): (SITE, EARLIER), uid(2): (SITE, EARLIER)}
    done = repair(plant, mend.put_keys, "orders", keys)
    assert plant.events() == [TOLD]
    others = (0, CREATED) if kind in OF_ALL else (1, EARLIER)
    assert (done, dates(plant)) == (others[0], [CREATED, others[1]])
    assert plant.owed() == []


def test_a_row_that_is_gone_meanwhile_is_no_row_that_is_kept_from_being_repaired(plant):
    two_orders(plant)
    keys = {uid(2): (SITE, EARLIER), NEVER: (SITE, EARLIER)}
    assert repair(plant, mend.put_keys, "orders", keys) == 1
    assert (dates(plant), plant.events()) == ([CREATED, EARLIER], [])
