"""Capture goes on when a plant changes indexes and triggers while the store is open."""

from __future__ import annotations

import pytest

from tests.integration.edge_drain_world import site, uid  # noqa: F401


@pytest.mark.parametrize("where", ["", " WHERE customer_ref IS NOT NULL"])
def test_a_unique_index_made_while_the_store_is_open_is_captured_after_the_next_drain(site, where):
    displaced = site.order(1, customer_ref="C-1")
    site.write(f"CREATE UNIQUE INDEX plant_ref ON work_orders (customer_ref){where}")
    assert site.sent() == []
    site.write(
        "INSERT OR REPLACE INTO work_orders (id, order_no, customer_ref) VALUES (?, 'WO-2', 'C-1')",
        uid(2),
    )
    assert [(row.op, row.id) for row in site.sent()] == [("I", uid(2)), ("D", displaced)]
    assert site.events() == []


def test_triggers_lost_while_the_store_is_open_are_back_after_the_next_drain(site):
    site.order(1)
    site.write("DROP TRIGGER _sync_work_orders_log_update")
    assert site.sent() == []
    site.write("UPDATE work_orders SET notes = 'x'")
    assert [row.new for row in site.sent()] == [{"notes": "x"}]


def test_a_schema_that_stays_as_it_is_costs_no_lock(site):
    site.write("CREATE UNIQUE INDEX plant_ref ON work_orders (customer_ref)")
    assert site.sent() == []
    assert site.sent() == []
    site.program.execute("BEGIN IMMEDIATE")
    assert site.sent() == []
    site.program.execute("ROLLBACK")


@pytest.mark.parametrize("on", ["lower(customer_ref)", "customer_ref COLLATE NOCASE"])
def test_a_unique_index_that_no_trigger_can_watch_is_told_to_the_operator_once(site, on):
    site.write(f"CREATE UNIQUE INDEX plant_ref ON work_orders ({on})")
    for _ in range(3):
        assert site.sent() == []
    assert site.events() == ["MES-INDEX-UNWATCHED"]


def test_an_index_that_no_trigger_can_watch_is_told_at_the_start_too(site):
    site.store.close()
    site.write("CREATE UNIQUE INDEX plant_ref ON work_orders (lower(customer_ref))")
    site.program.close()
    site.open()
    assert site.events() == ["MES-INDEX-UNWATCHED"]
    assert site.sent() == []
    assert site.events() == ["MES-INDEX-UNWATCHED"]
