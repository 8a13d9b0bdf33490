"""What happens in the demo, act by act, on a world that runs."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from deploy.local import log, quarrel
from deploy.local.fleet import PLANT
from deploy.local.plainsql import PlainStore
from deploy.local.planning import ORDERS_AT_FIRST, Office, Planner, utc_now
from deploy.local.probe import Probe
from deploy.local.report import Rate
from deploy.local.settled import failure, look, owed
from deploy.local.shopfloor import Shopfloor
from shared.errors import Fatal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from deploy.local.world import World

#: Rows a second that a plant writes.
RATE: Final = 40.0
#: Measurements that each site writes at once, to see how fast they travel.
BURST_ROWS: Final = 10_000
PLANNER_PAUSE_S: Final = 0.4
#: How long things may take to settle once nobody writes any more.
SETTLE_MAX_S: Final = 90.0
#: More sites than this are not told one by one.
NAMED_MAX: Final = 5
LOOK_S: Final = 0.05
#: When the link is cut, and when it is healed, as shares of the time that the plants work.
CUT_AT: Final = 0.25
HEAL_AT: Final = 0.6


class NotSettled(Fatal):
    """Something that was written has not arrived everywhere in time."""


class Rehearsal:
    """The acts of the demo; each says what it does, and raises where something does not come."""

    def __init__(self, world: World, chance: random.Random, say: Callable[[str], None]) -> None:
        self._world = world
        self._chance = chance
        self._say = say
        self._stack = ExitStack()
        #: What the acts have found out.
        self.rates: list[Rate] = []
        self.latencies_ms: list[float] = []
        self.probes_lost = 0
        self.ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def lone_site(self) -> str:
        """Return the site that is cut off."""
        return self._world.sites[1]

    @property
    def office(self) -> Office:
        """Return the centre's people, who write as mes_app."""
        return self._office

    # --- opening ------------------------------------------------------------------------------

    def open(self, database_url: str, nats_url: str) -> None:
        """Start everything, enter master records and wait until each site has them."""
        world, say = self._world, self._say
        version = world.start_database(database_url)
        say(f"PostgreSQL {version} answers")
        say(f"nats-server answers; {world.start_broker(nats_url)}")
        world.migrate()
        say("the centre's tables are made, the sites registered")
        world.start_centre()
        for plan in world.plans:
            world.start_site(plan.name)
            if len(world.plans) <= NAMED_MAX:
                say(f"{plan.name} starts: {plan.title}, {plan.timezone}")
        if len(world.plans) > NAMED_MAX:
            say(f"{len(world.plans)} sites start")
        self._watch = self._stack.enter_context(psycopg.connect(world.url(), autocommit=True))
        self._office = Office(world.url("mes_app"), self._chance)
        self._stack.callback(self._office.close)
        rows = self._office.enter_masters(world.plans)
        say(f"{rows} master records entered at the centre by plain SQL")

    def receive_orders(self) -> None:
        """Order something from each site, and wait until it is there."""
        now = utc_now(self._office)
        orders = sum(self._office.order(s, ORDERS_AT_FIRST, now) for s in self._world.sites)
        self.settle(f"each site has its first snapshot and its share of {orders} orders")

    def settle(self, then: str) -> float:
        """Wait until nothing is on its way any more; return how long it took, in seconds."""
        began = time.monotonic()
        self._await(lambda: "; ".join(self._all_owed()))
        took = _since(began)
        self._say(f"{then} ({took:.1f} s)")
        return took

    def _all_owed(self) -> list[str]:
        """Return what is owed, in two looks: what is owed to one site may come of another's."""
        for _ in range(2):
            late = {site: why for site in self._world.sites if (why := self._owed(site))}
            if late:
                return [f"{site}: {', '.join(why)}" for site, why in late.items()]
        return []

    def _owed(self, site: str) -> list[str]:
        store = self._world.store(site)
        if not store.exists():
            return ["has no store yet"]
        found = owed(site, store, self._watch)
        # Only told: what failed once may have gone well since.
        return [*found, f"its agent met {why}"] if found and (why := failure(store)) else found

    # --- the plants work ----------------------------------------------------------------------

    def plants_work(self, seconds: float, seed: int) -> None:
        """Let the plants, the planners and the probe write; meanwhile cut one site off."""
        world, probe = self._world, self._probe()
        for site in world.sites:
            arguments = ("--store", str(world.store(site)), "--site", site, "--rate", str(RATE))
            more = ("--seconds", str(seconds), "--seed", str(seed))
            world.fleet.start(f"{site}-plant", PLANT, *arguments, *more)
        self._say(f"the plants write {RATE:.0f} rows/s each, the planners change orders")
        began = time.monotonic()
        planner = Planner(world.url("mes_app"), world.sites, self._chance, pause_s=PLANNER_PAUSE_S)
        with planner, probe:
            _sleep_until(began + seconds * CUT_AT)
            self.quarrel(probe, until=began + seconds * HEAL_AT)
            _sleep_until(began + seconds)
            for site in world.sites:
                world.fleet.wait(f"{site}-plant", seconds + 60)
        self._take(probe)
        self.settle("the plants have stopped; everything has arrived everywhere")

    def prepare_quarrel(self) -> None:
        """Make the rows that both ends are going to write."""
        site = self.lone_site
        self.ids = quarrel.prepare(self._office, site)
        missing = f"{site} has not got the rows that were made for it"
        with closing(PlainStore(self._world.store(site), self._chance)) as store:
            self._await(lambda: "" if quarrel.have_arrived(store) else missing)
        self._say(f"{len(self.ids)} rows for both ends to write are at {site}")

    def quarrel(self, probe: Probe, *, until: float) -> None:
        """Cut a site off, let both ends write the same rows, and heal the link at ``until``."""
        world, site = self._world, self.lone_site
        probe.leave_out(site)
        world.network.cut(site)
        self._say(f"{site} is cut off; both ends write the same {len(self.ids)} rows")
        with closing(PlainStore(world.store(site), self._chance)) as store:
            quarrel.write_both(store, self._office, site)
        _sleep_until(until)
        world.network.heal(site)
        healed = time.monotonic()
        n, rows = self._backlog(site)
        self._say(f"{site} is back; it has {rows} rows to send")
        self._await_applied(site, n)
        self.rates.append(Rate(f"backlog of {site}, reconnecting included", rows, _since(healed)))
        self._say(f"the centre has them ({_since(healed):.1f} s)")
        probe.leave_out()

    def _backlog(self, site: str) -> tuple[int, int]:
        """Return the last transaction that a site has drained, and the rows not decided yet."""
        with closing(look(self._world.store(site))) as store:
            query = (
                "SELECT s.last_n, coalesce(sum(o.rows), 0) FROM _sync_site s LEFT JOIN _sync_out o"
                " ON o.epoch = s.epoch AND o.n > s.acked_n AND o.part = 0"
            )
            row: tuple[int, int] = store.execute(query).fetchone()
        return row

    def _await_applied(self, site: str, n: int) -> None:
        query = b"SELECT max(last_n) FROM sync.epoch WHERE site = %s"

        def late() -> str:
            applied = self._one(query, [site]) or 0
            return "" if applied >= n else f"{site}: {applied} of {n} transactions are applied"

        self._await(late)

    def _await(self, late: Callable[[], str]) -> None:
        """Wait until nothing is late any more, as ``late`` says in words.

        What other processes have done is seen by looking only.
        """
        began = time.monotonic()
        while why := late():
            self._world.fleet.check()
            if _since(began) > SETTLE_MAX_S:
                raise NotSettled(f"not settled after {SETTLE_MAX_S:.0f} s: {why}")
            time.sleep(LOOK_S)  # other processes tell nobody that they are done

    # --- the log is loaded --------------------------------------------------------------------

    def load_log(self, data: Path, cut_s: float) -> dict[str, str]:
        """Import the log at all sites; return in what the centre's sums are wrong.

        Then one site is cut off for ``cut_s`` seconds, as while plants work.
        """
        self.settle("each site has its first snapshot")
        with self._probe() as probe:
            began = time.monotonic()
            log.import_everywhere(self._world, data)
            self._say(f"{data.name} is imported at {len(self._world.sites)} sites")
            # The probe goes on writing, so not everything is still for a moment.
            rows = self._await_reports(data)
            self.rates.append(Rate("the log, import included", rows, _since(began)))
            self._say(f"the centre has its {rows} reports")
            answers = log.check_answers(self._world.url("mes_ingest"), self._world.sites, data)
            self.prepare_quarrel()
            self.quarrel(probe, until=time.monotonic() + cut_s)
        self._take(probe)
        self.settle("everything has arrived everywhere")
        return answers

    def _await_reports(self, data: Path) -> int:
        """Wait until the centre has as many reports as all stores together; return their number."""
        expected = 0
        for site in self._world.sites:
            with closing(look(self._world.store(site))) as store:
                expected += store.execute("SELECT count(*) FROM job_responses").fetchone()[0]

        def late() -> str:
            there = self._one(b"SELECT count(*) FROM mes.job_responses", [])
            return "" if there >= expected else f"{there} of {expected} reports of {data} are there"

        self._await(late)
        return expected

    # --- how fast -----------------------------------------------------------------------------

    def burst(self) -> None:
        """Let all sites write many measurements at once, and time until the centre has them."""
        began, rows = time.monotonic(), 0
        for site in self._world.sites:
            with closing(PlainStore(self._world.store(site), self._chance)) as store:
                rows += Shopfloor(store, site, self._chance).burst(BURST_ROWS)
        self._say(f"{rows} measurements written at {len(self._world.sites)} sites at once")
        self.settle("the centre has them, and every site knows")
        self.rates.append(Rate("measurements, all sites at once", rows, _since(began)))

    def go_on(self, rate: float, seed: int) -> None:
        """Let the plants and planners go on slowly until interrupted."""
        world = self._world
        for site in world.sites:
            arguments = ("--store", str(world.store(site)), "--site", site, "--rate", str(rate))
            more = ("--seconds", "0", "--seed", str(seed + 1))
            world.fleet.start(f"{site}-plant", PLANT, *arguments, *more)
        pause_s = PLANNER_PAUSE_S * RATE / rate
        with Planner(
            world.url("mes_app"), world.sites, self._chance, pause_s=pause_s, first_order=200_001
        ) as planner:
            while True:
                world.fleet.check()
                planner.check()
                time.sleep(0.5)  # until Ctrl-C; a program that died is noticed meanwhile

    # --- the probe ----------------------------------------------------------------------------

    def _probe(self) -> Probe:
        stores = {site: self._world.store(site) for site in self._world.sites}
        return Probe(stores, self._world.url("mes_analyst"), self._chance)

    def _take(self, probe: Probe) -> None:
        self.latencies_ms += probe.latencies_ms
        self.probes_lost += probe.lost

    def _one(self, query: bytes, given: list[Any]) -> Any:
        row = self._watch.execute(query, given).fetchone()
        return row[0] if row else None


def _since(moment: float) -> float:
    return time.monotonic() - moment


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))  # plants work at a pace that was asked for
