"""The programs that write meanwhile: one of each site, and people at the centre.

They know nothing of sync, and keep a ledger of what they were told to be written.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import psycopg

from deploy.local.planning import Office

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from tests.soak.ledger import Ledger

#: Orders and machines of each site, which are written again and again by both ends.
ORDERS, MACHINES = 8, 3
#: Lots of a site that stand at a time: each step makes one, and deletes the oldest beyond.
LOTS_MAX: Final = 20
BUSY_S: Final = 30.0
NOW: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
_FACT: Final = (
    f"INSERT INTO equipment_state_events (id, equipment_id, state, since)"
    f" VALUES (?, ?, 'RUNNING', {NOW})"
)
_REPORT: Final = (
    "INSERT INTO job_responses (id, work_order_id, equipment_id, report_type, qty_good, qty_scrap)"
    " VALUES (?, ?, ?, 'PRODUCTION', ?, ?)"
)
_MOVEMENT: Final = (
    "INSERT INTO inventory_movements (id, lot_id, kind, qty_delta) VALUES (?, ?, 'PRODUCE', '1')"
)
#: In its first step, and so many others, a plant moves a lot that it makes in the next one only:
#: it is parked.
_EARLY: Final = 0.05


class Writer(threading.Thread):
    """A thread that writes a little every so often until it is stopped."""

    def __init__(self, name: str, chance: random.Random, ledger: Ledger, *, pause_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.chance = chance
        self.ledger = ledger
        self._pause_s = pause_s
        self._told_to_stop = threading.Event()
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Have it stop after its step."""
        self._told_to_stop.set()

    def run(self) -> None:
        try:
            while not self._told_to_stop.wait(self.chance.uniform(0.5, 1.5) * self._pause_s):
                self.step()
        except BaseException as why:  # noqa: BLE001 - told by whoever waits for the thread
            self.failure = why
        finally:
            self.close()

    def step(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Plant(Writer):
    """A program of a site."""

    def __init__(
        self, site: str, store: Path, chance: random.Random, ledger: Ledger, *, pause_s: float,
        facts: int,
    ) -> None:  # fmt: skip
        super().__init__(site, chance, ledger, pause_s=pause_s)
        self._facts = facts
        self._lots: list[str] = []
        self._next_lot = str(uuid.uuid4())
        self._connection = sqlite3.connect(
            store, isolation_level=None, timeout=BUSY_S, check_same_thread=False
        )
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self.orders: list[str] = []
        self.machines: list[str] = []

    def commission(self) -> None:
        """Make the orders and machines."""
        self._do("BEGIN IMMEDIATE")
        for number in range(ORDERS):
            order = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
            self._do(
                "INSERT INTO work_orders (id, order_no, source, qty_ordered, uom)"
                " VALUES (?, ?, 'LOCAL', '10', 'pcs')",
                order, f"S-{self.name}-{number}",
            )  # fmt: skip
            self.orders.append(order)
        for number in range(MACHINES):
            machine = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
            self._do(
                "INSERT INTO equipment (id, equipment_code, name, equipment_class)"
                " VALUES (?, ?, 'soaked', 'TURNING')",
                machine, f"S-{number}",
            )  # fmt: skip
            self.machines.append(machine)
        self._do("COMMIT")

    def step(self) -> None:
        """Write a note, count, add facts and report what was made; make a lot, delete another."""
        order, machine = self.chance.choice(self.orders), self.chance.choice(self.machines)
        facts = [str(uuid.uuid4()) for _ in range(self._facts)]
        text = self.ledger.next_note(self.name)
        self._do("BEGIN IMMEDIATE")
        saw = self._one("SELECT notes FROM work_orders WHERE id = ?", order)
        self._do("UPDATE work_orders SET notes = ?, changed_by = 'floor' WHERE id = ?", text, order)
        self._do("UPDATE equipment SET cycle_count = cycle_count + 1 WHERE id = ?", machine)
        self._connection.executemany(_FACT, [(fact, machine) for fact in facts])
        report, good = str(uuid.uuid4()), self.chance.randrange(1, 9)
        self._do(_REPORT, report, order, machine, str(good), str(self.chance.randrange(3)))
        is_first = not self._lots
        gone = self._turn_over_lots()
        if is_first or self.chance.random() < _EARLY:
            movement = str(uuid.uuid4())
            self._do(_MOVEMENT, movement, self._next_lot)
            self.ledger.fact("inventory_movements", [movement])
        self._do("COMMIT")
        self.ledger.note(text, saw)
        self.ledger.count(machine, 1)
        self.ledger.fact("equipment_state_events", facts)
        self.ledger.fact("job_responses", [report])
        for lot in gone:
            self.ledger.delete(lot)

    def _turn_over_lots(self) -> list[str]:
        lot, self._next_lot = self._next_lot, str(uuid.uuid4())
        self._do(
            "INSERT INTO material_lots (id, lot_no, material_code, uom) VALUES (?, ?, 'BAR', 'kg')",
            lot, f"L-{lot}",
        )  # fmt: skip
        self._lots.append(lot)
        gone, self._lots = self._lots[:-LOTS_MAX], self._lots[-LOTS_MAX:]
        for each in gone:
            self._do("DELETE FROM material_lots WHERE id = ?", each)
        return gone

    def _do(self, statement: str, *given: object) -> None:
        self._connection.execute(statement, given)

    def _one(self, query: str, *given: object) -> Any:
        row = self._connection.execute(query, given).fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Make the lot that may have been moved already."""
        with closing(self._connection):
            self._turn_over_lots()


class Planner(Writer):
    """A person at the centre, who writes the rows that the sites write, too."""

    def __init__(
        self, url: str, plants: list[Plant], chance: random.Random, ledger: Ledger, *,
        pause_s: float,
    ) -> None:  # fmt: skip
        super().__init__("CENTRE", chance, ledger, pause_s=pause_s)
        self._url = url
        self._plants = plants
        self._office: Office | None = None

    def step(self) -> None:
        """Write a note on an order, and correct a counter; while PostgreSQL is away, wait."""
        plant = self.chance.choice(self._plants)
        order, machine = self.chance.choice(plant.orders), self.chance.choice(plant.machines)
        text = self.ledger.next_note("CENTRE")
        saw: str | None = None
        try:
            if self._office is None:
                self._office = Office(self._url, self.chance)
            with self._office.connection.transaction():
                self._office._work_for(plant.name)
                saw = self._note(order, text)
                self._count(machine)
        except psycopg.Error:
            # Whether it was committed nobody can tell.
            self.ledger.note(text, saw, sure=False)
            self.ledger.count(machine, 1, sure=False)
            self.close()
            time.sleep(0.5)
        else:
            self.ledger.note(text, saw)
            self.ledger.count(machine, 1)

    def _note(self, order: str, text: str) -> str | None:
        assert self._office is not None
        execute = self._office.connection.execute
        row = execute("SELECT notes FROM mes.work_orders WHERE id = %s FOR UPDATE", [order])
        ((saw,),) = row.fetchall()
        execute("UPDATE mes.work_orders SET notes = %s WHERE id = %s", [text, order])
        return str(saw) if saw else None

    def _count(self, machine: str) -> None:
        assert self._office is not None
        self._office.connection.execute(
            "UPDATE mes.equipment SET cycle_count = cycle_count + 1 WHERE id = %s", [machine]
        )

    def close(self) -> None:
        if self._office is not None:
            with closing(self._office):
                self._office = None
