"""Programs that write and look without pause while things fail, and remember what they saw.

Each is a thread with a connection of its own, as a program of the plant or of the centre has one: a
session of ``tests.faults.causal``. It goes on through refusals and lost connections, and tries a
transaction of which it does not know whether it is committed until it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import psycopg

from shared.changes import SHARED
from tests.faults.causal import PAIRS, Event, Saw, Tried, Violation, Wrote, check, newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

#: What the names of the sessions' rows begin with.
_MARK = "s:"
_PAUSE_S = 0.08
#: What a program waits after a refusal.
_BREATH_S = 0.2
_LOOK = """SELECT order_no, notes FROM {0}work_orders WHERE order_no LIKE 's:%'
           UNION ALL SELECT material_code, description FROM {0}material_definitions
           WHERE material_code LIKE 's:%'"""


class Place(Protocol):
    """Where a session is at home."""

    def look(self) -> Iterable[tuple[str, str]]:
        """Return names and values of all sessions' rows, as they stand in one moment."""

    def write(self, names: tuple[str, str], value: str) -> None:
        """Put the value into both rows in one transaction, making them where they are not."""

    def leave(self) -> None:
        """Let go of the connection, in whatever state it is."""


class SiteStore:
    """A site's file, as a program of the plant uses it."""

    errors = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        #: By how much the clock is off by which its writes are dated, seconds.
        self.clock_off_s = 0

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=20, isolation_level=None)
        return self._connection

    def look(self) -> Iterable[tuple[str, str]]:
        return self._open().execute(_LOOK.format("")).fetchall()

    def write(self, names: tuple[str, str], value: str) -> None:
        store = self._open()
        store.execute("BEGIN IMMEDIATE")
        ((logged,),) = store.execute("SELECT coalesce(max(seq), 0) FROM _sync_log_work_orders")
        for name in names:
            update = "UPDATE work_orders SET notes = ? WHERE order_no = ?"
            if not store.execute(update, (value, name)).rowcount:
                store.execute(
                    "INSERT INTO work_orders (order_no, source, qty_ordered, uom, notes)"
                    " VALUES (?, 'LOCAL', '1', 'pcs', ?)",
                    (name, value),
                )
        # What machines report goes another way up than what people change.
        store.execute(
            "INSERT INTO equipment_state_events (equipment_id, state, since, source) VALUES"
            " ('018f4b7e-0000-7000-8000-000000000001', 'RUNNING',"
            " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'PLC')"
        )
        dated = "UPDATE _sync_log_work_orders SET at_ms = at_ms + ? WHERE seq > ?"
        if self.clock_off_s:
            store.execute(dated, (self.clock_off_s * 1000, logged))
        store.execute("COMMIT")

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Centre:
    """The centre's database, as a planner's program uses it; rows of one site, or shared ones.

    Where it ``shares``, one of the two rows that it writes at once is the site's, the other shared.
    """

    errors = (psycopg.Error,)

    def __init__(self, url: str, site: str, *, shares: bool = False) -> None:
        self._url = url
        self._sites = (site, SHARED) if shares else (site, site)
        self._connection: psycopg.Connection[Any] | None = None

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=3)
        return self._connection

    def look(self) -> Iterable[tuple[str, str]]:
        return self._open().execute(_LOOK.format("mes.")).fetchall()

    def write(self, names: tuple[str, str], value: str) -> None:
        connection = self._open()
        with connection.transaction():
            for name, site in zip(names, self._sites, strict=True):
                update, insert = self._shared() if site == SHARED else self._orders()
                given = {"name": name, "value": value, "site": site}
                if not connection.execute(update, given).rowcount:
                    connection.execute(insert, given)

    @staticmethod
    def _orders() -> tuple[str, str]:
        return (
            "UPDATE mes.work_orders SET notes = %(value)s"
            " WHERE site_id = %(site)s AND order_no = %(name)s",
            "INSERT INTO mes.work_orders"
            " (id, site_id, created_at, order_no, source, qty_ordered, uom, notes)"
            " VALUES (uuidv7(), %(site)s, now(), %(name)s, 'ERP', 1, 'pcs', %(value)s)",
        )

    @staticmethod
    def _shared() -> tuple[str, str]:
        return (
            "UPDATE mes.material_definitions SET description = %(value)s"
            " WHERE material_code = %(name)s",
            "INSERT INTO mes.material_definitions"
            " (id, site_id, created_at, material_code, description)"
            " VALUES (uuidv7(), '*', now(), %(name)s, %(value)s)",
        )

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(slots=True)
class Session:
    """A program at work, in a thread of its own."""

    name: str
    place: SiteStore | Centre
    #: The sessions whose rows its store has; its own among them.
    sees: frozenset[str]
    #: Those of whose pairs its store has one row only.
    halves: frozenset[str] = frozenset()
    pause_s: float = _PAUSE_S
    events: list[Event] = field(default_factory=list)
    #: How often it was refused, or lost its connection.
    refusals: int = 0
    last_refusal: str = ""
    #: What ended it before it was told to end.
    failure: BaseException | None = None
    _k: int = 0

    def run(self, ended: threading.Event) -> None:
        """Work until told to end, and end with a look."""
        try:
            while not ended.is_set():
                pause_s = self.pause_s if self._step() else _BREATH_S
                ended.wait(pause_s)
        except BaseException as why:
            self.failure = why
            raise
        finally:
            self.place.leave()

    @property
    def wrote(self) -> int:
        """Return the number of its last transaction that is committed."""
        return self._k

    def has_seen(self, written: Mapping[str, int]) -> bool:
        """Tell whether its last look showed so many transactions of each session it can see."""
        return self.shows({who: written[who] for who in self.sees})

    def shows(self, written: Mapping[str, int]) -> bool:
        """Tell whether its last look showed so many transactions of these sessions."""
        saw = next((each for each in reversed(self.events) if isinstance(each, Saw)), Saw({}))
        return all(newest(saw.pairs.get(who, ())) >= k for who, k in written.items())

    def look(self) -> Saw:
        """Look, and remember it."""
        # Who shows nothing at all shows the beginning: rows that vanish are noticed as well.
        seen = {who: [[0, 0] for _ in range(PAIRS)] for who in self.sees}
        for name, value in self.place.look():
            session, pair, side = name.removeprefix(_MARK).rsplit(".", 2)
            if session in self.halves:
                continue
            pairs = seen.setdefault(session, [[0, 0] for _ in range(PAIRS)])
            pairs[int(pair)][int(side)] = int(value or 0)
        saw = Saw({who: tuple((a, b) for a, b in pairs) for who, pairs in seen.items()})
        self.events.append(saw)
        return saw

    def _step(self) -> bool:
        """Look, write and look again; return False where the store would not have it."""
        try:
            self.look()
            self._write()
            self.look()
        except self.place.errors as why:
            self.refusals += 1
            self.last_refusal = str(why)
            with contextlib.suppress(*self.place.errors):
                self.place.leave()
            return False
        return True

    def _write(self) -> None:
        k = self._k + 1
        self.events.append(Tried(k))
        pair = k % PAIRS
        names = (f"{_MARK}{self.name}.{pair}.0", f"{_MARK}{self.name}.{pair}.1")
        self.place.write(names, str(k))
        self._k = k
        self.events.append(Wrote(k))


