"""What only the agent knows, left beside the store where the status command finds it.

A module of its own, so that a status command loads nothing of the agent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def state_path(store: Path) -> Path:
    """Return the file beside the store in which the agent says how it is.

    Beside the file itself, whatever link to it the store is called by.
    """
    store = store.resolve()
    return store.with_name(store.name + "-agent.json")


def write_state(store: Path, state: dict[str, Any]) -> None:
    """Replace the agent's state file in one step, so that no reader sees half of it."""
    path = state_path(store)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state), encoding="utf-8")
    fresh.replace(path)
