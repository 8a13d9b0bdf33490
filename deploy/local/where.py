"""Where to look next: the commands to type while the demo is kept running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.world import World


def text(world: World) -> str:
    """Return the commands; the settings that they need are written beside the stores."""
    bin_folder = Path(sys.executable).parent
    central = _write(world.root / "central.env", world.central_settings())
    site = world.sites[1]
    edge = _write(world.root / "sites" / site / "edge.env", world.edge_settings(site))
    store = _short(world.store(site))
    lines = [
        "Where to look next",
        "------------------",
        f"  {_short(bin_folder / 'mes-central')} --env-file {central} status",
        f"  {_short(bin_folder / 'mes-central')} --env-file {central} conflicts list",
        f"  {_short(bin_folder / 'mes-sync')} --env-file {edge} status",
        f"  psql '{world.url('mes_analyst')}' -c 'TABLE mes.sync_conflicts'",
        f"  sqlite3 {store} ",
        f"  logs: {_short(world.root / 'logs')}",
    ]
    return "\n".join(lines)


def _write(path: Path, settings: Mapping[str, object]) -> str:
    path.touch(mode=0o600)  # it may hold a password
    path.write_text("".join(f"MES_{k.upper()}={v}\n" for k, v in settings.items()))
    return _short(path)


def _short(path: Path) -> str:
    """Return the path as it is typed in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
