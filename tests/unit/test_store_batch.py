"""What goes together and what falls together, and what a retry gives way to."""

from __future__ import annotations

import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from central.store.batch import Batch, merged, sorted_batch
from central.store.changeset import Origin, Reason, Refusal
from central.store.gate import Gate, judged
from central.store.groups import in_order
from central.store.later import later_of_site, unseen, yielded
from central.store.ties import tied
from shared.catalog_file import load_catalog
from shared.changes import GENESIS, ChangeBlock, Op, Position, Value
from sync.decisions import CENTRE, Author, Outcome, Version, Write
from sync.protocol import Verdict

CATALOG = load_catalog()
#: Near the time when the broker stored it.
CREATED = "1970-01-20T08:00:00.000Z"


def an_id() -> str:
    return str(uuid.uuid4())


def origin(n: int = 1) -> Origin:
    return Origin("SITE_001", an_id(), n, an_id(), CATALOG.version, n, 0, 1_000_000)


def block(table: str, op: Op, row_id: str, **values: Value) -> ChangeBlock:
    """Return a block of one row; an update's old values are null, where it does not say."""
    whole = CATALOG.table(table)
    given = {c.name: c.default for c in whole.columns if op is Op.INSERT} | values
    return ChangeBlock(
        table=table,
        op=op,
        columns=tuple(given),
        sites=["SITE_001"],
        created=[CREATED],
        ids=[row_id],
        at=[1] if not whole.fact else [],
        base=[None] if not whole.fact else [],
        after=[None] if not whole.fact else [],
        new=[[value] for value in given.values()],
        old=[[None] for _ in given] if op is Op.UPDATE else [],
    )


def batch(*blocks: ChangeBlock, n: int = 1) -> Batch:
    return sorted_batch(blocks, origin(n), CATALOG)


def order(row_id: str, number: str = "WO-1", **values: Value) -> ChangeBlock:
    return block("work_orders", Op.INSERT, row_id, order_no=number, **values)


def job(row_id: str, order_id: str, seq: int = 1) -> ChangeBlock:
    return block("job_orders", Op.INSERT, row_id, work_order_id=order_id, seq=seq, segment_code="X")


# --- batches -------------------------------------------------------------------------------------


def test_transactions_on_different_rows_go_together_and_keep_their_ids() -> None:
    rows = [an_id() for _ in range(3)]
    gathered = Batch()
    for n, row_id in enumerate(rows):
        later = batch(block("work_orders", Op.UPDATE, row_id, notes="x"), n=n)
        assert gathered.goes_with(later)
        gathered.add(later)
    (whole,) = merged(gathered.two_way)
    assert whole.ids == rows
    assert len(set(whole.tx_ids)) == 3


@pytest.mark.parametrize("values", [{"notes": "y"}, {"priority": 1000}])
def test_a_second_change_of_a_row_waits_for_the_first_also_for_one_that_is_refused(
    values: dict[str, Value],
) -> None:
    row_id = an_id()
    gathered = Batch()
    gathered.add(batch(block("work_orders", Op.UPDATE, row_id, **values)))
    assert not gathered.goes_with(batch(block("work_orders", Op.UPDATE, row_id, notes="x"), n=2))


@pytest.mark.parametrize(
    ("made", "alone"),
    [
        (block("work_orders", Op.UPDATE, an_id(), notes="x"), False),
        (block("work_orders", Op.UPDATE, an_id(), order_no="x"), True),
        (block("work_orders", Op.DELETE, an_id()), True),
        (block("holds", Op.DELETE, an_id()), False),
        (order(an_id()), False),
    ],
)
def test_a_transaction_that_lets_go_of_a_natural_key_stands_alone(
    made: ChangeBlock, alone: bool
) -> None:
    assert batch(made).stands_alone is alone


def test_releases_go_before_what_they_allow_and_are_no_common_facts() -> None:
    release = block(
        "lot_releases", Op.INSERT, an_id(), lot_id=an_id(), from_state="REJECTED",
        to_state="PENDING", reason="r", signed_by="qa", signed_at=CREATED,
    )  # fmt: skip
    found = batch(release)
    assert (len(found.releases), found.facts, found.stands_alone) == (1, [], True)


def test_deletions_go_first_and_parents_before_their_children() -> None:
    order_id, job_id = an_id(), an_id()
    found = batch(
        job(job_id, order_id),
        block("job_orders", Op.DELETE, an_id()),
        order(order_id),
        block("work_orders", Op.DELETE, an_id()),
        block("work_orders", Op.UPDATE, an_id(), notes="x"),
    )
    assert [(rows.op.value, rows.table.name) for rows in in_order(found.two_way)] == [
        ("D", "job_orders"),
        ("D", "work_orders"),
        ("U", "work_orders"),
        ("I", "work_orders"),
        ("I", "job_orders"),
    ]


