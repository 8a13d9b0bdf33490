"""What the tests of a site's commands share: a store with things to tell, and the commands."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.import_world import ROOT, Site

PLAN = "00000000-0000-7000-8000-0000000000aa"
ORDER = "00000000-0000-7000-8000-0000000000bb"
CONFLICT = "00000000-0000-7000-8000-0000000c0001"
REVIEW = "00000000-0000-7000-8000-0000000c00ff"
SETTLED = "00000000-0000-7000-8000-0000000c0002"
TICKET = "00000000-0000-7000-8000-0000000d0001"
ASIDE = "00000000-0000-7000-8000-0000000e0001"
MADE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run(module: str, *arguments: object, **environment: str) -> Done:
    """Run a command as its own process."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment() | environment,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of whoever runs the tests."""
    ours = os.environ  # noqa: TID251
    kept = {k: v for k, v in ours.items() if not k.startswith(("MES_", "NO_COLOR"))}
    return kept | {"TZ": "UTC"}


def mes_sync(site: Site | Path, *arguments: object, **environment: str) -> Done:
    """Run ``mes-sync`` on a store."""
    store = site if isinstance(site, Path) else site.store
    return run("edge.cli.sync_command", *arguments, MES_STORE=str(store), **environment)


def mes_edge(*arguments: object, **environment: str) -> Done:
    """Run ``mes-edge``."""
    return run("edge", *arguments, **environment)


def from_centre(site: Site, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Write rows as if the centre had sent them: nothing of it is captured."""
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute("UPDATE _sync_applying SET flag = 1")
        for text, values in statements:
            connection.execute(text, values)
        connection.execute("UPDATE _sync_applying SET flag = 0")


def row(table: str, **values: Any) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that inserts a row, JSON for what is no scalar."""
    plain = [json.dumps(v) if isinstance(v, dict) else v for v in values.values()]
    marks = ", ".join("?" * len(values))
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(plain)


def told(site: Site) -> Site:
    """Give a store something of everything that the centre tells."""
    from_centre(site, *_rows(site.name), *_conflicts(site.name), *_unapplied(site.name))
    return site


def _base(site: str) -> dict[str, Any]:
    return {"site_id": site, "created_at": MADE}


def _rows(site: str) -> list[tuple[str, tuple[Any, ...]]]:
    return [
        row("inspection_plans", id=PLAN, plan_code="P-7", sample_size=9, **_base(site)),
        row("work_orders", id=ORDER, order_no="A-1", notes="a", **_base(site)),
    ]


def _conflicts(site: str) -> list[tuple[str, tuple[Any, ...]]]:
    sides = _base(site) | {
        "here_site": site, "central_site": "*", "here_writer": "j.kiss",
        "central_writer": "m.weber", "decided_at": "2026-01-01T10:00:00.000Z",
    }  # fmt: skip
    here, central = {"sample_size": 7}, {"sample_size": 9}
    return [
        row(
            "sync_conflicts", id=CONFLICT, table_name="inspection_plans", row_id=PLAN,
            column_group="sample_size", policy="review", verdict="review", here_value=here,
            central_value=central, result_value=central, base_value={"sample_size": 5},
            review_id=REVIEW, here_at=MADE, **sides,
        ),
        row(
            "sync_reviews", id=REVIEW, conflict_id=CONFLICT, table_name="inspection_plans",
            row_id=PLAN, column_group="sample_size", here_value=here, central_value=central,
            shown_value=central, **_base(site),
        ),
        row(
            "sync_conflicts", id=SETTLED, table_name="work_orders", row_id=ORDER,
            column_group="notes", policy="last_write", verdict="here", here_value={"notes": "a"},
            central_value={"notes": "b"}, result_value={"notes": "a"}, **sides,
        ),
    ]  # fmt: skip


def _unapplied(site: str) -> list[tuple[str, tuple[Any, ...]]]:
    at_ms = 1_767_225_600_000
    return [
        row(
            "sync_parked", id=TICKET, table_name="work_orders", row_id=ORDER, op="U",
            reason="invalid_value", message="priority = 200: above the largest value",
            content={"priority": 200}, parked_at=MADE, **_base(site),
        ),
        row(
            "_sync_aside", table_name="work_orders", id=ASIDE, code="unique",
            content={"notes": "x"}, reason="another row has order_no A-1", at_ms=at_ms,
        ),
        row("_sync_event", at_ms=at_ms, code="MES-ROW-ASIDE", message="order A-1"),
    ]  # fmt: skip
