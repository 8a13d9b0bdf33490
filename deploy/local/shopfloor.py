"""What the programs of a plant write, as plain SQL into the site's SQLite store.

They know nothing of sync: each step is one transaction as an MES terminal, a PLC gateway or a
laboratory program would make it. Ids, site and time of a row come from the store's own defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from deploy.local.plainsql import PlainStore

MACHINES: Final = (
    ("M-01", "Turning centre 1", "TURNING"),
    ("M-02", "Turning centre 2", "TURNING"),
    ("M-03", "Milling centre", "MILLING"),
    ("M-04", "Cylindrical grinder", "GRINDING"),
    ("M-05", "Coordinate measuring machine", "INSPECTION"),
    ("M-06", "Packing line", "PACKING"),
)
ROUTE: Final = (
    ("TURN", "TURNING"),
    ("MILL", "MILLING"),
    ("GRIND", "GRINDING"),
    ("PACK", "PACKING"),
)
#: Rows in one transaction of a program that writes many.
BURST_ROWS: Final = 500
STOPS: Final = ("TOOL_BREAK", "NO_MATERIAL", "COOLANT", "OPERATOR_AWAY")
CHARACTERISTICS: Final = (
    ("outer diameter", 24.98, "mm"),
    ("runout", 0.012, "mm"),
    ("length", 180.4, "mm"),
)
NOW: Final = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
#: Orders of other programs, such as those that the demo lets both ends edit, are left alone.
OURS: Final = "(order_no LIKE 'PO-%' OR order_no LIKE 'LO-%')"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the site."""

    id: str
    code: str
    kind: str


