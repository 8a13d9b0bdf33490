"""When facts are refused for want of room: the decision alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.store.fullness import ROOM_PER_FREE, Limits, Room, must_refuse
from shared.errors import BadSetting

MB = 1_000_000
LIMITS = Limits(stop=200 * MB, go=300 * MB)
SIZES = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("disk_mb", "file_mb", "refusing", "refused"),
    [
        (1000, 0, False, False),
        (199, 0, False, True),
        (200, 0, False, False),
        (299, 0, True, True),
        (300, 0, True, False),
        (100, 250, False, False),  # pruned rows left room in the file
        (20, 10_000, False, True),  # but the WAL has none
    ],
)
def test_facts_stop_below_one_limit_and_go_on_above_the_other(
    disk_mb: int, file_mb: int, refusing: bool, refused: bool
):
    room = Room(disk_free=disk_mb * MB, file_free=file_mb * MB)
    assert must_refuse(room, LIMITS, refusing=refusing) is refused


@given(SIZES, SIZES, SIZES, SIZES, st.booleans())
def test_a_decision_stands_until_the_room_crosses_the_other_limit(
    disk: int, file: int, one: int, other: int, refusing: bool
):
    limits = Limits(stop=min(one, other), go=max(one, other))
    room = Room(disk_free=disk, file_free=file)
    refused = must_refuse(room, limits, refusing=refusing)
    assert must_refuse(room, limits, refusing=refused) is refused
    if limits.stop <= room.size < limits.go:
        assert refused is refusing


@given(SIZES, SIZES)
def test_room_is_never_more_than_what_the_wal_could_carry(disk: int, file: int):
    room = Room(disk_free=disk, file_free=file)
    assert room.size <= min(disk + file, ROOM_PER_FREE * disk)
    assert room.size >= disk


@pytest.mark.parametrize(("stop", "go"), [(2, 1), (-1, 1)])
def test_limits_that_contradict_each_other_are_refused_by_name(stop: int, go: int):
    with pytest.raises(BadSetting, match="MES_FACTS_STOP_BYTES"):
        Limits(stop=stop, go=go)
