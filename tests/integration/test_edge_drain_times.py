"""A drain that folds several touches of a row still tells when each column was touched."""

from __future__ import annotations

import json

from edge.store import touches
from edge.store.packing import Packer
from shared.changes import Op
from sync import codec
from tests.integration.edge_drain_world import NO_BOUND, site, uid  # noqa: F401

TEN, ELEVEN, NOON = 1_700_000_000_000, 1_700_003_600_000, 1_700_007_200_000


def touch(site, at_ms, statement, *given):
    """Run a statement of a program whose clock stands at a time; SQLite asks the machine for it."""
    ((last,),) = site.program.execute("SELECT coalesce(max(seq), 0) FROM _sync_log_work_orders")
    site.program.execute(statement, given)
    site.program.execute("UPDATE _sync_log_work_orders SET at_ms = ? WHERE seq > ?", (at_ms, last))


def blocks(site):
    """Drain and return the blocks as the centre opens them."""
    n = site.store.position().last_n
    site.store.drain(next(site.clock))
    parts = site.store.outbox((n, NO_BOUND), bytes_max=NO_BOUND)
    return [block for part in parts for block in codec.open_body(part).blocks]


def times_of(block, row=0):
    """Return the row's time, and by column that of each which has another."""
    told = block.times[row] if block.times else None
    own = {
        name: at
        for mask, at in told or ()
        for place, name in enumerate(block.columns)
        if mask >> place & 1
    }
    return block.at[row], own


def test_an_early_note_keeps_its_time_though_the_quantity_was_changed_later(site):
    order = site.order()
    touch(site, TEN, "UPDATE work_orders SET notes = 'n'")
    touch(site, NOON, "UPDATE work_orders SET qty_ordered = '7'")
    (block,) = blocks(site)
    assert (block.ids, block.op) == ([order], Op.UPDATE)
    assert set(block.columns) == {"notes", "qty_ordered", "uom"}
    assert times_of(block) == (NOON, {"notes": TEN})


def test_a_group_travels_with_the_time_of_the_column_that_was_touched(site):
    site.order()
    touch(site, TEN, "UPDATE work_orders SET qty_ordered = '7'")
    touch(site, NOON, "UPDATE work_orders SET notes = 'n'")
    (block,) = blocks(site)
    assert times_of(block) == (NOON, {"qty_ordered": TEN, "uom": TEN})


def test_a_new_row_keeps_the_time_of_its_insert_in_what_was_not_touched_since(site):
    touch(site, TEN, "INSERT INTO work_orders (id, order_no) VALUES (?, 'WO-1')", uid(1))
    touch(site, NOON, "UPDATE work_orders SET notes = 'n', changed_by = 'ann'")
    (block,) = blocks(site)
    at_ms, own = times_of(block)
    assert (block.op, at_ms, set(own.values())) == (Op.INSERT, NOON, {TEN})
    assert set(block.columns) - set(own) == {"notes", "changed_by"}


def test_a_replace_dates_only_the_columns_that_it_changed(site):
    order = site.order(notes="old", qty_ordered="1")
    touch(site, TEN, "UPDATE work_orders SET notes = 'n'")
    touch(
        site,
        NOON,
        "INSERT OR REPLACE INTO work_orders (id, order_no, notes, qty_ordered)"
        " VALUES (?, 'WO-1', 'n', '7')",
        order,
    )
    (block,) = blocks(site)
    at_ms, own = times_of(block)
    assert (at_ms, own) == (NOON, {"notes": TEN})


def test_an_insert_that_was_ignored_makes_no_value_younger_in_whatever_form_it_was_written(site):
    order = site.order(qty_ordered="1")
    touch(site, TEN, "UPDATE work_orders SET qty_ordered = '7.50', due_at = '2026-01-01T00:00Z'")
    again = "INSERT OR IGNORE INTO work_orders (id, order_no) VALUES (?, 'WO-1')"
    touch(site, NOON, again, order)
    (block,) = blocks(site)
    assert dict(zip(block.columns, block.new, strict=True))["qty_ordered"] == ["7.5"]
    assert times_of(block) == (TEN, {})


