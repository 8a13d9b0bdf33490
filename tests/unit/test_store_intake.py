"""What a site sent, checked against the catalogue before a database is asked."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from central.store.changeset import Origin, Reason, Rows, joined
from central.store.intake import Intake, take_in
from shared.catalog import Catalog
from shared.catalog_file import load_catalog
from shared.changes import ChangeBlock, Op, Value
from shared.clock import DRIFT_MAX_MS

CATALOG = load_catalog()
#: Near the time when the broker stored it.
CREATED = "1970-01-20T08:00:00.000Z"
ORIGIN = Origin(
    site="SITE_001",
    epoch=str(uuid.uuid4()),
    n=1,
    tx_id=str(uuid.uuid4()),
    schema=CATALOG.version,
    hlc=1,
    offset_ms=1000,
    stored_at_ms=1_000_000,
)


def an_id() -> str:
    return str(uuid.uuid4())


def holds(rows: int = 3, **columns: list[Value]) -> ChangeBlock:
    """Return new holds; columns may be put in the place of the usual ones."""
    given: dict[str, list[Value]] = {
        "target_type": ["LOT"] * rows,
        "target_id": [an_id() for _ in range(rows)],
        "placed_at": [CREATED] * rows,
        **columns,
    }
    return ChangeBlock(
        table="holds",
        op=Op.INSERT,
        columns=tuple(given),
        sites=["SITE_001"] * rows,
        created=[CREATED] * rows,
        ids=[an_id() for _ in range(rows)],
        at=[500] * rows,
        base=[None] * rows,
        after=[None] * rows,
        new=list(given.values()),
    )


def taken(block: ChangeBlock, origin: Origin = ORIGIN, catalog: Catalog = CATALOG) -> Intake:
    return take_in(block, origin, catalog)


def test_a_block_in_order_is_taken_whole_with_corrected_times() -> None:
    block = holds()
    intake = taken(block)
    assert intake.rows is not None
    assert (intake.rows.ids, intake.refused) == (block.ids, [])
    assert (intake.rows.at, intake.rows.clamped) == ([1500] * 3, [False] * 3)
    assert intake.rows.tx_ids == [ORIGIN.tx_id] * 3


def test_defaults_stand_in_for_columns_that_an_older_sender_does_not_have() -> None:
    block = replace(holds(1), table="reason_codes", columns=("kind", "code"), new=[["HOLD"], ["x"]])
    rows = taken(block).rows
    assert rows is not None
    assert rows.values("active") == [1]
    assert rows.values("label") is None


def test_an_insert_without_a_required_column_is_refused_and_names_it() -> None:
    block = holds()
    block = replace(block, columns=block.columns[1:], new=block.new[1:])
    (first, *_) = taken(block).refused
    assert (first.reason, first.message) == (
        Reason.INVALID_VALUE,
        "target_type: a value is required",
    )


def test_a_renamed_column_is_taken_under_its_name_of_today() -> None:
    table = CATALOG.table("holds")
    columns = tuple(
        replace(c, name="remark", renamed_from=("comment",)) if c.name == "comment" else c
        for c in table.columns
    )
    others = tuple(t for t in CATALOG.tables if t.name != "holds")
    renamed = Catalog(CATALOG.version, (*others, replace(table, columns=columns)))
    rows = taken(holds(1, comment=["why"]), catalog=renamed).rows
    assert rows is not None
    assert rows.values("remark") == ["why"]


def test_one_bad_value_parts_its_row_from_the_others() -> None:
    block = holds(3, target_type=["LOT", "MOON", "LOT"])
    intake = taken(block)
    assert intake.rows is not None
    assert intake.rows.ids == [block.ids[0], block.ids[2]]
    (refusal,) = intake.refused
    assert (refusal.source.id, refusal.reason) == (block.ids[1], Reason.INVALID_VALUE)
    assert "target_type = 'MOON'" in refusal.message
    assert refusal.source.new()["target_type"] == "MOON"


def test_under_a_newer_schema_a_value_that_we_do_not_know_waits() -> None:
    newer = replace(ORIGIN, schema=CATALOG.version + 1)
    (refusal,) = taken(holds(1, target_type=["MOON"]), newer).refused
    assert (refusal.reason, refusal.is_quiet) == (Reason.NEWER_SCHEMA, True)


@pytest.mark.parametrize("schema", [CATALOG.version - 1, CATALOG.version, CATALOG.version + 1])
def test_an_unknown_column_is_taken_aside_for_good_rows_whatever_the_versions_say(
    schema: int,
) -> None:
    block = holds(2, target_type=["LOT", "MOON"], mood=["good", "bad"])
    intake = taken(block, replace(ORIGIN, schema=schema))
    assert [refusal.reason for refusal in intake.refused] == [Reason.NEWER_SCHEMA]
    assert [(extra.source.id, extra.column, extra.value) for extra in intake.extras] == [
        (block.ids[0], "mood", "good")
    ]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"sites": ["SITE_002"]}, Reason.FOREIGN_SITE),
        ({"ids": ["x"]}, Reason.INVALID_VALUE),
        ({"created": ["2026-02-30T00:00:00.000Z"]}, Reason.INVALID_VALUE),
        ({"base": ["x"]}, Reason.INVALID_VALUE),
        ({"at": []}, Reason.MALFORMED),
        ({"at": [1 << 60]}, Reason.MALFORMED),
        ({"op": Op.UPDATE}, Reason.MALFORMED),
        ({"table": "bom_items"}, Reason.NOT_WRITABLE),
        ({"table": "nowhere"}, Reason.NEWER_SCHEMA),
        ({"table": "job_responses", "op": Op.DELETE}, Reason.APPEND_ONLY),
    ],
)
def test_what_is_wrong_with_a_row_is_told_by_a_code(
    damage: dict[str, object], reason: Reason
) -> None:
    block = holds(1)
    for name, value in damage.items():
        setattr(block, name, value)
    intake = taken(block)
    assert [refusal.reason for refusal in intake.refused] == [reason]
    assert intake.rows is None or not intake.rows.ids


def test_counts_beyond_all_reason_are_held_to_what_postgresql_can_hold() -> None:
    mad = replace(ORIGIN, schema=1 << 40, hlc=1 << 70)
    assert (mad.schema, mad.hlc) == ((1 << 31) - 1, (1 << 63) - 1)
    assert replace(ORIGIN, hlc=-1).hlc == 0


# --- rows know where they came from ---------------------------------------------------------------


def rows_of(block: ChangeBlock, origin: Origin = ORIGIN) -> Rows:
    rows = taken(block, origin).rows
    assert rows is not None
    return rows


def test_rows_that_were_joined_and_picked_still_name_their_source() -> None:
    other = replace(ORIGIN, tx_id=an_id(), n=2)
    blocks = [holds(3), holds(4)]
    whole = joined([rows_of(blocks[0]), rows_of(blocks[1], other)])
    picked = whole.take([1, 2, 4, 6]).without([1])
    sources = [picked.source(row) for row in range(len(picked))]
    assert [source.id for source in sources] == picked.ids
    assert [source.origin.n for source in sources] == [1, 2, 2]
    assert picked.ids == [blocks[0].ids[1], blocks[1].ids[1], blocks[1].ids[3]]
    assert picked.tx_ids == [ORIGIN.tx_id, other.tx_id, other.tx_id]
    assert [source.alone().ids for source in sources] == [[each] for each in picked.ids]


def test_portions_of_rows_are_all_rows_in_order() -> None:
    rows = rows_of(holds(7))
    portions = list(rows.slices(3))
    assert [len(portion) for portion in portions] == [3, 3, 1]
    assert [each for portion in portions for each in portion.ids] == rows.ids
    assert list(rows.take([]).slices(3)) == []


# --- times of columns -----------------------------------------------------------------------------


def test_rows_whose_columns_are_all_of_one_time_carry_no_times() -> None:
    assert rows_of(holds()).times == []
    assert rows_of(replace(holds(2), times=[None, None])).times == []


def test_times_of_columns_are_corrected_held_and_told_by_the_catalogues_own_bits() -> None:
    block = holds(2, target_type=["LOT"] * 2, comment=["x"] * 2)
    place = {name: 1 << at for at, name in enumerate(block.columns)}
    late = ORIGIN.stored_at_ms + 10**6
    told = ((place["comment"], 400), (place["target_type"], late))
    rows = rows_of(replace(block, times=[None, told]))
    mask = CATALOG.table("holds").mask
    held = (ORIGIN.stored_at_ms + DRIFT_MAX_MS, True)
    assert rows.times == [None, ((mask(["comment"]), (1400, False)), (mask(["target_type"]), held))]


def test_a_column_whose_corrected_time_is_that_of_its_row_has_none_of_its_own() -> None:
    late = ORIGIN.stored_at_ms + 10**6
    rows = rows_of(replace(holds(1), at=[late], times=[((1, late + 1),)]))
    assert (rows.clamped, rows.times) == ([True], [None])


def test_the_time_of_a_column_that_we_do_not_have_is_dropped() -> None:
    block = replace(holds(1, colour=["red"]), times=[((0b1000, 7), (0b0001, 8))])
    rows = rows_of(block)
    assert rows.times == [((CATALOG.table("holds").mask(["target_type"]), (1008, False)),)]


def test_a_column_time_beyond_all_years_parks_its_row() -> None:
    intake = taken(replace(holds(2), times=[None, ((1, 1 << 60),)]))
    assert intake.rows is not None
    assert len(intake.rows) == 1
    (refusal,) = intake.refused
    assert (refusal.reason, refusal.message) == (Reason.MALFORMED, "no such time")


def test_rows_that_are_joined_and_picked_keep_their_times_wherever_others_have_none() -> None:
    timed = rows_of(replace(holds(2), times=[None, ((1, 7),)]))
    told = timed.times[1]
    assert joined([rows_of(holds(2)), rows_of(holds(1))]).times == []
    whole = joined([rows_of(holds(2)), timed, rows_of(holds(1))])
    assert whole.times == [None, None, None, told, None]
    assert whole.take([3, 0]).times == [told, None]
    assert [portion.times for portion in whole.slices(3)] == [[None] * 3, [told, None]]
