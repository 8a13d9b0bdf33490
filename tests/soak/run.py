"""One run: start everything, write and break things for so long, let all settle, look at it."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central.rolled import differences
from central.unions import KEPT
from deploy.local.contents import Comparison, compare_site
from deploy.local.settled import failure, look, owed
from edge.lanes import now_ms
from tests.soak import samples
from tests.soak.faults import Breaker
from tests.soak.keeper import Keeper
from tests.soak.ledger import Ledger
from tests.soak.load import Planner, Plant, Writer
from tests.soak.plan import schedule
from tests.soak.report import Report
from tests.soak.samples import Sample
from tests.soak.system import System, plans
from tests.soak.tables import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: How long all may take to settle once nothing is written or broken any more.
SETTLE_MAX_S: Final = 300.0
#: For so long a difference has to stand: the centre goes on forgetting history while it is
#: compared, and a site has it until it is told.
LASTS_S: Final = 60.0
#: Of what differs, so much is named.
NAMED_MAX: Final = 5


def times_of(seconds: float) -> Times:
    """Return for how long things are kept: so that a run of some minutes sees them go.

    History stays for twice as long as a version: so what plain SQL replaced is seen to go from the
    table that keeps it once its version is forgotten, too.
    """
    return Times(
        safe_s=max(20.0, seconds / 15),
        feed_s=max(90.0, seconds / 10),
        versions_s=max(60.0, seconds / 10),
        history_s=max(120.0, seconds / 5),
    )


class Soak:
    """A run."""

    def __init__(
        self, root: Path, *, seconds: float, sites: int, seed: int, say: Callable[[str], None]
    ) -> None:
        self._seconds = seconds
        self._say = say
        self.times = times_of(seconds)
        self.report = Report(seed, seconds, sites, self.times)
        self.ledger = Ledger()
        self._chance = random.Random(seed)
        self._system = System(root, plans(sites), times=self.times)
        #: Between two steps of a plant: what two cores carry with thirty of them.
        self._pause_s = max(1.0, sites / 15)
        #: Seconds between two samples.
        self._every_s = min(15.0, max(3.0, seconds / 60))

    def run(self) -> Report:
        """Run it, and return what was found."""
        with self._system as system:
            began = time.monotonic()
            system.start_all()
            self._settle("started")
            self.report.figures["seconds to start"] = round(time.monotonic() - began, 1)
            self._work(system)
            self._check(system)
        self.report.judge()
        return self.report

    # --- load and faults --------------------------------------------------------------------------

    def _work(self, system: System) -> None:
        plants = [
            Plant(
                site, system.store(site), self._part(site), self.ledger,
                pause_s=self._pause_s, facts=4,
            )
            for site in system.sites
        ]  # fmt: skip
        for plant in plants:
            plant.commission()
        self._settle("orders and machines are at both ends")
        planner = Planner(
            system.url("mes_app"), plants, self._part("centre"), self.ledger, pause_s=0.4
        )
        keeper = Keeper(system.url(), self._part("keeper"), self.ledger, every_s=self.times.safe_s)
        faults = schedule(
            self._part("faults"), seconds=self._seconds, sites=system.sites,
            workers=len(system.central_programs) - 1,
        )  # fmt: skip
        self._machines = [machine for plant in plants for machine in plant.machines]
        breaker = Breaker(system, faults, self._say)
        began = time.monotonic()
        for writer in (*plants, planner, keeper):
            writer.start()
        breaker.start()
        while (at := time.monotonic() - began) < self._seconds:
            self._sample(at)
            system.revive(breaker.broken)
            time.sleep(min(self._every_s, self._seconds - at))
        breaker.finish()
        system.revive(breaker.broken)
        self.report.faults = breaker.done
        self._end([*plants, planner, keeper])
        self.report.figures["backups marked"] = keeper.taken
        self._settle("settled", since=began)

    def _part(self, name: str) -> random.Random:
        return random.Random(f"{name} {self.report.seed}")

    def _end(self, writers: Sequence[Writer]) -> None:
        for writer in writers:
            writer.stop()
        for writer in writers:
            writer.join(60)
            if writer.failure is not None:
                self.report.violations.append(f"{writer.name} could not write: {writer.failure!r}")

    # --- looking ----------------------------------------------------------------------------------

    def _sample(self, at_s: float) -> None:
        system = self._system
        looks = [each for s in system.sites if (each := samples.store_rows(system.store(s)))]
        central: dict[str, int] = {}
        size = 0.0
        try:
            with psycopg.connect(system.url(), autocommit=True, connect_timeout=2) as centre:
                central, size = samples.central_rows(centre), samples.database_mb(centre)
                self._read_records(centre)
        except psycopg.OperationalError:
            pass  # it is away, as the schedule has it
        undecided = [each.undecided for each in looks]
        ages = [now_ms() - each.oldest_ms for each in looks if each.oldest_ms is not None]
        self.report.samples.append(
            Sample(
                at_s=round(at_s, 1), processes=samples.memory(system.pids()), central=central,
                edge=samples.added(looks) if len(looks) == len(system.sites) else {},
                undecided=sum(undecided), undecided_most=max(undecided, default=0),
                lag_s=max(ages, default=0) / 1000,
                broker_mb=samples.folder_mb(system.root / "nats"),
                database_mb=round(size, 1), writes=self.ledger.writes,
                stores_mb=round(sum(system.store(s).stat().st_size for s in system.sites) / 1e6, 1),
            )
        )  # fmt: skip

    def _read_records(self, centre: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Remember what is on record, before the history of it is forgotten."""
        for query in (
            "SELECT here_value, central_value, result_value, base_value FROM mes.sync_conflicts",
            "SELECT content FROM mes.sync_parked",
            "SELECT replaced ->> 'notes' FROM sync.version WHERE replaced ? 'notes'",
            "SELECT replaced ->> 'notes' FROM sync.overwritten WHERE replaced ? 'notes'",
        ):
            for row in centre.execute(query.encode()).fetchall():
                self.ledger.record(str(value) for value in row if value is not None)

    def _settle(self, then: str, since: float | None = None) -> None:
        """Wait until nothing is on its way; sample the end of the run."""
        began = time.monotonic()
        why = ""
        while time.monotonic() - began < SETTLE_MAX_S:
            self._system.revive(frozenset())
            if not (why := self._owed()):
                self._say(f"{then} ({time.monotonic() - began:.1f} s)")
                if since is not None:
                    self.report.figures["seconds to settle"] = round(time.monotonic() - began, 1)
                    self._sample(time.monotonic() - since)
                return
            time.sleep(0.5)
        self.report.violations.append(f"not {then} in {SETTLE_MAX_S:.0f} s: {why}")

    def _owed(self) -> str:
        """Return what is still on its way, in two looks: one site's may come of another's."""
        system = self._system
        try:
            with psycopg.connect(system.url(), autocommit=True, connect_timeout=5) as centre:
                self._read_records(centre)  # what is decided late may be forgotten before the end
                for _ in range(2):
                    for site in system.sites:
                        if not system.store(site).exists():
                            return f"{site} has no store yet"
                        if found := owed(site, system.store(site), centre):
                            return f"{site}: {', '.join(found)} {failure(system.store(site))}"
                if samples.central_rows(centre)["deltas"]:
                    return "the centre folds reports"
        except psycopg.OperationalError as why:
            return str(why)
        return ""

    # --- checking ---------------------------------------------------------------------------------

    def _check(self, system: System) -> None:
        """Compare both ends with one another, and with what was written."""
        violations, figures = self.report.violations, self.report.figures
        figures["programs that a supervisor started again"] = len(system.revived)
        violations += system.ended_badly
        violations += [
            f"the agent of {site} met what it did not foresee: {why}"
            for site in system.sites
            if (why := failure(system.store(site)))
        ]
        with psycopg.connect(system.url(), autocommit=True) as centre:
            self._read_records(centre)
            violations += self._compared(system, centre)
            violations += self._accounted(centre)
            figures |= self._met(centre)
        violations += asyncio.run(self._sums(system))

    def _compared(self, system: System, centre: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
        found, rows = [], 0
        for site in system.sites:
            for each in _compared_at_rest(system, centre, site):
                rows += each.edge.rows
                if not each.equal:
                    found.append(f"{site} {each.table} differs in {', '.join(each.differing)}")
        self.report.figures["rows equal at both ends"] = rows
        return found

    async def _sums(self, system: System) -> list[str]:
        """Return the sums of reports that are not those of the facts."""
        async with await psycopg.AsyncConnection.connect(system.url()) as centre:
            return [
                f"{site}: {len(lines)} sums of {rollup.name} are wrong: {lines[:NAMED_MAX]}"
                for site in system.sites
                for rollup in KEPT
                if (lines := await differences(centre, rollup, site))
            ]

    def _accounted(self, centre: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
        """Return what was written, and neither stands nor is on record."""
        ledger, found = self.ledger, []
        standing = centre.execute("SELECT notes FROM mes.work_orders").fetchall()
        lost = ledger.unaccounted(str(row[0]) for row in standing if row[0])
        found += [f"{len(lost)} notes are lost: {lost[:NAMED_MAX]}"] if lost else []
        shown = centre.execute("SELECT id::text, cycle_count FROM mes.equipment").fetchall()
        found += ledger.miscounted(dict(shown))[:NAMED_MAX]
        for table, ids in ledger.facts.items():
            there = centre.execute(f"SELECT id::text FROM mes.{table}".encode()).fetchall()
            stored = {row[0] for row in there}
            if missing := ids - stored:
                found.append(f"{len(missing)} facts of {table} are missing")
            if len(there) != len(stored):
                found.append(f"{len(there) - len(stored)} facts of {table} are there twice")
        lots = {r[0] for r in centre.execute("SELECT id::text FROM mes.material_lots").fetchall()}
        if back := ledger.deleted & lots:
            found.append(f"{len(back)} deleted lots came back")
        return found

    def _met(self, centre: psycopg.Connection[tuple[Any, ...]]) -> dict[str, object]:
        """Return what the run has met, so that one that met nothing is seen to."""
        row = centre.execute(
            """SELECT (SELECT sum(last_n) FROM sync.epoch), (SELECT count(*) FROM mes.sync_parked),
                      (SELECT count(*) FROM sync.settled WHERE settled_at IS NOT NULL),
                      (SELECT sum(pos) FROM sync.feed_head)"""
        ).fetchone()
        assert row is not None
        ledger = self.ledger
        lags = sorted(each.lag_s for each in self.report.samples) or [0.0]
        return {
            "oldest undecided write, median, 95 %, most (s)": ", ".join(
                f"{lags[min(len(lags) - 1, int(part * len(lags)))]:.1f}" for part in (0.5, 0.95, 1)
            ),
            "writes of notes, by all": len(ledger.seen),
            "of unknown outcome, as PostgreSQL went away": len(ledger.unsure),
            "notes on record": len(ledger.on_record),
            "facts": sum(map(len, ledger.facts.values())),
            "rows deleted by their site": len(ledger.deleted),
            "transactions applied": int(row[0]),
            "rows parked": row[1],
            "feed entries": int(row[3]),
            "sites that have settled": row[2],
        }


def _compared_at_rest(
    system: System, centre: psycopg.Connection[tuple[Any, ...]], site: str
) -> list[Comparison]:
    """Compare a site's tables with the centre's, again and again while they differ."""
    ends = time.monotonic() + LASTS_S
    while True:
        with closing(look(system.store(site))) as store:
            found = compare_site(store, centre, system.catalog, site)
        if all(each.equal for each in found) or time.monotonic() > ends:
            return found
        time.sleep(1)
