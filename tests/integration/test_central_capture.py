"""Writes of any SQL client at the centre reach the queue to the sites, whole and once."""

from __future__ import annotations

import threading
import time
from uuid import UUID, uuid4

import psycopg

from tests.integration.centre import (  # noqa: F401, the fixtures among them
    CATALOG,
    client,
    head,
    insert,
    north,
    order,
    queue,
    rows,
    versions,
)

# --- what a write leaves behind --------------------------------------------------------------


def test_an_update_by_plain_sql_moves_the_head_and_names_its_columns(centre, north):
    row_id = order(north, notes="before", routing='{"a": 1}')
    before = head(centre, row_id)
    north.execute("UPDATE mes.work_orders SET notes = 'after', priority = 7")
    after = head(centre, row_id)
    inserted, updated = versions(centre, row_id)
    assert after["version"] == updated["version"] != before["version"]
    assert after["ord"] == updated["ord"] > before["ord"] == inserted["ord"]
    assert not after["deleted"]
    assert (inserted["op"], updated["op"]) == ("I", "U")
    assert inserted["touched"] == CATALOG.table("work_orders").names
    assert set(updated["touched"]) == {"notes", "priority"}
    assert updated["origin"] == "*"
    (clock,) = rows(centre, "SELECT extract(epoch FROM clock_timestamp()) * 1000 AS ms")
    assert 0 <= clock["ms"] - updated["at_ms"] < 60_000
    assert updated["replaced"] == {"notes": "before", "priority": 50}


def test_every_write_is_queued_with_the_key_of_its_row(centre, north):
    row_id = order(north)
    north.execute("UPDATE mes.work_orders SET notes = 'x'")
    north.execute("DELETE FROM mes.work_orders")
    queued = queue(centre, row_id)
    created = head(centre, row_id)["created_at"]
    assert [(q["table_name"], q["site_id"], q["created_at"], q["scopes"]) for q in queued] == [
        ("work_orders", "SITE_001", created, ["SITE_001"])
    ] * 3


def test_a_delete_keeps_the_head_and_the_row_that_was(centre, north):
    row_id = order(north, notes="gone soon")
    north.execute("DELETE FROM mes.work_orders WHERE id = %s", [row_id])
    assert head(centre, row_id)["deleted"]
    deleted = versions(centre, row_id)[-1]
    assert (deleted["op"], deleted["mask"]) == ("D", 0)
    assert deleted["replaced"]["notes"] == "gone soon"


def test_a_row_inserted_again_after_its_delete_goes_on_in_the_same_order(centre, north):
    row_id = order(north)
    north.execute("DELETE FROM mes.work_orders")
    order(north, id=row_id)
    assert not head(centre, row_id)["deleted"]
    assert [v["op"] for v in versions(centre, row_id)] == ["I", "D", "I"]


def test_an_update_that_changes_nothing_leaves_nothing_behind(centre, north):
    row_id = order(north, notes="same", routing='{"a": 1}')
    north.execute("""UPDATE mes.work_orders
                     SET notes = 'same', routing = '{"a": 1}', qty_ordered = 5.000""")
    assert len(versions(centre, row_id)) == 1
    assert len(queue(centre, row_id)) == 1


def test_json_that_is_written_differently_is_another_value(centre, north):
    row_id = order(north, routing='{"a": 1}')
    north.execute("""UPDATE mes.work_orders SET routing = '{"a":1}'""")
    assert versions(centre, row_id)[-1]["touched"] == ("routing",)


def test_only_rows_that_changed_are_captured_of_a_statement_over_many(centre, north):
    same, other = order(north, "WO-1", priority=3), order(north, "WO-2", priority=4)
    north.execute("UPDATE mes.work_orders SET priority = 3")
    assert len(versions(centre, same)) == 1
    assert len(versions(centre, other)) == 2


def test_copy_into_a_parent_is_captured(centre):
    statement = "COPY mes.work_orders (order_no, site_id) FROM STDIN"
    with client(centre, role=None) as owner, owner.cursor().copy(statement) as copy:
        for number in range(500):
            copy.write_row([f"WO-{number}", "SITE_002"])
    queued = queue(centre)
    assert len({q["row_id"] for q in queued}) == len(queued) == 500
    assert {tuple(q["scopes"]) for q in queued} == {("SITE_002",)}


def test_an_upsert_is_captured_as_what_it_did_to_each_row(centre, north):
    row_id = order(north, "WO-1", notes="old")
    created = head(centre, row_id)["created_at"]
    fresh = uuid4()
    north.execute(
        """INSERT INTO mes.work_orders (id, created_at, order_no, notes)
           VALUES (%s, %s, 'WO-1', 'new'), (%s, %s, 'WO-2', 'new')
           ON CONFLICT (site_id, created_at, id) DO UPDATE SET notes = excluded.notes""",
        [row_id, created, fresh, created],
    )
    assert [v["op"] for v in versions(centre, row_id)] == ["I", "U"]
    assert versions(centre, row_id)[-1]["touched"] == ("notes",)
    assert [v["op"] for v in versions(centre, fresh)] == ["I"]


def test_a_merge_is_captured_as_what_it_did_to_each_row(centre, north):
    gone, kept = order(north, "WO-1"), order(north, "WO-2")
    north.execute(
        """MERGE INTO mes.work_orders AS w
           USING (VALUES ('WO-1'), ('WO-2'), ('WO-3')) AS s (no) ON w.order_no = s.no
           WHEN MATCHED AND s.no = 'WO-1' THEN DELETE
           WHEN MATCHED THEN UPDATE SET notes = 'merged'
           WHEN NOT MATCHED THEN INSERT (order_no) VALUES (s.no)"""
    )
    assert versions(centre, gone)[-1]["op"] == "D"
    assert versions(centre, kept)[-1]["op"] == "U"
    (new,) = rows(centre, "SELECT id FROM mes.work_orders WHERE order_no = 'WO-3'")
    assert versions(centre, new["id"])[-1]["op"] == "I"


