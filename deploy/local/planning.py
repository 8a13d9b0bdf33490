"""What people do at the centre, as plain SQL: master records, orders, and changes of plan."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

PLANNER: Final = "ines.planner"
ORDERS_AT_FIRST: Final = 20
PERSONS_A_SITE: Final = 6
MATERIALS: Final = (
    ("BAR-42CRMO4", "Round bar 42CrMo4", "RAW", "kg", "1.85"),
    ("PIN-8", "Pin 8 mm, ground", "FINISHED", "pcs", "0.4275"),
    ("SHAFT-25", "Shaft 25 x 180", "FINISHED", "pcs", "12.9"),
    ("HOUSING-3", "Bearing housing", "FINISHED", "pcs", "31.25"),
)
REASONS: Final = (
    ("DOWNTIME", "TOOL_BREAK", "Tool broken", "ADET"),
    ("DOWNTIME", "NO_MATERIAL", "No material", "ADOT"),
    ("DOWNTIME", "COOLANT", "Coolant", "ADET"),
    ("DOWNTIME", "OPERATOR_AWAY", "Operator away", "ADOT"),
    ("SCRAP", "DIMENSION", "Out of dimension", None),
    ("SCRAP", "SURFACE", "Surface", None),
    ("HOLD", "QUALITY_CHECK", "Quality check", None),
)


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A site as the centre knows it."""

    name: str
    title: str
    region: str
    timezone: str
    country: str


THREE_SITES: Final = (
    SitePlan("SITE_001", "Rochester", "North America East", "America/New_York", "US"),
    SitePlan("SITE_019", "Lyon", "Europe", "Europe/Paris", "FR"),
    SitePlan("SITE_026", "Nagoya", "Asia Pacific", "Asia/Tokyo", "JP"),
)


def utc_sites(count: int) -> tuple[SitePlan, ...]:
    """Return so many sites that keep UTC, for a log whose instants have no zone."""
    return tuple(
        SitePlan(f"SITE_{number:03d}", f"Plant {number}", "Log", "UTC", "IL")
        for number in range(1, count + 1)
    )


class Office:
    """The centre's people, each transaction as the role of its programs."""

    def __init__(self, url: str, chance: random.Random, *, first_order: int = 1) -> None:
        """Connect by ``url`` as mes_app; orders are numbered from ``first_order``."""
        self.connection = psycopg.connect(url)
        self._chance = chance
        self._order = first_order

    def close(self) -> None:
        """Disconnect."""
        self.connection.close()

    def write(self, site: str, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run the statement for each row in one transaction that works for ``site`` ('*': all)."""
        with self.connection.transaction():
            self._work_for(site)
            with self.connection.cursor() as cursor:
                cursor.executemany(statement.encode(), rows)

    def ask(self, site: str, query: str, given: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query that works for ``site``; it may write as well."""
        with self.connection.transaction():
            self._work_for(site)
            return self.connection.execute(query.encode(), given).fetchall()

    def _work_for(self, site: str) -> None:
        self.connection.execute(
            "SELECT set_config('app.current_site_id', %s, true),"
            " set_config('app.person', %s, true)",
            [site, PLANNER],
        )

    # --- master records -----------------------------------------------------------------------

    def enter_masters(self, sites: Sequence[SitePlan]) -> int:
        """Enter sites, materials, reasons and persons; return how many rows that makes."""
        places = [(s.name, s.title, s.region, s.timezone, s.country) for s in sites]
        self.write(
            "*",
            "INSERT INTO mes.sites (code, name, region, timezone, country, business_day_start)"
            " VALUES (%s, %s, %s, %s, %s, '06:00')",
            places,
        )
        self.write(
            "*",
            "INSERT INTO mes.material_definitions"
            " (material_code, description, material_type, base_uom, standard_cost, currency)"
            " VALUES (%s, %s, %s, %s, %s, 'EUR')",
            MATERIALS,
        )
        self.write(
            "*",
            "INSERT INTO mes.reason_codes (kind, code, label, time_element)"
            " VALUES (%s, %s, %s, %s)",
            REASONS,
        )
        persons = [
            (f"{site.name[-3:]}-{number:03d}", f"Operator {number} of {site.title}", site.name)
            for site in sites
            for number in range(1, PERSONS_A_SITE + 1)
        ]
        self.write(
            "*",
            "INSERT INTO mes.persons (person_no, name, home_site_id) VALUES (%s, %s, %s)",
            persons,
        )
        return len(places) + len(MATERIALS) + len(REASONS) + len(persons)

    def order(self, site: str, count: int, now: datetime) -> int:
        """Order ``count`` lots of parts from a site; return their number."""
        rows = []
        for _ in range(count):
            material, _, _, uom, _ = self._chance.choice(MATERIALS[1:])
            due = now + timedelta(hours=self._chance.randint(12, 240))
            quantity = f"{self._chance.randint(10, 500)}"
            priority = self._chance.randint(10, 90)
            rows.append((f"PO-{self._order:06d}", material, quantity, uom, due, priority, "K-4711"))
            self._order += 1
        self.write(
            site,
            "INSERT INTO mes.work_orders (order_no, source, material_code, qty_ordered, uom,"
            " due_at, priority, customer_ref) VALUES (%s, 'ERP', %s, %s, %s, %s, %s, %s)",
            rows,
        )
        return count

    def change_plan(self, site: str, now: datetime) -> None:
        """Do what a planner does all day: move an order, or order something more."""
        if self._chance.random() < 0.3:
            self.order(site, 1, now)
            return
        due = now + timedelta(hours=self._chance.randint(12, 240))
        self.ask(
            site,
            "UPDATE mes.work_orders SET due_at = %s, priority = %s WHERE id = (SELECT id"
            " FROM mes.work_orders WHERE site_id = %s AND order_no LIKE 'PO-%%'"
            " AND exec_state IN ('CREATED', 'RELEASED') ORDER BY order_no OFFSET %s LIMIT 1)"
            " AND site_id = %s RETURNING id",
            [due, self._chance.randint(10, 90), site, self._chance.randint(0, 9), site],
        )


class Planner:
    """Changes plans at the centre, every so often, for as long as the block runs."""

    def __init__(
        self, url: str, sites: Sequence[str], chance: random.Random, *, pause_s: float,
        first_order: int = 100_001,
    ) -> None:  # fmt: skip
        """Say how often; no two planners of one centre may number their orders alike."""
        self._first_order = first_order
        self._url = url
        self._sites = sites
        self._chance = chance
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)
        self.check()

    def check(self) -> None:
        """Raise what the planner stumbled on."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            office = Office(self._url, self._chance, first_order=self._first_order)
            try:
                while not self._stop.wait(self._pause_s):
                    office.change_plan(self._chance.choice(self._sites), utc_now(office))
            finally:
                office.close()
        except psycopg.Error as error:
            self._failure = error


def utc_now(office: Office) -> datetime:
    """Return the centre's time."""
    ((now,),) = office.ask("*", "SELECT now()")
    assert isinstance(now, datetime)
    return now.astimezone(UTC)
