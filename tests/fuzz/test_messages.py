"""Bytes from the wire are a message or are refused; nothing else happens, and it costs little."""

from __future__ import annotations

import pytest

from tests.fuzz.messages import MESSAGES


@pytest.mark.slow
@pytest.mark.parametrize("target", MESSAGES, ids=lambda target: target.name)
def test_whatever_the_wire_brings_is_a_message_or_is_refused(target, seed):
    target.run(seed)