def test_rows_that_were_touched_once_carry_no_times_and_the_others_only_their_own(site):
    for number in (1, 2, 3):
        site.order(number)
    touch(site, TEN, "UPDATE work_orders SET notes = 'n', customer_comment = 'c'")
    assert [block.times for block in blocks(site)] == [[]]
    touch(site, TEN, "UPDATE work_orders SET notes = 'm' WHERE id = ?", uid(2))
    touch(site, NOON, "UPDATE work_orders SET customer_comment = 'd'")
    touch(site, NOON, "UPDATE work_orders SET notes = 'm'")
    (block,) = blocks(site)
    assert [times_of(block, row)[1] for row in range(3)] == [{}, {"notes": TEN}, {}]


def test_two_touches_that_are_drained_apart_are_two_changes_with_a_time_each(site):
    site.order()
    touch(site, TEN, "UPDATE work_orders SET notes = 'n'")
    (first,) = blocks(site)
    touch(site, NOON, "UPDATE work_orders SET customer_comment = 'c'")
    (second,) = blocks(site)
    assert (times_of(first), times_of(second)) == ((TEN, {}), (NOON, {}))


def test_many_rows_with_two_times_go_in_parts_that_each_keep_theirs(site, monkeypatch):
    monkeypatch.setattr(codec, "PART_BYTES_MAX", 20_000)
    rows = 900
    site.program.execute("BEGIN")
    for number in range(rows):
        site.program.execute(
            "INSERT INTO work_orders (id, order_no) VALUES (?, ?)", (uid(number), f"WO-{number}")
        )
    site.program.execute("COMMIT")
    site.decided()
    touch(site, TEN, "UPDATE work_orders SET notes = order_no")
    touch(site, NOON, "UPDATE work_orders SET customer_comment = order_no")
    found = blocks(site)
    assert len(found) > 2
    assert sum(map(len, found)) == rows
    assert all(
        times_of(block, row) == (NOON, {"notes": TEN})
        for block in found
        for row in range(len(block))
    )


def test_a_row_that_fits_no_message_otherwise_keeps_its_times_without_its_old_values(site):
    site.order(notes="x")
    touch(site, TEN, "UPDATE work_orders SET notes = 'n'")
    touch(site, NOON, "UPDATE work_orders SET customer_comment = 'c'")
    (block,) = blocks(site)
    block.old[0] = [b"x" * codec.BODY_BYTES_MAX]
    with Packer(1, 1, 0) as packer:
        packer.add(block)
        packer.flush()
        ((_, body),) = packer.bodies()
    (lighter,) = codec.decode_body(codec.decompress(body)).blocks
    assert (lighter.old[0], lighter.times) == ([None], block.times)


def test_many_steps_are_held_some_rows_at_a_time_and_all_of_them_are_kept(site, monkeypatch):
    monkeypatch.setattr(touches, "_PAGE_STEPS", 5)
    for number in range(5):
        site.write(
            f"INSERT INTO equipment (id, equipment_code) VALUES ('{uid(number)}', 'M-{number}')"
        )
    site.store.drain(next(site.clock))
    for _ in range(3):
        site.write("UPDATE equipment SET cycle_count = cycle_count + 1")
    site.write("UPDATE _sync_log_equipment SET at_ms = seq")
    table = site.catalog.table("equipment")
    pages = touches.Touches(site.store.opened, table, n=2).pages()
    assert [len(page) for page in pages] == [2, 2, 1]
    site.store.drain(next(site.clock))
    kept = site.program.execute("SELECT id, steps FROM _sync_pending WHERE n = 2 ORDER BY id")
    assert [(row_id, json.loads(steps)) for row_id, steps in kept] == [
        (uid(k), {"cycle_count": [[k + 1, 0], [k + 6, 1], [k + 11, 2]]}) for k in range(5)
    ]
