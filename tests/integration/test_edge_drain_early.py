"""Facts are read before the lock is taken: each goes once, whole, whatever happens meanwhile."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from edge.store.drain import drain_within
from edge.store.early import READ_ON_ROWS_MIN, ROWS_MIN, reading_ahead
from edge.store.open import writing
from tests.integration.edge_drain_world import site, uid  # noqa: F401

NOW = 1_700_000_000_000


def report(site, start, count, good="1"):
    """Commit so many production reports in one transaction."""
    site.program.execute("BEGIN")
    site.program.executemany(
        "INSERT INTO job_responses (id, report_type, qty_good) VALUES (?, 'PRODUCTION', ?)",
        [(uid(number), good) for number in range(start, start + count)],
    )
    site.program.execute("COMMIT")


def drain_after(site, meanwhile):
    """Read ahead, do something, then take the lock and drain; return what is sent then."""
    opened = site.store.opened
    with reading_ahead(opened, NOW) as early:
        assert early is not None
        meanwhile(early)
        with writing(opened.connection):
            return drain_within(opened, NOW, early)


def numbers(rows):
    return [int(row.id.replace("-", ""), 16) >> 80 for row in rows if row.table == "job_responses"]


def test_facts_committed_after_the_reading_go_with_the_next_drain(site):
    report(site, 1, ROWS_MIN)
    drained = drain_after(site, lambda early: report(site, 1001, 3))
    assert (drained.n, drained.rows) == (1, ROWS_MIN)
    assert numbers(site.sent()) == [*range(1, ROWS_MIN + 1), 1001, 1002, 1003]
    assert site.store.position().last_n == 2


def test_what_is_read_on_makes_transactions_of_its_own(site):
    report(site, 1, ROWS_MIN)

    def go_on(early):
        report(site, 1001, READ_ON_ROWS_MIN)
        assert early.read_on()
        report(site, 9001, 5)
        assert not early.read_on()  # too little

    drained = drain_after(site, go_on)
    assert [(d.n, d.rows) for d in (*drained.before, drained)] == [
        (1, ROWS_MIN),
        (2, READ_ON_ROWS_MIN),
    ]
    assert len(numbers(site.sent())) == ROWS_MIN + READ_ON_ROWS_MIN + 5
    assert site.store.position().last_n == 3


def test_a_log_that_waits_takes_all_facts_along_in_its_transaction(site):
    report(site, 1, ROWS_MIN)

    def both(early):
        site.program.execute("BEGIN")
        site.insert("work_orders", id=uid(1), order_no="WO-1")
        site.insert("job_responses", id=uid(1001), report_type="SETUP", work_order_id=uid(1))
        site.program.execute("COMMIT")

    drained = drain_after(site, both)
    assert [d.rows for d in (*drained.before, drained)] == [ROWS_MIN, 2]
    assert not site.store.drain(NOW)
    assert len(site.sent()) == ROWS_MIN + 2


def test_facts_and_orders_of_one_transaction_stay_together(site):
    site.program.execute("BEGIN")
    site.insert("work_orders", id=uid(1), order_no="WO-1")
    site.program.executemany(
        "INSERT INTO job_responses (id, report_type, work_order_id) VALUES (?, 'SETUP', ?)",
        [(uid(number), uid(1)) for number in range(1, ROWS_MIN + 1)],
    )
    site.program.execute("COMMIT")
    drained = site.store.drain(NOW)
    assert (drained.n, drained.rows, drained.before) == (1, ROWS_MIN + 1, ())


def test_what_was_read_is_dropped_where_another_drain_came_between(site):
    report(site, 1, ROWS_MIN)
    drained = drain_after(site, lambda early: site.store.drain(NOW))
    assert drained is None
    assert numbers(site.sent()) == list(range(1, ROWS_MIN + 1))


def good(site, number):
    """Return what stands of a report."""
    return site.value("SELECT qty_good FROM job_responses WHERE id = ?", uid(number))


def sent_good(site):
    return {row.id: row.new["qty_good"] for row in site.sent()}


def test_values_out_of_form_are_packed_ahead_and_put_right_under_the_lock(site):
    report(site, 1, ROWS_MIN)
    report(site, 1001, 2, good="1.50")
    with reading_ahead(site.store.opened, NOW) as early:
        assert early is not None
        assert good(site, 1001) == "1.50"
        with writing(site.store.opened.connection):
            drained = drain_within(site.store.opened, NOW, early)
    assert drained.rows == ROWS_MIN + 2
    assert good(site, 1001) == good(site, 1002) == "1.5"
    assert sent_good(site)[uid(1001)] == "1.5"
    assert site.store.position().last_n == 1


def test_several_values_of_a_row_are_put_right_at_once(site):
    site.program.execute("BEGIN")
    site.program.executemany(
        "INSERT INTO job_responses (id, report_type, qty_good, qty_scrap, created_at)"
        " VALUES (?, 'PRODUCTION', ?, ?, ?)",
        [
            (uid(number), "1.50", "2.0" if number % 2 else "2", "2012-01-02T03:04:05Z")
            for number in range(1, ROWS_MIN + 1)
        ],
    )
    site.program.execute("COMMIT")
    changed = []
    site.store.opened.connection.set_trace_callback(changed.append)
    sent = site.sent()
    site.store.opened.connection.set_trace_callback(None)
    # SQLite tells a statement again for each trigger that it looks at.
    assert len({each for each in changed if each.startswith("UPDATE OR IGNORE")}) == ROWS_MIN
    assert sum(each.startswith("UPDATE _sync_applying") for each in changed) == 2 * 2
    form = {"qty_good": "1.5", "qty_scrap": "2"}
    assert all(form.items() <= row.new.items() for row in sent)
    assert {row.created for row in sent} == {"2012-01-02T03:04:05.000Z"}
    stand = site.rows("SELECT DISTINCT qty_good, qty_scrap, created_at FROM job_responses")
    assert stand == [form | {"created_at": "2012-01-02T03:04:05.000Z"}]


def test_values_that_have_no_form_are_read_ahead_as_they_are(site):
    report(site, 1, ROWS_MIN, good="a lot")
    drained = drain_after(site, lambda early: None)
    assert drained.rows == ROWS_MIN
    assert set(sent_good(site).values()) == {good(site, 1)} == {"a lot"}


def test_a_form_that_another_row_has_as_its_key_is_neither_written_nor_sent(site):
    site.write("CREATE UNIQUE INDEX of_the_plant ON job_responses (qty_good)")
    report(site, 1, 1, good="1.5")
    report(site, 2, 1, good="1.50")
    report(site, 3, 1, good="3.0")
    for number in range(4, ROWS_MIN + 1):
        report(site, number, 1, good=str(number))
    sent = sent_good(site)
    assert (sent[uid(1)], sent[uid(2)], sent[uid(3)]) == ("1.5", "1.50", "3")
    assert (good(site, 1), good(site, 2), good(site, 3)) == ("1.5", "1.50", "3")
    assert len(sent) == ROWS_MIN


@pytest.mark.parametrize("rows", [3, ROWS_MIN])
def test_a_trigger_of_the_plant_that_refuses_the_form_stops_no_drain(site, rows):
    site.write(
        "CREATE TRIGGER of_the_plant BEFORE UPDATE ON job_responses WHEN OLD.qty_scrap = '7'"
        " BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    report(site, 1, rows, good="1.50")
    site.write(
        "INSERT INTO job_responses (id, report_type, qty_good, qty_scrap)"
        " VALUES (?, 'SETUP', '1.50', '7')",
        uid(9001),
    )
    sent = sent_good(site)
    assert (sent.pop(uid(9001)), good(site, 9001)) == ("1.50", "1.50")
    assert set(sent.values()) == {"1.5"} == {good(site, 1)}
    assert len(sent) == rows


def test_a_fact_that_vanished_after_it_was_read_ahead_stops_no_drain(site):
    report(site, 1, ROWS_MIN, good="1.50")

    def vanish(early):
        site.write("DROP TRIGGER _sync_job_responses_guard_delete")
        site.write("DELETE FROM job_responses WHERE id = ?", uid(2))

    assert drain_after(site, vanish).rows == ROWS_MIN - 1
    assert sent_good(site)[uid(1)] == good(site, 1) == "1.5"


def test_what_was_read_on_out_of_form_goes_in_transactions_of_its_own(site):
    report(site, 1, ROWS_MIN)

    def go_on(early):
        report(site, 1001, READ_ON_ROWS_MIN, good="1.50")
        assert early.read_on()

    drained = drain_after(site, go_on)
    assert [d.rows for d in (*drained.before, drained)] == [ROWS_MIN, READ_ON_ROWS_MIN]
    assert good(site, 1001) == sent_good(site)[uid(1001)] == "1.5"


def test_a_drain_gets_its_turn_beside_a_program_that_writes_without_pause(site):
    begun, done = threading.Event(), threading.Event()

    def write():
        connection = sqlite3.connect(site.path, isolation_level=None, timeout=60)
        number = 1
        while not done.is_set():
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO job_responses (id, report_type) VALUES (?, 'PRODUCTION')",
                [(uid(each),) for each in range(number, number + 500)],
            )
            connection.execute("COMMIT")
            begun.set()
            number += 500
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(10)
        started = time.monotonic()
        drained = [site.store.drain(NOW) for _ in range(5)]
        took = time.monotonic() - started
    finally:
        done.set()
        writer.join()
    assert drained[0]  # later ones may find nothing new
    assert took < 10
    held = len(site.rows("SELECT id FROM job_responses"))
    assert len(numbers(site.sent())) == held
