"""Measures the time from a commit at a site to where the readers of the centre see the row."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import psycopg

from deploy.local.plainsql import PlainStore

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path

#: How often the centre is asked, in seconds: the grain of what is measured.
LOOK_S = 0.002
#: A probe that is not seen within this time is lost, and counts as a failure.
SEEN_MAX_S = 15.0
#: Between two probes; varied, so that they fall on no rhythm of the agent's.
PAUSE_S = (0.02, 0.08)

_SEEN = "SELECT 1 FROM mes.audit_log WHERE site_id = %s AND created_at = %s AND id = %s"


class Probe:
    """Writes small rows at one site after the other while the block runs, and times each."""

    def __init__(self, stores: Mapping[str, Path], url: str, chance: random.Random) -> None:
        """Write into these stores; read by ``url``, which must see the rows of all sites."""
        self._paths = stores
        self._url = url
        self._chance = chance
        self._left_out: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._failure: BaseException | None = None
        #: Milliseconds from commit to sight, in the order measured.
        self.latencies_ms: list[float] = []
        self.lost = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SEEN_MAX_S + 5)
        if self._failure is not None:
            raise self._failure

    def leave_out(self, *sites: str) -> None:
        """Write no probes at these sites, as they are cut off."""
        self._left_out = frozenset(sites)

    def _run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as centre:
                self._measure(centre)
        except (psycopg.Error, sqlite3.Error, OSError, ValueError) as error:
            self._failure = error

    def _measure(self, centre: psycopg.Connection[Any]) -> None:
        stores = {site: PlainStore(path, self._chance) for site, path in self._paths.items()}
        try:
            while not self._stop.wait(self._chance.uniform(*PAUSE_S)):
                site = self._chance.choice(sorted(stores))
                if site not in self._left_out:
                    self._one(site, stores[site], centre)
        finally:
            for store in stores.values():
                store.close()

    def _one(self, site: str, store: PlainStore, centre: psycopg.Connection[Any]) -> None:
        with store.transaction():
            key = store.insert("audit_log", action="PROBE", table_name="audit_log")
            row = store.one("SELECT created_at FROM audit_log WHERE id = ?", key)
        committed = time.perf_counter()
        assert row is not None
        while time.perf_counter() - committed < SEEN_MAX_S:
            if centre.execute(_SEEN, (site, row[0], key)).fetchone() is not None:
                self.latencies_ms.append((time.perf_counter() - committed) * 1000)
                return
            if site in self._left_out:
                return  # cut off while it was on its way: it arrives later, and is not timed
            time.sleep(LOOK_S)  # seen as any client sees it: by looking
        self.lost += 1
