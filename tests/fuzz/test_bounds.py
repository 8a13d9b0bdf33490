"""What an input may cost is bounded by the processor it takes, whatever else the machine does."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.fuzz.bounds import Flooded, Hung, bounded


def test_what_goes_on_for_ever_is_stopped():
    with pytest.raises(Hung), bounded(seconds=0.2):
        for _ in itertools.count():
            pass


def test_what_waits_for_ever_is_stopped_too():
    with pytest.raises(Hung), bounded(seconds=0.02):
        time.sleep(60)


def test_who_only_waits_for_the_processor_is_not():
    with bounded(seconds=0.2):
        time.sleep(0.5)


def test_what_takes_more_memory_than_allowed_is_told_though_it_gives_it_back():
    with pytest.raises(Flooded, match="at most 2 are allowed"), bounded(seconds=5, megabytes=2):
        bytes(8 << 20)
