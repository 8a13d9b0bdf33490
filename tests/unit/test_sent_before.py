"""What of a copy's undrained writes its lost life has sent: told by touches, not by the time."""

from __future__ import annotations

from typing import Any

import pytest

from edge.store.sent import earliest, left_of, told
from shared.catalog_file import load_catalog
from shared.changes import ChangeBlock, Op
from shared.errors import MalformedMessage
from sync import codec
from sync.handshake import ANY_DRAIN, SentBefore, read_epochs, read_sent_before

MACHINE = load_catalog().table("equipment")
EVERY = (1 << len(MACHINE.names)) - 1


def row(op: Op, at_ms: int, times: dict[str, int] | None = None, **values: Any) -> ChangeBlock:
    names = tuple(values)
    others = tuple((1 << names.index(name), at) for name, at in (times or {}).items())
    new = [[value] for value in values.values()]
    return ChangeBlock(
        "equipment", op, names, ["SITE_001"], ["2026-11-01T00:00:00.000Z"], ["id"], at=[at_ms],
        base=[None], after=[None], new=[] if op is Op.DELETE else new,
        old=[[None] for _ in names] if op is Op.UPDATE else [], times=[others] if others else [],
    )  # fmt: skip


def sent(at_ms: int, *names: str, is_exact: bool = True) -> SentBefore:
    return SentBefore(0, 7, MACHINE.mask(names) if names else EVERY, at_ms, is_exact)


def left(one: ChangeBlock, *told: SentBefore) -> tuple[Op, tuple[str, ...]] | None:
    found = left_of(MACHINE, one, told)
    return None if found is None else (found.op, found.columns)


UPDATE = row(Op.UPDATE, 20, {"name": 10}, name="Mill", cycle_count=5)


def test_a_row_of_which_nothing_was_sent_stays_the_very_same() -> None:
    assert left_of(MACHINE, UPDATE, ()) is UPDATE
    assert left_of(MACHINE, UPDATE, [sent(99, "level")]) is UPDATE


def test_columns_that_were_touched_at_the_same_moment_were_sent() -> None:
    assert left(UPDATE, sent(10, "name"), sent(20, "cycle_count")) is None
    assert left(UPDATE, sent(10, "name")) == (Op.UPDATE, ("cycle_count",))
    assert left(UPDATE, sent(20, "cycle_count")) == (Op.UPDATE, ("name",))


def test_an_earlier_touch_of_a_value_is_a_conflict_and_not_taken_for_sent() -> None:
    assert left_of(MACHINE, UPDATE, [sent(11, "name")]) is UPDATE


def test_an_earlier_touch_of_a_sum_is_held_for_sent() -> None:
    assert left(UPDATE, sent(21, "cycle_count")) == (Op.UPDATE, ("name",))
    assert left_of(MACHINE, UPDATE, [sent(19, "cycle_count")]) is UPDATE


def test_what_was_sent_at_a_time_that_is_not_known_was_so_up_to_it() -> None:
    assert left(UPDATE, sent(15, is_exact=False)) == (Op.UPDATE, ("cycle_count",))
    assert left(UPDATE, sent(20, is_exact=False)) is None


def test_times_of_columns_that_are_left_stay_with_them() -> None:
    one = row(Op.UPDATE, 30, {"name": 10, "serial_no": 20}, name="a", serial_no="b", status="c")
    found = left_of(MACHINE, one, [sent(10, "name")])
    assert found is not None
    assert (found.at, found.times) == ([30], [((1, 20),)])


def test_of_a_row_that_both_made_only_what_was_written_since_is_left_as_an_update() -> None:
    made = row(Op.INSERT, 10, {"name": 40}, equipment_code="M1", cycle_count=5, name="Mill")
    assert left(made, sent(10)) == (Op.UPDATE, ("name",))
    assert left(row(Op.INSERT, 10, equipment_code="M1"), sent(10)) is None


def test_a_deletion_that_was_sent_is_not_sent_again() -> None:
    assert left(row(Op.DELETE, 10), sent(10)) is None
    assert left(row(Op.DELETE, 10), sent(11)) == (Op.DELETE, ())


@pytest.mark.parametrize(
    "said", [None, 7, [[1, 2]], [["a", 0, 0, 0, False]], [[0, 0, 0, 1e999, 1]]]
)
def test_what_can_t_be_read_is_refused(said: Any) -> None:
    with pytest.raises(MalformedMessage, match="sent before"):
        read_sent_before(said)


STEPS = {"cycle_count": [(10, 0), (30, 5), (40, 8)]}


def test_of_a_sum_that_both_wrote_only_what_was_added_since_is_left() -> None:
    one = row(Op.UPDATE, 40, cycle_count=12)
    found = left_of(MACHINE, one, [sent(10, "cycle_count")], STEPS)
    assert found is not None
    assert (found.old, found.new) == ([[5]], [[12]])
    assert left_of(MACHINE, one, [sent(9, "cycle_count")], STEPS) is one
    assert left_of(MACHINE, one, [sent(40, "cycle_count")], STEPS) is None


def test_of_a_row_that_both_made_a_sum_is_left_from_where_it_was_sent() -> None:
    made = row(Op.INSERT, 40, {"equipment_code": 10}, equipment_code="M1", cycle_count=12)
    found = left_of(MACHINE, made, [sent(10)], STEPS)
    assert found is not None
    assert (found.op, found.columns, found.old) == (Op.UPDATE, ("cycle_count",), [[5]])
    assert left_of(MACHINE, made, [sent(10)]) is made  # nobody can tell any more


def answer(*drains: tuple[int, str | None], with_epochs: bool = True) -> bytes:
    said: dict[str, Any] = {"rows": [[0, hlc, EVERY, 10, True] for hlc, _ in drains]}
    return codec.encode_control(said | ({"epochs": [e for _, e in drains]} if with_epochs else {}))


def counted(*answers: bytes) -> list[list[int]]:
    hlc = ANY_DRAIN
    for each in answers:
        hlc = earliest(hlc, each)
    return [[each.hlc for each in of.get(0, ())] for of in told(answers, hlc)]


def test_the_first_drain_of_each_closed_epoch_counts_over_all_answers() -> None:
    several = answer((9, "B"), (5, "A"), (ANY_DRAIN, None)), answer((8, "B"), (6, "A"), (7, None))
    assert counted(*several) == [[5, ANY_DRAIN], [8]]


def test_of_what_a_centre_of_an_earlier_release_tells_only_the_first_drain_counts() -> None:
    assert counted(answer((9, None), (5, None), with_epochs=False)) == [[5]]
    with pytest.raises(MalformedMessage, match="not each has an epoch"):
        read_epochs(["A"], 2)