@pytest.mark.parametrize("together", [True, False])
def test_of_rows_that_come_more_than_once_in_a_transaction_none_is_taken(together: bool) -> None:
    row_id, other = an_id(), an_id()
    blocks = [order(row_id), order(other, "WO-2"), order(row_id, "WO-3", priority=1000)]
    if together:
        first, *more = blocks
        for each in more:
            for name in ("sites", "created", "ids", "at", "base", "after"):
                getattr(first, name).extend(getattr(each, name))
            first.new = [a + b for a, b in zip(first.new, each.new, strict=True)]
        blocks = [first]
    found = batch(*blocks)
    assert [rows.ids for rows in found.two_way] == [[other]]
    assert {each.source.id for each in found.refused} == {row_id}
    assert len(found.refused) == 2


# --- ties ----------------------------------------------------------------------------------------


def fallen(found: Batch, reason: Reason | None = None) -> set[str]:
    refused = found.refused
    if reason is not None:
        refused = [replace(each, reason=reason) for each in refused]
    return {each.source.id for each in tied(refused, found.two_way, CATALOG)}


def test_children_fall_with_the_parent_that_came_with_them_and_its_other_children() -> None:
    order_id, good, poor, other = (an_id() for _ in range(4))
    found = batch(
        order(order_id),
        job(good, order_id, 1),
        job(poor, order_id, -1),
        order(other, "WO-2"),
    )
    assert [each.source.id for each in found.refused] == [poor]
    assert fallen(found) == {order_id, good}


def test_a_parent_that_was_there_before_does_not_fall_with_a_child() -> None:
    order_id, poor = an_id(), an_id()
    found = batch(block("work_orders", Op.UPDATE, order_id, notes="x"), job(poor, order_id, -1))
    assert fallen(found) == set()


def test_rows_that_hand_a_number_on_fall_together() -> None:
    giver, taker = an_id(), an_id()
    gives = block("work_orders", Op.UPDATE, giver, order_no="NEW")
    gives.old = [["WO-1"]]
    found = batch(gives, order(taker, "WO-1", priority=1000), order(an_id(), "WO-3"))
    assert fallen(found) == {giver}


def test_what_only_waits_takes_nobody_with_it() -> None:
    order_id, poor = an_id(), an_id()
    found = batch(order(order_id), job(poor, order_id, -1))
    assert fallen(found, Reason.PARENT_MISSING) == set()


def test_rows_of_another_transaction_do_not_fall() -> None:
    order_id = an_id()
    found = batch(order(order_id, priority=1000))
    later = batch(job(an_id(), order_id), n=2)
    found.add(later)
    assert fallen(found) == set()


def test_who_falls_names_the_culprit_and_waits_for_its_ticket() -> None:
    order_id, job_id = an_id(), an_id()
    found = batch(order(order_id, priority=1000), job(job_id, order_id))
    (refusal,) = tied(found.refused, found.two_way, CATALOG)
    assert refusal.reason is Reason.TIED
    assert refusal.behind == found.refused[0].source.ticket
    assert order_id in refusal.message
    assert "priority" in refusal.message


def test_the_ticket_of_a_row_is_the_same_in_a_replay() -> None:
    sent = origin()
    blocks = [order(an_id(), priority=1000)]
    first, second = (sorted_batch(blocks, sent, CATALOG).refused[0] for _ in range(2))
    assert first.source.ticket == second.source.ticket
    assert isinstance(first, Refusal)


# --- a retry gives way ---------------------------------------------------------------------------

ORDERS = CATALOG.table("work_orders")


def author(site: str = "SITE_001") -> Author:
    return Author(site, "ann", 1, clamped=False)


def version(*columns: str, site: str = "SITE_001", op: Op = Op.UPDATE) -> Version:
    return Version(an_id(), op, frozenset(columns), author(site))


def write(op: Op = Op.UPDATE, **new: Value) -> Write:
    return Write(op, an_id(), an_id(), new, dict.fromkeys(new, "seen"), author())


def test_later_means_by_the_same_site_and_after_the_drain() -> None:
    before, after = version("notes"), version("notes")
    centre = version("notes", site=CENTRE)
    found = later_of_site([before, centre, after], [5, 0, 9], write(notes="x"), 7)
    assert found == [after]


def test_columns_that_the_site_wrote_since_are_left_out_with_a_record() -> None:
    head: dict[str, Value] = {"notes": "newer", "priority": 50}
    left, records = yielded(ORDERS, head, [version("notes")], write(notes="old", priority=60))
    assert left is not None
    assert left.new == {"priority": 60}
    (record,) = records
    assert (record.group, record.outcome) == ("notes", Outcome.CENTRAL)
    assert (record.here, record.result) == ({"notes": "old"}, {"notes": "newer"})


def test_a_group_is_not_torn_apart_by_giving_way() -> None:
    head: dict[str, Value] = {"qty_ordered": "2", "uom": "kg"}
    changed = write(qty_ordered="1", uom="pcs", notes="n")
    left, records = yielded(ORDERS, head, [version("uom")], changed)
    assert left is not None
    assert left.new == {"notes": "n"}
    assert [record.group for record in records] == ["quantity"]


def test_equal_values_need_no_record_and_nothing_later_nothing_at_all() -> None:
    same = write(notes="n")
    assert yielded(ORDERS, {"notes": "n"}, [version("notes")], same) == (None, ())
    assert yielded(ORDERS, {"notes": "x"}, [], same) == (same, ())


