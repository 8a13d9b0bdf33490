"""What triggers of the plant's write while the agent applies is sent like a program's writes."""

from __future__ import annotations

import pytest

from edge.adopt import adopt
from edge.store.setup import Owner
from shared.catalog import Catalog, Direction, Table
from shared.changes import SHARED
from tests.integration.edge_loads import load
from tests.integration.edge_world import CREATED, SITE, Plant, away, column, put, uid, version

ORDER, STEP, OTHER = uid(1), uid(2), uid(3)


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path / "store.db")
    plant.take(put("orders", {"id": ORDER, "order_no": "A", "notes": "a"}, order=1))
    plant.take(put("orders", {"id": OTHER, "order_no": "B", "notes": "a"}, order=2))
    plant.take(put("steps", {"id": STEP, "order_id": ORDER, "seq": 1, "notes": "a"}, order=3))
    yield plant
    plant.close()


def trigger(plant, event, *statements, name="of_the_plant"):
    body = "".join(f" {statement};" for statement in statements)
    plant.write(f"CREATE TRIGGER {name} {event} BEGIN{body} END")


ON_DUE = "AFTER UPDATE OF due ON orders"
TO_STEPS = "UPDATE steps SET notes = NEW.due WHERE order_id = NEW.id"
A_REPORT = "INSERT INTO reports (good) VALUES (7)"


def due(when, *, order):
    return put("orders", {"id": ORDER, "due": when}, order=order)


def sent(plant):
    """Drain and return what was sent: (table, op, id, new values, base)."""
    blocks = [block for n in range(1, plant.drain() + 1) for block in plant.sent(n)]
    return [
        (
            block.table,
            block.op.value,
            block.ids[k],
            {name: block.new[place][k] for place, name in enumerate(block.columns)},
            block.base[k] if block.base else None,
        )
        for block in blocks
        for k in range(len(block))
    ]


def test_what_a_trigger_does_to_another_table_is_sent(plant):
    trigger(plant, ON_DUE, TO_STEPS)
    plant.take(due("monday", order=4))
    assert sent(plant) == [("steps", "U", STEP, {"notes": "monday"}, version(3))]


def test_what_a_trigger_does_to_the_very_row_that_came_is_sent(plant):
    trigger(plant, ON_DUE, "UPDATE orders SET notes = 'seen' WHERE id = NEW.id")
    plant.take(due("monday", order=4))
    assert sent(plant) == [("orders", "U", ORDER, {"notes": "seen"}, version(4))]
    plant.take(ack=plant.ack(plant.last_n))
    assert plant.base("orders", ORDER) == (plant.tx_id(1), 4)


def test_what_a_trigger_does_to_another_row_of_the_same_table_is_sent(plant):
    trigger(plant, ON_DUE, "UPDATE orders SET notes = 'next' WHERE id <> NEW.id")
    plant.take(due("monday", order=4))
    assert sent(plant) == [("orders", "U", OTHER, {"notes": "next"}, version(2))]


def test_rows_that_a_trigger_makes_takes_away_or_displaces_are_sent(plant):
    trigger(
        plant,
        ON_DUE,
        f"DELETE FROM steps WHERE id = '{STEP}'",
        f"INSERT INTO steps (id, order_id, seq) VALUES ('{uid(8)}', NEW.id, 2)",
        f"INSERT OR REPLACE INTO orders (id, order_no) VALUES ('{uid(9)}', 'B')",
    )
    plant.take(due("monday", order=4))
    assert {(table, op, row_id) for table, op, row_id, _, _ in sent(plant)} == {
        ("steps", "D", STEP),
        ("steps", "I", uid(8)),
        ("orders", "I", uid(9)),
        ("orders", "D", OTHER),
    }


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_fact_that_a_trigger_makes_is_sent_whatever_facts_come_with_it(plant, where):
    trigger(plant, ON_DUE, A_REPORT)
    facts = put("reports", {"id": uid(8), "good": 1}, order=0)
    plant.take(
        *((due("monday", order=4), facts) if where == "before" else (facts, due("x", order=4)))
    )
    assert [new for table, _, _, new, _ in sent(plant) if table == "reports"] == [{"good": 7}]


