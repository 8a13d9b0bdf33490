"""Where to look next: the commands to type while the demo is kept running."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

#: To be typed in this order: what is written at the site is seen at the centre.
WRITE_SQL = "UPDATE work_orders SET notes = 'hello' WHERE order_no = 'DEMO-02'"
LOOK_SQL = "SELECT site_id, notes FROM mes.work_orders WHERE order_no = 'DEMO-02'"

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.world import World

#: Where nothing is kept running.
LATER = """\
Where to look next
------------------
  make up                     keeps all of this running, and tells what to type
  DATA=log.csv make demo      loads a real production log instead
  ARCHITECTURE.md             walks one change through the code
"""


def text(world: World) -> str:
    """Return the commands; the settings that they need are written beside the stores."""
    bin_folder = Path(sys.executable).parent
    central = _write(world.root / "central.env", world.central_settings())
    site = world.sites[1]
    edge = _write(world.root / "sites" / site / "edge.env", world.edge_settings(site))
    mes_central = f"{_short(bin_folder / 'mes-central')} --env-file {central}"
    mes_sync = f"{_short(bin_folder / 'mes-sync')} --env-file {edge}"
    key = f"$(cat {_short(world.key_file)})"
    lines = [
        "Where to look next",
        "------------------",
        f"  {world.address}/  the dashboard; sign in with what {_short(world.key_file)} holds",
        f'  curl -H "Authorization: Bearer {key}" {world.address}/v1/reports/output',
        f"  {mes_central} status",
        f"  {mes_central} conflicts list",
        f"  {mes_central} report output --group-by report_type",
        f"  {mes_sync} status",
        f"  {mes_sync} conflicts list",
        f'  sqlite3 {_short(world.store(site))} "{WRITE_SQL}"',
        f'  psql "$(sed -n s/^MES_ADMIN_URL=//p {central})" -c "{LOOK_SQL}"',
        f"  logs: {_short(world.root / 'logs')}",
        f"  stores: {_short(world.store('SITE').parents[1])}/SITE/store.db",
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