EQUIPMENT = CATALOG.table("equipment")


@pytest.mark.parametrize("head", [{"cycle_count": 5, "tags": '["a"]'}, {"cycle_count": 3}])
def test_a_count_and_a_set_stay_in_a_write_though_its_site_wrote_them_since(head: Any) -> None:
    counted = write(cycle_count=5, tags='["a"]')
    later = [version("cycle_count", "tags", "name")]
    assert yielded(EQUIPMENT, head, later, counted) == (counted, ())


def test_a_state_stays_in_a_write_though_its_site_wrote_it_since() -> None:
    changed = write(exec_state="COMPLETED", notes="old")
    head: dict[str, Value] = {"exec_state": "RELEASED", "notes": "n"}
    left, records = yielded(ORDERS, head, [version("exec_state", "notes")], changed)
    assert left is not None
    assert left.new == {"exec_state": "COMPLETED"}
    assert [record.group for record in records] == ["notes"]


@pytest.mark.parametrize("op", [Op.INSERT, Op.DELETE])
def test_of_a_row_that_its_site_made_anew_an_equal_count_is_on_record(op: Op) -> None:
    counted = write(cycle_count=5, tags='["a"]', name="n")
    head: dict[str, Value] = {"cycle_count": 5, "tags": '["a"]', "name": "n"}
    left, (record,) = yielded(EQUIPMENT, head, [version(*EQUIPMENT.names, op=op)], counted)
    assert left is None
    assert (record.group, record.here, record.result) == (
        "cycle_count", {"cycle_count": 5}, {"cycle_count": 5},
    )  # fmt: skip


def test_to_what_is_left_the_later_versions_of_its_site_are_unseen_and_no_others() -> None:
    before, after = version("name"), version("cycle_count")
    assert unseen([before, after], [after]) == [before, replace(after, lost=True)]
    assert unseen(None, []) is None


def test_a_deletion_gives_way_to_any_later_write_of_its_site() -> None:
    left, (record,) = yielded(ORDERS, {"notes": "x"}, [version("notes")], write(Op.DELETE))
    assert left is None
    assert (record.group, record.policy) == ("*", "delete")


# --- the gate ------------------------------------------------------------------------------------


def link(n: int, previous: bytes, own: bytes) -> Any:
    return SimpleNamespace(n=n, previous=previous, hash=own, tx_id=an_id())


def gate(**given: Any) -> Gate:
    usual: dict[str, Any] = {
        "position": Position(0, GENESIS), "closed_at_n": None, "stopped_because": None,
        "included": frozenset(), "is_known": True, "is_verified": True,
        "applied": frozenset(), "is_waiting": False, "has_extras": False, "has_let_go": False,
        "now": CREATED,
    }  # fmt: skip
    return Gate(**(usual | given))


A, B, C = bytes([1] * 32), bytes([2] * 32), bytes([3] * 32)


def test_links_are_taken_up_to_the_first_that_does_not_follow() -> None:
    run = [link(1, GENESIS, A), link(1, GENESIS, A), link(2, A, B), link(4, C, C)]
    found = judged(run, gate())
    assert [each.n for each in found.accepted] == [1, 2]
    assert (found.verdict, found.position, found.skipped) == (Verdict.GAP, Position(2, B), 1)


def test_a_link_of_another_history_is_a_fork() -> None:
    assert judged([link(1, A, B)], gate()).verdict is Verdict.FORK
    held = gate(position=Position(1, A))
    assert judged([link(1, GENESIS, B)], held).verdict is Verdict.FORK


def test_links_beyond_the_closing_are_settled_without_effect() -> None:
    closed = gate(position=Position(1, A), closed_at_n=1)
    found = judged([link(2, A, B), link(3, B, C)], closed)
    assert (found.verdict, found.accepted, found.skipped) == (Verdict.APPLY, [], 2)
    assert len(found.fenced) == 2  # kept by the ingest: nobody else has them any more


def test_a_late_original_of_a_transaction_that_moved_is_skipped_and_not_kept() -> None:
    late = link(2, A, B)
    closed = gate(position=Position(1, A), closed_at_n=1, applied=frozenset({late.tx_id}))
    found = judged([late], closed)
    assert (found.verdict, found.skipped, found.fenced) == (Verdict.APPLY, 1, ())


def test_nothing_is_taken_of_an_epoch_that_no_handshake_has_opened() -> None:
    found = judged([link(1, GENESIS, A)], gate(is_known=False))
    assert (found.verdict, found.accepted) == (Verdict.FORK, [])


def test_the_last_link_before_the_closing_is_taken() -> None:
    found = judged([link(1, GENESIS, A), link(2, A, B)], gate(closed_at_n=1))
    assert ([each.n for each in found.accepted], found.skipped) == ([1], 1)


def test_nothing_is_taken_of_a_site_that_was_stopped() -> None:
    found = judged([link(1, GENESIS, A)], gate(stopped_because="a clone"))
    assert (found.verdict, found.accepted) == (Verdict.FORK, [])
