"""What a trigger of the plant's writes on a row instead of letting it go is sent, or listed."""

from __future__ import annotations

import pytest

from tests.integration.edge_world import (
    away,
    plant,  # noqa: F401
    put,
    uid,
    version,
)
from tests.integration.test_edge_removals_refused import LISTED, ROW, keeps

WITHDRAWN = "UPDATE orders SET notes = 'withdrawn' WHERE id = OLD.id; SELECT RAISE(IGNORE)"
MAKES_ANEW = {
    "event": "AFTER DELETE",
    "does": "INSERT INTO orders (id, site_id, created_at, order_no)"
    " VALUES (OLD.id, OLD.site_id, OLD.created_at, OLD.order_no)",
}


@pytest.mark.parametrize(
    ("kind", "notes"), [({"does": WITHDRAWN}, "withdrawn"), (MAKES_ANEW, None)]
)
def test_what_a_trigger_writes_instead_of_making_way_is_sent(plant, kind, notes):
    keeps(plant, **kind)
    plant.take(put("orders", {"id": uid(8), "order_no": "A", "notes": "theirs"}, order=5))
    assert plant.row("orders", ROW)["notes"] == notes
    assert plant.asides() == [("orders", uid(8), "unique")]
    assert plant.owed() == [("orders", ROW, "U")]
    (block,) = plant.sent(plant.last_n)
    assert (block.base, block.old, block.new) == ([version(1)], [["a"]], [[notes]])


def test_what_a_trigger_writes_instead_of_taking_an_own_row_away_is_sent(plant):
    keeps(plant, does=WITHDRAWN)
    plant.update("orders", ROW, line="L1")
    plant.drain()
    plant.take(put("orders", {"id": ROW, "order_no": "E", "line": None}, order=5))
    row = plant.row("orders", ROW)
    assert (row["order_no"], row["notes"], row["line"]) == ("A", "withdrawn", "L1")
    assert plant.asides() == [("orders", ROW, "unique")]
    assert plant.owed() == [("orders", ROW, "U")] * 2


def test_what_a_trigger_writes_instead_of_a_removal_stays_here_with_the_row_that_is_listed(plant):
    keeps(plant, does=WITHDRAWN)
    plant.take(away("orders", ROW, order=5))
    assert plant.row("orders", ROW)["notes"] == "withdrawn"
    assert plant.asides() == LISTED
    assert plant.owed() == [], "at the centre there is no row to write it on"
    plant.update("orders", ROW, made=3)
    (block,) = plant.sent(plant.drain())
    assert (block.columns, block.base) == (("made",), [version(1)])
