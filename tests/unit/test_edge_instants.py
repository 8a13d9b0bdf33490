"""Instants as a plant writes them; what is none is told, whatever it is."""

from __future__ import annotations

import pytest

from edge.store.canon import as_instant, instant_of
from shared.errors import InvalidValue


@pytest.mark.parametrize(
    ("value", "zone"),
    [("0001-01-01 00:00:00", "Europe/Berlin"), ("9999-12-31 23:59:59", "America/New_York")],
)
def test_a_never_beyond_what_utc_can_tell_travels_as_it_is(value, zone):
    with pytest.raises(InvalidValue):
        instant_of(value, zone)
    assert as_instant(value, zone) == value
