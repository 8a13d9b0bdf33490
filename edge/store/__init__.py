"""The store of one site: SQLite, used from one thread."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge.store import open as opening
from edge.store import outbox, position
from edge.store.position import EdgePosition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.store.open import Opened
    from shared.catalog import Catalog
    from shared.changes import Part

__all__ = ["EdgePosition", "EdgeStore"]


class EdgeStore:
    """A site's store, as the agent uses it; each method is one transaction."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened

    @classmethod
    def open(cls, path: Path, catalog: Catalog, *, site: str, now_ms: int, host: str) -> EdgeStore:
        """Open, create or migrate the store and hold it: one agent at a time."""
        return cls(opening.open_for_agent(path, catalog, site=site, now_ms=now_ms, host=host))

    @classmethod
    def look(cls, path: Path) -> EdgeStore:
        """Open an existing store beside its agent, for the command line."""
        return cls(opening.open_to_look(path))

    def close(self) -> None:
        """Close the store and let go of it."""
        opening.close(self.opened)

    @property
    def catalog(self) -> Catalog:
        """Return the catalogue that the store's tables stand at."""
        return self.opened.catalog

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with opening.writing(self.opened.connection):
            yield

    def position(self) -> EdgePosition:
        """Return where the store stands."""
        return position.read(self.opened.connection)

    def set_offset(self, offset_ms: int, now_ms: int) -> None:
        """Remember the centre's clock minus ours, measured at ``now_ms``."""
        with self._writing():
            position.set_offset(self.opened.connection, offset_ms, now_ms)

    def note(self, code: str, message: str, now_ms: int) -> None:
        """Keep an event for the operator."""
        with self._writing():
            position.note(self.opened.connection, code, message, now_ms)

    def outbox(self, after: tuple[int, int], *, bytes_max: int) -> list[Part]:
        """Return the parts after (n, part), in order, at least one where there is one."""
        return outbox.parts_after(self.opened.connection, after, bytes_max=bytes_max)

    def prune(self) -> int:
        """Remove what is safe from the outbox, never more; return the number of parts."""
        with self._writing():
            return outbox.prune(self.opened.connection)
