"""How long a store is held by what follows from a restore of the centre: steps, not seconds."""

from __future__ import annotations

from contextlib import contextmanager
from uuid import UUID

import pytest

from edge.store import tips
from edge.store.tips import Lost
from tests.integration.edge_world import Plant, uid

ROWS, SENT = 300, 3_000
#: The backup holds all rows by their orders, and none of the transactions.
LOST = Lost(1 << 40, 0, whole=True)
NOW_MS = 1_800_000_000_000


@pytest.fixture
def plant(tmp_path):
    """A site that has many transactions in its outbox, and rows of which none is a tip."""
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, table_name, row_id)")
    plant.program.execute("BEGIN")
    for n in range(1, SENT + 1):
        _transaction(plant, n)
    number = plant.store.opened.numbers["orders"]
    plant.program.executemany(
        "INSERT INTO _sync_row (table_no, id, version, ord) VALUES (?, ?, ?, ?)",
        [(number, uid(k), uid(1 << 30 | k), k) for k in range(1, ROWS + 1)],
    )
    plant.program.executemany(
        "INSERT INTO sync_parked VALUES (?, 'parked', ?, 'orders', ?)",
        [(uid(k), _tx_id(1 + k), uid(k)) for k in range(ROWS)],
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
