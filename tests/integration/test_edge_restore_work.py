"""How long a store is held by what follows from a restore of the centre: steps, not seconds."""

from __future__ import annotations

from contextlib import contextmanager
from uuid import UUID

import pytest

from edge.store import taken, tips
from edge.store.tips import Lost
from sync import codec
from tests.integration.edge_world import CREATED, Plant, uid

ROWS, SENT = 300, 3_000
#: The backup holds all rows by their orders, and none of the transactions.
LOST = Lost(1 << 40, 0, whole=True)
NOW_MS = 1_800_000_000_000


@pytest.fixture
def plant(tmp_path):
    """A site that has many transactions in its outbox, and rows of which none is a tip."""
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    plant.program.execute("BEGIN")
    for n in range(1, SENT + 1):
        _transaction(plant, n)
    number = plant.store.opened.numbers["orders"]
    plant.program.executemany(
        "INSERT INTO _sync_row (table_no, id, version, ord) VALUES (?, ?, ?, ?)",
        [(number, uid(k), uid(1 << 30 | k), k) for k in range(1, ROWS + 1)],
    )
    plant.program.executemany(
        "INSERT INTO sync_parked VALUES (?, 'parked', ?, ?, 'orders', ?)",
        [(uid(k), _tx_id(1 + k), 1 + k, uid(k)) for k in range(ROWS)],
    )
    last = "UPDATE _sync_site SET last_n = ?, acked_n = ?, told_n = ?"
    plant.program.execute(last, (SENT,) * 3)
    plant.program.execute("COMMIT")
    yield plant
    plant.close()


def _tx_id(n):
    return str(UUID(int=(0xD << 124) | n))


def _transaction(plant, n):
    plant.program.execute(
        "INSERT INTO _sync_out (epoch, n, part, parts, tx_id, previous, hash, digests, rows,"
        " made_at_ms, body) SELECT epoch, ?, 0, 1, ?, x'', x'', x'', 1, 0, x'' FROM _sync_site",
        (n, _tx_id(n)),
    )


class Steps:
    """Counts what SQLite does."""

    taken = 0

    def count(self):
        self.taken += 10


@contextmanager
def counted(connection):
    """Count the steps of SQLite's machine within the block, in tens."""
    steps = Steps()
    connection.set_progress_handler(steps.count, 10)
    try:
        yield steps
    finally:
        connection.set_progress_handler(None, 0)


def test_reading_tips_takes_the_same_steps_however_much_was_sent(plant):
    with counted(plant.store.opened.connection) as steps:
        assert list(plant.store.tips(LOST, NOW_MS)) == []
    assert steps.taken < 200 * ROWS


def test_what_is_to_be_done_again_is_found_without_looking_through_all_that_was_sent(plant):
    links, some = plant.store.included(LOST)
    assert len(links) == SENT
    assert len(some) == ROWS
    with counted(plant.store.opened.connection) as steps:
        plant.store.included(LOST)
    assert steps.taken < 100 * ROWS + 50 * len(links)


def test_following_the_centre_anew_takes_the_same_steps_however_much_was_sent(plant):
    rows = [(_tx_id(1 + k), "orders", uid(k)) for k in range(ROWS)]
    with counted(plant.store.opened.connection) as steps:
        plant.store.begin_anew(LOST, rows, "a restore", NOW_MS)
    assert plant.value("SELECT count(*) FROM _sync_again") == ROWS
    assert steps.taken < 200 * ROWS


def test_a_large_table_is_looked_through_in_pieces_between_which_programs_may_write(
    plant, monkeypatch
):
    """None of the rows is a tip: how long the store is held must not depend on that."""
    monkeypatch.setattr(tips, "LOOKED_AT_MAX", 10)
    held = []

    @contextmanager
    def drained():
        held.append(len(held))
        yield

    assert list(tips.tips(plant.store.opened, LOST, drained)) == []
    assert len(held) > ROWS // 10


# --- with rows that were taken out as sent before ------------------------------------------------

TAKEN = 200


@pytest.fixture
def taken_out(tmp_path):
    """A site that has rows of which the first half shows what was taken out as sent before.

    In all of the second half something is not decided.
    """
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    made = "INSERT INTO orders (id, site_id, created_at, order_no, notes, made)"
    for ids, notes in ((_half(0), "taken"), (_half(1), "undecided")):
        for k in ids:
            plant.write(
                f"{made} VALUES (?, 'SITE_001', ?, ?, 'first', 5)", uid(k), CREATED, f"N{k}"
            )
        plant.receive(plant.own.entry(ack=plant.ack(plant.drain())))
        plant.program.execute("BEGIN")
        for k in ids:
            plant.write("UPDATE orders SET notes = ?, made = made + 1 WHERE id = ?", notes, uid(k))
        plant.program.execute("COMMIT")
        if plant.drain() == 2:
            _take_out(plant, 2)
    yield plant
    plant.close()


def _half(which):
    return range(1 + which * TAKEN, 1 + (which + 1) * TAKEN)


