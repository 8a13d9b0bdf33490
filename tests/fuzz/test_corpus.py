"""Inputs that did once what none may do: each is taken or refused in words now.

A file under ``corpus`` is named after what is wrong with it, in the folder of its target. Inputs
that are no bytes are packed with msgpack.
"""

from __future__ import annotations

from pathlib import Path

import msgpack
import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
PACKED = ("pieces", "hellos")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_mended_once_stays_mended(path):
    (target,) = [each for each in TARGETS if each.name == path.parent.name]
    content = path.read_bytes()
    target.check(msgpack.unpackb(content) if target.name in PACKED else content)


def test_there_is_a_corpus():
    assert len(FILES) > 20
