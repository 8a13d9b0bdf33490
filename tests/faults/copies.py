"""A site's store is copied, and an older copy takes its place."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.whole_world import Edge


async def copied(edge: Edge, *written: str) -> Path:
    """Stop the agent, let a program write, copy the store with that in its log, and go on."""
    await edge.stop()
    if written:
        edge.write(*written)
    copy = edge.path.with_suffix(".copy")
    shutil.copy(edge.path, copy)  # without a WAL: whoever closes last leaves none
    await edge.start()
    return copy


async def put_back(edge: Edge, copy: Path) -> None:
    """Stop the agent and put the copy in the store's place, as a restore does."""
    await edge.stop()
    shutil.copy(copy, edge.path)


def goes_on_anew(edge: Edge) -> bool:
    """Whether the site has noticed that its store went back."""
    return bool(edge.read("SELECT 1 FROM _sync_event WHERE code = 'MES-RESTORED'"))