def test_a_write_that_is_rolled_back_is_not_captured(centre, north):
    with north.transaction(force_rollback=True):
        order(north)
    assert queue(centre) == []
    assert rows(centre, "SELECT * FROM sync.head") == []


def test_listeners_hear_of_a_write_once_it_is_committed(centre, north):
    with psycopg.connect(centre, autocommit=True) as listener:
        listener.execute("LISTEN mes_feed")
        with north.transaction():
            order(north)
            assert list(listener.notifies(timeout=0.2)) == []
        assert [n.channel for n in listener.notifies(timeout=5, stop_after=1)] == ["mes_feed"]
        north.execute("UPDATE mes.work_orders SET notes = notes")
        assert list(listener.notifies(timeout=0.2)) == []


SINGLES = 90


def test_a_plan_made_for_one_row_does_not_slow_down_twenty_thousand(centre, north):
    order(north, "first")
    # The worst moment to plan: the tables are known to hold a single row.
    with psycopg.connect(centre, autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE sync.head, sync.version, sync.row_key")
    order(north, "second")
    north.execute("UPDATE mes.work_orders SET notes = 'a'")
    few_s = singles_s(north, "few")
    many = "INSERT INTO mes.work_orders (order_no) SELECT 'WO-' || n FROM generate_series(1, %s) n"
    started = time.monotonic()
    north.execute(many, [20_000])
    north.execute("UPDATE mes.work_orders SET notes = 'b', order_no = order_no || 'x'")
    # A nested loop, or a scan of the keys for each row, takes minutes.
    assert time.monotonic() - started < 60
    updated = rows(centre, "SELECT count(*) FROM sync.version WHERE op = 'U'")
    assert updated == [{"count": 20_004 + SINGLES}]
    # A scan of all heads for each row takes ten times as long as where there are hardly any.
    assert singles_s(north, "many") < 5 * few_s


def singles_s(program: psycopg.Connection, name: str) -> float:
    """Return how long some orders take that are written one by one: the best of three times."""
    taken = []
    for turn in range(3):
        started = time.monotonic()
        for number in range(SINGLES // 3):
            order(program, f"{name} {turn} {number}")
        taken.append(time.monotonic() - started)
    return min(taken)


# --- commit order ----------------------------------------------------------------------------


def test_transactions_that_commit_in_crossed_order_both_reach_the_queue(centre):
    with client(centre) as first, client(centre) as second, psycopg.connect(centre) as feed:
        with first.transaction():
            late = order(first, "late")
            with second.transaction():
                early = order(second, "early")
            assert taken(feed) == [early]
        assert taken(feed) == [late]
        assert taken(feed) == []


def test_a_long_transaction_holds_nobody_up_and_is_not_lost(centre):
    with client(centre) as slow, client(centre) as quick, psycopg.connect(centre) as feed:
        with slow.transaction():
            of_slow = {order(slow, "slow-1")}
            for number in range(50):
                made = order(quick, f"quick-{number}")
                assert taken(feed) == [made]
            of_slow.add(order(slow, "slow-2"))
            assert taken(feed) == []
        assert set(taken(feed)) == of_slow


def taken(feed: psycopg.Connection) -> list[UUID]:
    """What the sequencer does: in one snapshot, delete what it sees."""
    feed.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    found = feed.execute("DELETE FROM sync.touched RETURNING row_id, id").fetchall()
    feed.commit()
    return [row_id for row_id, _ in sorted(found, key=lambda pair: pair[1])]


def test_the_order_of_a_rows_versions_is_the_order_of_their_commits(centre, north):
    row_id = order(north, notes="0")
    failures = []

    def write(name: str) -> None:
        try:
            with client(centre) as connection:
                for number in range(40):
                    connection.execute(
                        "UPDATE mes.work_orders SET notes = %s", [f"{name} {number}"]
                    )
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = versions(centre, row_id)
    assert len(found) == 161
    assert found[-1]["version"] == head(centre, row_id)["version"]
    # Each version took away exactly what the one before it had written.
    (now,) = rows(centre, "SELECT notes FROM mes.work_orders")
    written = [*(v["replaced"]["notes"] for v in found[2:]), now["notes"]]
    assert len(set(written)) == 160
    for name in "abcd":
        own = [text for text in written if text.startswith(name)]
        assert own == [f"{name} {number}" for number in range(40)]


# --- shares ----------------------------------------------------------------------------------


def test_a_row_that_enters_or_leaves_a_share_is_queued_for_both_sides(centre, north):
    person = insert(
        north, "persons", person_no="7", home_site_id="SITE_001", assigned_sites='["SITE_002"]'
    )
    north.execute("""UPDATE mes.persons SET assigned_sites = '["SITE_003"]'""")
    north.execute("UPDATE mes.persons SET assigned_sites = NULL, home_site_id = 'SITE_002'")
    north.execute("DELETE FROM mes.persons")
    assert [q["scopes"] for q in queue(centre, person)] == [
        ["SITE_001", "SITE_002"],
        ["SITE_001", "SITE_002", "SITE_003"],
        ["SITE_001", "SITE_002", "SITE_003"],
        ["SITE_002"],
    ]


def test_a_shared_row_is_queued_for_all(centre):
    with client(centre, "*") as planner:
        material = insert(
            planner, "material_definitions", material_code="M", version="1", base_uom="kg"
        )
        assert [q["scopes"] for q in queue(centre, material)] == [["*"]]