def _take_out(plant, n):
    """Have what a transaction holds as taken out, and not as its own any more."""
    plant.program.execute(
        "INSERT INTO _sync_taken (epoch, part, fork_n, after_hlc, before_n, snapshots, body)"
        " SELECT 'ended', part, 1, 0, n + 1, 99, body FROM _sync_out WHERE n = ?",
        (n,),
    )
    plant.program.execute("DELETE FROM _sync_pending WHERE n = ?", (n,))


def _told(plant):
    """Return what is told of each row."""
    return {
        row_id: dict(zip(block.columns, values, strict=True))
        for blocks in plant.store.tips(LOST, NOW_MS)
        for block in blocks
        for row_id, *values in zip(block.ids, *block.new, strict=True)
    }


def test_each_body_is_read_once_however_many_pages_of_tips_there_are(taken_out, monkeypatch):
    read, decompress = [], codec.decompress
    monkeypatch.setattr(codec, "decompress", lambda body: read.append(1) or decompress(body))
    monkeypatch.setattr(tips, "ROWS_MAX", 10)
    told = _told(taken_out)
    assert len(told) == 2 * TAKEN
    assert {(row["notes"], row["made"]) for row in told.values()} == {("first", 5)}
    assert len(read) == 2  # what was taken out, and the transaction that is not decided


def test_what_was_taken_out_takes_steps_by_its_rows_and_not_by_the_pages(taken_out, monkeypatch):
    monkeypatch.setattr(tips, "ROWS_MAX", 10)
    with counted(taken_out.store.opened.connection) as steps:
        _told(taken_out)
    taken_out.program.execute("DELETE FROM _sync_taken")
    with counted(taken_out.store.opened.connection) as without:
        _told(taken_out)
    assert steps.taken - without.taken < 200 * TAKEN


def test_of_a_row_that_shows_several_own_writes_the_last_is_undone_first(taken_out):
    for notes in ("second", "third"):
        taken_out.write("UPDATE orders SET notes = ? WHERE id = ?", notes, uid(2))
        taken_out.drain()
    assert _told(taken_out)[uid(2)]["notes"] == "first"


def test_what_a_snapshot_brought_of_it_is_told_as_it_is(taken_out):
    brought = uid(7)
    taken_out.program.execute("UPDATE _sync_row SET seen = 100 WHERE id = ?", (brought,))
    told = _told(taken_out)
    assert [row_id for row_id, row in told.items() if row["notes"] == "taken"] == [brought]


def _held(plant, connection):
    """Return what holds the store, the statements that run within, and their steps."""
    statements, steps = [], Steps()

    @contextmanager
    def drained():
        with plant.store._drained(NOW_MS)():
            connection.set_trace_callback(statements.append)
            connection.set_progress_handler(steps.count, 10)
            yield
            connection.set_progress_handler(None, 0)
            connection.set_trace_callback(None)

    return drained, statements, steps


def test_nothing_is_looked_up_row_by_row_while_programs_wait_for_what_is_sent_again(taken_out):
    opened = taken_out.store.opened
    (kept,) = taken_out.store.kept()
    drained, statements, _ = _held(taken_out, opened.connection)
    assert taken.send_again(opened, kept, [], 0, now_ms=NOW_MS, drained=drained) == TAKEN
    assert len([each for each in statements if each.lstrip().startswith("SELECT")]) < 10
    assert taken_out.value("SELECT count(*) FROM _sync_pending WHERE n = 5") == TAKEN


def test_what_programs_wait_for_does_not_grow_with_what_they_wrote_since(taken_out):
    number = taken_out.store.opened.numbers["orders"]
    taken_out.program.executemany(
        "INSERT INTO _sync_pending (table_no, id, n, op, mask) VALUES (?, ?, 4, 'U', 1)",
        [(number, uid(k)) for k in range(1_000, 1_000 + SENT)],
    )
    opened = taken_out.store.opened
    (kept,) = taken_out.store.kept()
    drained, _, steps = _held(taken_out, opened.connection)
    taken.send_again(opened, kept, [], 0, now_ms=NOW_MS, drained=drained)
    assert 0 < steps.taken < 60 * TAKEN


def test_what_was_written_over_it_until_it_is_in_the_outbox_stands(taken_out):
    taken_out.write("UPDATE orders SET notes = 'drained' WHERE id = ?", uid(2))
    taken_out.drain()
    taken_out.write("UPDATE orders SET notes = 'later' WHERE id = ?", uid(3))
    taken_out.write("DELETE FROM orders WHERE id = ?", uid(4))
    (kept,) = taken_out.store.kept()
    assert taken_out.store.send_again(kept, [], 0, NOW_MS) == TAKEN - 1
    columns = {row_id: set(block.columns) for block in taken_out.sent(7) for row_id in block.ids}
    whole = columns[uid(1)]
    assert "notes" in whole
    assert columns[uid(2)] == columns[uid(3)] == whole - {"notes"}
    assert uid(4) not in columns
