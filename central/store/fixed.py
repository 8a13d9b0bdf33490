"""Reads the long fixed statements of ``central/sql``, one a file ``<verb>_<noun>.sql``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "sql"


@cache
def fixed(name: str) -> bytes:
    """Return the text of a statement."""
    return (FOLDER / f"{name}.sql").read_bytes()
