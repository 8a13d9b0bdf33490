"""What agent and commands leave for one another beside the store: how it is, and its limit.

A module of its own, so that a status command loads nothing of the agent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def state_path(store: Path) -> Path:
    """Return the file beside the store in which the agent says how it is."""
    return _beside(store, "-agent.json")


def write_state(store: Path, state: dict[str, Any]) -> None:
    """Replace the agent's state file in one step, so that no reader sees half of it."""
    _replace(state_path(store), json.dumps(state))


def read_state(store: Path) -> dict[str, Any]:
    """Return what the agent last said of itself, running or not; nothing where nothing is told."""
    try:
        told = json.loads(state_path(store).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def read_limit(store: Path) -> int | None:
    """Return the bandwidth limit that an operator set, in bytes/s, 0 for none; None if nobody did.

    Raises ValueError where the file holds anything else.
    """
    try:
        return int(_beside(store, "-agent.limit").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def write_limit(store: Path, bytes_per_s_max: int | None) -> None:
    """Set the limit that the agent keeps from now on, also when it starts anew; None unsets it."""
    path = _beside(store, "-agent.limit")
    if bytes_per_s_max is None:
        path.unlink(missing_ok=True)
    else:
        _replace(path, str(bytes_per_s_max))


def _beside(store: Path, ending: str) -> Path:
    """Return a file beside the store itself, whatever link it is called by."""
    real = store.resolve()
    return real.with_name(real.name + ending)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
