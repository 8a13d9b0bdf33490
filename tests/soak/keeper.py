"""Who takes backups of the centre meanwhile, as far as the centre is told of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg

from central.backups import Mark, set_mark
from tests.soak.load import Writer

if TYPE_CHECKING:
    import random

    from tests.soak.ledger import Ledger


class Keeper(Writer):
    """Marks a backup as begun and finished, and the one before it as gone.

    So what is safe follows the marks. Nothing is restored here: tests/faults does that.
    """

    def __init__(self, url: str, chance: random.Random, ledger: Ledger, *, every_s: float) -> None:
        super().__init__("KEEPER", chance, ledger, pause_s=every_s)
        self._url = url
        #: The marks that are still to be set, in order; a backup's are set once PostgreSQL is back.
        self._due: list[tuple[str, Mark]] = []
        self.taken = 0

    def step(self) -> None:
        """Take a backup."""
        self.taken += 1
        this, last = f"backup-{self.taken}", f"backup-{self.taken - 1}"
        self._due += [(this, Mark.BEGUN), (this, Mark.FINISHED)]
        self._due += [(last, Mark.GONE)] if self.taken > 1 else []
        asyncio.run(self._set_marks())

    async def _set_marks(self) -> None:
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5
            ) as connection:
                while self._due:
                    await set_mark(connection, *self._due[0])
                    del self._due[0]
        except psycopg.OperationalError:
            pass  # it is away, as the schedule has it

    def close(self) -> None:
        """Leave nothing open."""