class Sessions:
    """A few sessions, at work for as long as the block lasts or until ``end``."""

    def __init__(self, *sessions: Session) -> None:
        self.all = sessions
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=each.run, args=(self._ended,), name=each.name, daemon=True)
            for each in sessions
        ]

    async def __aenter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Have all sessions end what they do, and wait for it."""
        self._ended.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 30)
            assert not thread.is_alive(), f"{thread.name} hangs"
        for each in self.all:
            assert each.failure is None, f"{each.name}: {each.failure!r}"

    @property
    def written(self) -> dict[str, int]:
        """Return how many transactions each session has committed."""
        return {each.name: each.wrote for each in self.all}

    def seen_everywhere(self, written: Mapping[str, int]) -> bool:
        """Tell whether so many transactions of each session have come to all who may see them."""
        return all(each.has_seen(written) for each in self.all)

    def see_all(self) -> bool:
        """Have each session look once more, after the end, and tell whether it sees all."""
        for session in self.all:
            session.look()
            session.place.leave()
        return self.seen_everywhere(self.written)

    def violations(self) -> list[Violation]:
        """Return what the histories so far show that must not be."""
        return check({each.name: list(each.events) for each in self.all})


def sessions_of(world: Any, *, pause_s: float = _PAUSE_S, url: str = "") -> Sessions:
    """Return sessions at each store, and at the centre one for each site's rows and one for both.

    The first two are programs of the site. Of the planners at the centre one writes rows of the
    site, the other a row of the site and a shared one at once; one more writes shared rows only.
    ``url`` leads to the centre's database; else the world's own.
    """
    url = url or world.url
    here = {
        site: (f"{site} 1", f"{site} 2", f"planner of {site}", f"both of {site}")
        for site in world.edges
    }
    everybody = frozenset(name for names in here.values() for name in names) | {"shared"}
    halves = frozenset(names[3] for names in here.values())
    all_of = [Session("shared", Centre(url, SHARED), everybody, pause_s=pause_s)]
    for site, (first, second, planner, both) in here.items():
        sees = frozenset(here[site]) | {"shared"}
        store = world.edges[site].path
        all_of += [
            Session(name, SiteStore(store), sees, halves - sees, pause_s=pause_s)
            for name in (first, second)
        ]
        all_of += [
            Session(planner, Centre(url, site), everybody, pause_s=pause_s),
            Session(both, Centre(url, site, shares=True), everybody, pause_s=pause_s),
        ]
    return Sessions(*all_of)