class Shopfloor:
    """A site's programs; ``step`` makes one transaction of one of them."""

    def __init__(self, store: PlainStore, site: str, chance: random.Random) -> None:
        """Work on the store of a site that has had its first snapshot."""
        self._db = store
        self._site = site
        self._chance = chance
        self._session = str(UUID(int=chance.getrandbits(128), version=4))
        self._machines = self._commission()
        self._zone = self._time_zone()
        self._steps: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self._report), (22, self._measure), (12, self._switch_machine),
            (9, self._start_job), (8, self._finish_job), (6, self._release_order),
            (5, self._heartbeat), (4, self._receive_lot), (4, self._raise_alert),
            (4, self._tend_alert), (2, self._hold), (2, self._let_go), (2, self._take_note),
            (1, self._correct),
        )  # fmt: skip

    def step(self) -> int:
        """Do something that happens in a plant; return the number of rows written, perhaps none."""
        weights = [weight for weight, _ in self._steps]
        ((_, work),) = self._chance.choices(self._steps, weights)
        before = self._db.rows
        with self._db.transaction():
            work()
        return self._db.rows - before

    def burst(self, rows: int) -> int:
        """Write measurements as fast as the store takes them, as a gauge's program does at once."""
        before = self._db.rows
        while (left := rows - (self._db.rows - before)) > 0:
            with self._db.transaction():
                self._inspect(min(BURST_ROWS, left))
        return self._db.rows - before

    # --- orders and what is made of them ----------------------------------------------------

    def _release_order(self) -> None:
        """Take an order of the centre, or make one of our own, and plan its steps."""
        order = self._db.one(
            f"SELECT id, qty_ordered, uom FROM work_orders WHERE {OURS} AND exec_state = 'CREATED'"
            " AND cancel_requested = 0 ORDER BY priority DESC, order_no LIMIT 1"
        )
        if order is None:
            order = self._local_order()
        order_id, quantity, uom = order
        self._db.do(
            "UPDATE work_orders SET exec_state = 'RELEASED', assigned_line = ?,"
            " planned_start = ?, planned_end = ?, changed_by = ? WHERE id = ?",
            f"LINE-{self._chance.randint(1, 3)}", self._in_hours(1), self._in_hours(9),
            self._person_no(), order_id,
        )  # fmt: skip
        for seq, (segment, kind) in enumerate(ROUTE[: self._chance.randint(2, 4)], 1):
            self._db.insert(
                "job_orders", work_order_id=order_id, seq=seq * 10, segment_code=segment,
                equipment_id=self._machine(kind).id, qty_planned=quantity, uom=uom,
                exec_state="RELEASED",
            )  # fmt: skip

    def _local_order(self) -> tuple[str, str, str]:
        quantity = str(self._chance.randint(5, 200))
        number = f"LO-{self._chance.getrandbits(40):010x}"
        order_id = self._db.insert(
            "work_orders", order_no=number, source="LOCAL", material_code="PIN-8",
            qty_ordered=quantity, uom="pcs", due_at=self._in_hours(72),
        )  # fmt: skip
        return order_id, quantity, "pcs"

    def _start_job(self) -> None:
        job = self._db.one(
            "SELECT j.id, j.work_order_id, j.equipment_id FROM job_orders j"
            " JOIN work_orders w ON w.id = j.work_order_id"
            f" WHERE j.exec_state = 'RELEASED' AND {OURS} ORDER BY j.created_at, j.seq LIMIT 1"
        )
        if job is None:
            return self._release_order()
        job_id, order_id, machine_id = job
        self._db.do(
            f"UPDATE job_orders SET exec_state = 'IN_PROGRESS', actual_start = {NOW} WHERE id = ?",
            job_id,
        )
        self._db.do(
            f"UPDATE work_orders SET exec_state = 'IN_PROGRESS', actual_start = {NOW},"
            " changed_by = ? WHERE id = ? AND exec_state = 'RELEASED'",
            self._person_no(), order_id,
        )  # fmt: skip
        self._set_state(machine_id, "RUNNING", order_id=order_id)
        return None

    def _report(self) -> None:
        """Report what a running job made: the report, its material, the machine's counter."""
        job = self._running_job()
        if job is None:
            return self._start_job()
        job_id, order_id, machine_id, segment = job
        person = self._person()
        good = self._chance.randint(1, 24)
        scrap = self._chance.choice(("0", "0", "0", "1", "0.5"))
        response = self._db.insert(
            "job_responses", job_order_id=job_id, work_order_id=order_id, equipment_id=machine_id,
            person_id=person and person[0], report_type="PRODUCTION", segment_code=segment,
            started_at=self._in_hours(-self._chance.uniform(0.1, 2)), ended_at=self._in_hours(0),
            duration_s=f"{self._chance.uniform(300, 7200):.3f}", qty_good=good, qty_scrap=scrap,
            scrap_reason="DIMENSION" if scrap != "0" else None, shift_code=self._shift(),
            business_date=self._business_date(),
        )  # fmt: skip
        weight = f"{-good * self._chance.uniform(0.2, 0.9):.4f}"
        moved = {"work_order_id": order_id, "response_id": response}
        self._db.insert(
            "inventory_movements", kind="ISSUE", material_code="BAR-42CRMO4", qty_delta=weight,
            uom="kg", from_location="WIP", **moved,
        )  # fmt: skip
        self._db.insert(
            "inventory_movements", kind="PRODUCE", material_code="PIN-8", qty_delta=good,
            uom="pcs", to_location="FG-1", **moved,
        )  # fmt: skip
        self._db.do(
            "UPDATE equipment SET cycle_count = cycle_count + ? WHERE id = ?", good, machine_id
        )
        return None

    def _correct(self) -> None:
        """Correct the last report: a row of its own, never a change."""
        wrong = self._db.one(
            "SELECT id, work_order_id, equipment_id, segment_code FROM job_responses"
            " WHERE report_type = 'PRODUCTION' ORDER BY _seq DESC LIMIT 1"
        )
        if wrong is not None:
            self._db.insert(
                "job_responses", report_type="CORRECTION", corrects_id=wrong[0],
                work_order_id=wrong[1], equipment_id=wrong[2], segment_code=wrong[3],
                qty_good=-1, qty_scrap=1, scrap_reason="SURFACE",
            )  # fmt: skip

    def _finish_job(self) -> None:
        job = self._running_job()
        if job is None:
            return self._start_job()
        job_id, order_id, machine_id, _ = job
        self._db.do(
            f"UPDATE job_orders SET exec_state = 'COMPLETED', actual_end = {NOW} WHERE id = ?",
            job_id,
        )
        self._set_state(machine_id, "IDLE")
        self._db.do(
            f"UPDATE work_orders SET exec_state = 'COMPLETED', actual_end = {NOW}, changed_by = ?"
            " WHERE id = ? AND NOT EXISTS (SELECT 1 FROM job_orders j WHERE j.work_order_id ="
            " work_orders.id AND j.exec_state <> 'COMPLETED')",
            self._person_no(), order_id,
        )  # fmt: skip
        return None

    def _take_note(self) -> None:
        order = self._db.any(
            f"SELECT id FROM work_orders WHERE {OURS} AND exec_state = 'IN_PROGRESS'"
            " ORDER BY order_no"
        )
        if order is not None:
            note = self._chance.choice(
                ("second shift goes on", "tool changed", "first piece is good")
            )
            self._db.do(
                "UPDATE work_orders SET notes = ?, changed_by = ? WHERE id = ?",
                note, self._person_no(), order[0],
            )  # fmt: skip

    def _running_job(self) -> tuple[Any, ...] | None:
        return self._db.any(
            "SELECT j.id, j.work_order_id, j.equipment_id, j.segment_code FROM job_orders j"
            f" JOIN work_orders w ON w.id = j.work_order_id WHERE {OURS}"
            " AND j.exec_state = 'IN_PROGRESS' ORDER BY w.order_no, j.seq"
        )

    # --- machines, quality, material, people -------------------------------------------------

    def _switch_machine(self) -> None:
        """Stop a machine with a reason, or start it again and say why it stood."""
        machine = self._chance.choice(self._machines)
        state = self._db.one(
            "SELECT current_state, current_state_since FROM equipment WHERE id = ?", machine.id
        )
        if state is not None and state[0] == "DOWN":
            person = self._person()
            self._db.insert(
                "downtime_annotations", equipment_id=machine.id, from_at=state[1],
                to_at=self._in_hours(0), reason_code=self._chance.choice(STOPS),
                comment="found by the setter", person_id=person and person[0],
            )  # fmt: skip
            self._set_state(machine.id, "RUNNING")
        else:
            self._set_state(machine.id, "DOWN", reason=self._chance.choice(STOPS))

    def _set_state(
        self, machine_id: str, state: str, *, reason: str | None = None, order_id: str | None = None
    ) -> None:
        since = self._in_hours(0)
        self._db.insert(
            "equipment_state_events", equipment_id=machine_id, state=state, since=since,
            reason_code=reason, work_order_id=order_id,
        )  # fmt: skip
        self._db.do(
            "UPDATE equipment SET current_state = ?, current_state_since = ? WHERE id = ?",
            state, since, machine_id,
        )  # fmt: skip

    def _measure(self) -> None:
        self._inspect(self._chance.randint(2, 6))

    def _inspect(self, values: int) -> None:
        job, person = self._running_job(), self._person()
        result = self._db.insert(
            "inspection_results", work_order_id=job and job[1], passed=1, gauge_id="CMM-1",
            equipment_id=self._machine("INSPECTION").id, sample_no=self._chance.randint(1, 99),
            measured_at=self._in_hours(0), person_id=person and person[0],
        )  # fmt: skip
        for piece in range(values):
            name, nominal, uom = CHARACTERISTICS[piece % len(CHARACTERISTICS)]
            self._db.insert(
                "measurements", result_id=result, characteristic=name, piece_no=piece, uom=uom,
                value=f"{self._chance.gauss(nominal, nominal / 4000):.6f}", passed=1, defects=0,
            )  # fmt: skip

    def _raise_alert(self) -> None:
        self._db.insert(
            "quality_alerts", alert_type="SPC_RULE_1", severity=self._chance.randint(1, 3),
            equipment_id=self._chance.choice(self._machines).id, metric="outer diameter",
            threshold="25.02", actual=f"{self._chance.uniform(25.02, 25.2):.3f}", uom="mm",
            message="point beyond three sigma",
        )  # fmt: skip

    def _tend_alert(self) -> None:
        """Acknowledge an alert, or close one that was acknowledged."""
        alert = self._db.one(
            "SELECT id, state FROM quality_alerts WHERE alert_type = 'SPC_RULE_1'"
            " AND state <> 'RESOLVED' ORDER BY created_at LIMIT 1"
        )
        if alert is not None:
            state, word = (
                ("ACKNOWLEDGED", "acked") if alert[1] == "ACTIVE" else ("RESOLVED", "resolved")
            )
            self._db.do(
                f"UPDATE quality_alerts SET state = ?, {word}_at = {NOW}, {word}_by = ?"
                " WHERE id = ?",
                state, self._person_no(), alert[0],
            )  # fmt: skip

    def _hold(self) -> None:
        order = self._db.any(
            f"SELECT id FROM work_orders WHERE {OURS} AND exec_state = 'IN_PROGRESS'"
            " ORDER BY order_no"
        )
        if order is not None:
            self._db.insert(
                "holds", target_type="WORK_ORDER", target_id=order[0], reason_code="QUALITY_CHECK",
                placed_by=self._person_no() or "quality", placed_at=self._in_hours(0),
            )  # fmt: skip

    def _let_go(self) -> None:
        hold = self._db.one(
            "SELECT id FROM holds WHERE reason_code = 'QUALITY_CHECK' AND released_at IS NULL"
            " ORDER BY placed_at LIMIT 1"
        )
        if hold is not None:
            self._db.do(
                f"UPDATE holds SET released_at = {NOW}, released_by = ? WHERE id = ?",
                self._person_no(), hold[0],
            )  # fmt: skip

    def _receive_lot(self) -> None:
        weight = f"{self._chance.uniform(80, 900):.2f}"
        lot = self._db.insert(
            "material_lots", lot_no=f"L-{self._chance.getrandbits(36):09x}", uom="kg",
            material_code="BAR-42CRMO4", supplier_lot=f"H{self._chance.randint(10000, 99999)}",
            received_at=self._in_hours(0), location="RACK-3",
        )  # fmt: skip
        self._db.insert(
            "inventory_movements", lot_id=lot, kind="RECEIPT", material_code="BAR-42CRMO4",
            qty_delta=weight, uom="kg", to_location="RACK-3",
        )  # fmt: skip
        parent = self._db.one("SELECT id FROM material_lots WHERE id <> ? LIMIT 1", lot)
        if parent is not None and self._chance.random() < 0.3:
            self._db.insert(
                "lot_genealogy", parent_lot_id=parent[0], child_lot_id=lot, relation="SPLIT",
                qty=weight, uom="kg",
            )  # fmt: skip

    def _heartbeat(self) -> None:
        person = self._person()
        self._db.insert(
            "user_sessions", session_id=self._session, event="HEARTBEAT",
            person_id=person and person[0], person_no=person and person[1], terminal="HMI-2",
        )  # fmt: skip

    # --- the site itself ------------------------------------------------------------------------

    def _commission(self) -> list[Machine]:
        """Enter our machines where they are not entered yet."""
        with self._db.transaction():
            for code, name, kind in MACHINES:
                if self._db.one("SELECT 1 FROM equipment WHERE equipment_code = ?", code) is None:
                    self._db.insert(
                        "equipment", equipment_code=code, name=name, equipment_class=kind,
                        current_state="IDLE", current_state_since=self._in_hours(0),
                    )  # fmt: skip
        kinds = {code: kind for code, _, kind in MACHINES}
        rows = self._db.all("SELECT id, equipment_code FROM equipment ORDER BY equipment_code")
        return [Machine(key, code, kinds[code]) for key, code in rows if code in kinds]

    def _time_zone(self) -> ZoneInfo:
        found = self._db.one("SELECT timezone FROM sites WHERE code = ?", self._site)
        return ZoneInfo(found[0] if found else "UTC")

    def _machine(self, kind: str) -> Machine:
        return self._chance.choice([each for each in self._machines if each.kind == kind])

    def _person(self) -> tuple[Any, ...] | None:
        return self._db.any("SELECT id, person_no FROM persons ORDER BY person_no")

    def _person_no(self) -> str | None:
        person = self._person()
        return str(person[1]) if person else None

    def _now(self) -> datetime:
        row = self._db.one("SELECT CAST(strftime('%s', 'now') AS INTEGER)")
        assert row is not None
        return datetime.fromtimestamp(row[0], UTC)

    def _in_hours(self, hours: float) -> str:
        moment = self._now() + timedelta(hours=hours)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self._chance.randrange(1000):03d}Z"

    def _shift(self) -> str:
        return ("NIGHT", "EARLY", "LATE")[(self._now().astimezone(self._zone).hour + 2) // 8 % 3]

    def _business_date(self) -> str:
        """Return the day by the site's own clock; it begins at six."""
        return (self._now().astimezone(self._zone) - timedelta(hours=6)).date().isoformat()