def test_a_fact_that_a_trigger_on_facts_makes_is_sent(plant):
    trigger(plant, "AFTER INSERT ON reports WHEN NEW.good = 1", A_REPORT)
    plant.take(put("reports", {"id": uid(8), "good": 1}, {"id": uid(9), "good": 2}, order=0))
    assert {"good": 7} in [new for _, _, _, new, _ in sent(plant)]
    n = plant.last_n
    plant.take(put("reports", {"id": uid(10), "good": 2}, order=0))
    assert plant.drain() == n, "facts that came from the centre only are not sent back"


@pytest.mark.parametrize("event", [ON_DUE, "AFTER INSERT ON orders", "BEFORE DELETE ON orders"])
def test_what_the_agent_puts_itself_is_not_sent_back(plant, event):
    trigger(plant, event, "SELECT 1")
    plant.take(due("monday", order=4), put("orders", {"id": uid(7), "order_no": "C"}, order=5))
    plant.update("orders", OTHER, notes="mine")
    n = plant.drain()
    plant.take(
        put("orders", {"id": OTHER, "due": "friday"}, order=6), away("orders", ORDER, order=7)
    )
    assert plant.drain() == n


def test_a_head_of_the_row_that_a_trigger_wrote_comes_under_its_write(plant):
    """As where a program had written it: the site's write is owed and shown until it is decided."""
    trigger(plant, ON_DUE, TO_STEPS)
    plant.take(due("monday", order=4), put("steps", {"id": STEP, "notes": "theirs"}, order=5))
    assert plant.row("steps", STEP)["notes"] == "monday"
    assert sent(plant) == [("steps", "U", STEP, {"notes": "monday"}, version(3))]
    plant.take(ack=plant.ack(plant.last_n))
    assert plant.row("steps", STEP)["notes"] == "theirs"


def test_rows_put_one_by_one_stir_triggers_too(plant):
    trigger(plant, ON_DUE, TO_STEPS, "UPDATE orders SET line = 'L9' WHERE id = NEW.id")
    plant.update("orders", ORDER, notes="mine")
    n = plant.drain()
    plant.take(due("monday", order=4))
    found = [(table, new) for table, _, _, new, _ in sent(plant)[1:]]
    assert plant.last_n == n + 1
    assert sorted(found, key=str) == [
        ("orders", {"line": "L9", "slot": None}),
        ("steps", {"notes": "monday"}),
    ]


def test_a_snapshot_and_what_it_takes_away_stir_triggers_too(plant):
    trigger(plant, ON_DUE, A_REPORT)
    trigger(plant, "AFTER DELETE ON orders", TO_STEPS.replace("NEW.due", "'gone'").replace(
        "NEW.", "OLD."), name="of_removals")  # fmt: skip
    step = {"id": STEP, "order_id": OTHER, "seq": 1, "notes": "a"}
    block = put("orders", {"id": OTHER, "order_no": "B", "due": "monday"}, order=5)
    plant.update("steps", STEP, order_id=ORDER)
    load(plant, block, put("steps", step, order=6), tables=["orders", "steps"])
    found = [(table, new) for table, _, _, new, _ in sent(plant)]
    assert ("reports", {"good": 7}) in found
    assert plant.row("orders", ORDER) is None


def test_a_row_of_another_owner_that_a_trigger_writes_is_not_sent(plant):
    plant.take(put("orders", {"id": uid(7), "order_no": "S"}, order=4, site=SHARED))
    trigger(plant, ON_DUE, "UPDATE orders SET notes = 'x' WHERE site_id = '*'")
    plant.take(due("monday", order=5))
    assert plant.drain() == 0


