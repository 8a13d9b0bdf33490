"""What is made smaller or exchanged for a run: bounds of size, pauses, the clock, and chance.

Nothing else of the product is touched. Bounds are set so that a few rows are many.
"""

from __future__ import annotations

import contextlib
import uuid
from typing import TYPE_CHECKING, Any

from central import control, feed, ingest, runs, snapshot
from central import handshake as welcome
from edge import agent, handshake, homecoming, lanes, loading
from edge.store import setup
from sync import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.sim.clock import Clock


@contextlib.contextmanager
def narrow(clock: Clock, ids: Random, *, is_small: bool) -> Iterator[None]:
    """Let the product's code of this process run by the campaign's clock, and within its bounds.

    Ids are drawn from ``ids``: in which order they stand decides what comes first here and there,
    so a run with others of them may take another way.
    """
    wanted: list[tuple[Any, str, Any]] = [
        *(
            (module, "now_ms", clock.here)
            for module in (agent, handshake, homecoming, lanes, loading)
        ),
        *((module, "now_ms", clock.true) for module in (control, welcome)),
        *((module, "SystemRandom", lambda: ids) for module in (handshake, homecoming, setup)),
        (uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4)),
        (ingest, "_REWIND_EVERY_S", -1.0),
        (loading, "_NOT_YET_S", 0.0),
        (loading, "BREATH_S", 0.0),
        (handshake, "_WAIT_S", 0.0),
    ]
    if is_small:
        wanted += [
            (codec, "PART_BYTES_MAX", 700),  # a few rows a part
            (runs, "PARTS_MAX", 2),
            (ingest, "PARTS_MAX", 2),
            (runs, "RUN_ROWS_MAX", 6),
            (ingest, "FIRST_RUN_ROWS", 2),
            (feed, "PAGE_ROWS_MAX", 4),
            (feed, "ENTRY_ROWS_MAX", 2),  # runs of entries that say "more"
            (snapshot, "CHUNK_ROWS_MAX", 3),
        ]
    before = [(module, name, getattr(module, name)) for module, name, _ in wanted]
    for module, name, value in wanted:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