def test_a_migrated_store_still_catches_what_a_trigger_writes(plant):
    trigger(plant, ON_DUE, TO_STEPS)
    plant.take(due("monday", order=4))
    n = plant.drain()
    plant.write("ALTER TABLE steps ADD COLUMN plant_own TEXT")
    plant.take(due("friday", order=5))
    assert plant.drain() == n + 1
    plant.write("DROP TRIGGER of_the_plant")
    plant.take(due("sunday", order=6))
    assert plant.drain() == n + 1


def test_without_triggers_of_the_plants_nothing_is_made_to_catch_them(plant):
    plant.take(due("monday", order=4))
    made = plant.store.opened.connection.execute("SELECT count(*) FROM sqlite_temp_schema")
    assert made.fetchone() == (0,)


def test_what_a_trigger_writes_to_an_adopted_table_is_sent(tmp_path):
    gauges = Table("gauges", Direction.BOTH, (column("number"), column("state")))
    orders = Table("orders", Direction.BOTH, (column("due"),))
    catalog = Catalog(2, (gauges, orders))
    plant = Plant(tmp_path / "plant.db", Catalog(1, (orders,)))
    plant.write("CREATE TABLE gauges (number TEXT PRIMARY KEY, state TEXT)")
    plant.store.close()
    adopt(plant.path, "gauges", catalog, Owner(SITE, "here", 1))
    plant.open(catalog)
    made = "INSERT INTO gauges (number, state) VALUES (NEW.due, 'new')"
    trigger(plant, ON_DUE, made, "UPDATE gauges SET state = 'good' WHERE number = NEW.due")
    plant.insert("orders", id=ORDER, created_at=CREATED)
    plant.take(ack=plant.ack(plant.drain()))
    plant.take(due("monday", order=4))
    (table, op, _, new, _) = sent(plant)[-1]
    assert (table, op, new) == ("gauges", "I", {"number": "monday", "state": "good"})
    plant.close()


def reports_sent(plant):
    return [new["good"] for table, _, _, new, _ in sent(plant) if table == "reports"]


def test_a_fact_that_a_trigger_makes_of_a_row_that_comes_back_is_sent(plant):
    plant.take(put("orders", {"id": uid(4), "order_no": "A", "notes": "b"}, order=5))
    assert plant.asides() == [("orders", ORDER, "unique")]
    trigger(plant, f"AFTER INSERT ON orders WHEN NEW.id = '{ORDER}'", A_REPORT)
    let_go = plant.own.entry(put("orders", {"id": uid(4), "order_no": "Z"}, order=6))
    fact = plant.own.entry(put("reports", {"id": uid(8), "good": 1}, order=0))
    plant.receive(let_go, fact)
    assert reports_sent(plant) == [7]


def test_a_fact_that_a_trigger_makes_of_a_head_put_by_an_ack_is_sent(plant):
    trigger(plant, ON_DUE, A_REPORT)
    plant.update("orders", ORDER, due="mine")
    n = plant.drain()
    plant.take(due("theirs", order=5))
    before = reports_sent(plant)
    acked = plant.own.entry(ack=plant.ack(n))
    fact = plant.own.entry(put("reports", {"id": uid(8), "good": 1}, order=0))
    plant.receive(acked, fact)
    assert reports_sent(plant) == [*before, 7]


def test_where_a_row_of_a_block_is_refused_triggers_see_the_others_once(plant):
    trigger(plant, ON_DUE, A_REPORT)
    trigger(
        plant, "BEFORE UPDATE ON orders WHEN NEW.notes = 'bad'",
        "SELECT RAISE(ABORT, 'no')", name="a_rule",
    )  # fmt: skip
    plant.take(
        put(
            "orders",
            {"id": ORDER, "order_no": "A", "due": "x", "notes": "ok"},
            {"id": OTHER, "order_no": "B", "due": "x", "notes": "bad"},
            order=10,
        )
    )
    assert reports_sent(plant) == [7]
