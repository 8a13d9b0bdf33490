"""Rows that both ends write while a site is cut off, and what has to stand afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from central.canonical import column_expressions
from shared.values import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.local.plainsql import PlainStore
    from deploy.local.planning import Office
    from shared.catalog import Catalog
    from shared.changes import Value

Values = dict[str, Any]

#: The later of two writes is told by the clock: they are made this far apart, in seconds.
APART_S: Final = 0.06
LATE: Final = "2026-12-24T12:00:00Z"
OPERATOR: Final = "marc.operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarrel:
    """One row, what each end makes of it without having seen the other, and what must stand."""

    what: str
    table: str
    #: The natural key, or whatever tells the row: a column and its value.
    key: tuple[str, str]
    #: Further columns of the row as both have seen it.
    base: Values
    #: What the site sets; None: it deletes the row.
    here: Values | None
    #: What the centre sets; None: it deletes the row.
    central: Values | None
    #: None: the row is gone.
    expected: Values | None
    #: The policy that has to be in the history; empty where the writes do not touch.
    policy: str
    centre_first: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that somebody writes, in the order of the names."""
        return tuple(sorted((self.here or {}).keys() | (self.central or {}).keys()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one quarrel ended."""

    quarrel: Quarrel
    #: What stands at each end; None: no row.
    edge: Mapping[str, Value] | None
    centre: Mapping[str, Value] | None
    #: Policies under which the history has the row.
    policies: tuple[str, ...]

    @property
    def wrong(self) -> str:
        """Return what is not as it has to be; "" where all is."""
        expected, policy = self.quarrel.expected, self.quarrel.policy
        if self.edge != expected:
            return f"the site has {self.edge}, not {expected}"
        if self.centre != expected:
            return f"the centre has {self.centre}, not {expected}"
        if policy and policy not in self.policies:
            return f"the history has no conflict of policy {policy}"
        if not policy and self.policies:
            return f"the history has a conflict where there was none: {', '.join(self.policies)}"
        return ""


def _order(number: int, what: str, **rest: Any) -> Quarrel:
    key = ("order_no", f"DEMO-{number:02d}")
    base = {"qty_ordered": "100", "exec_state": "CREATED"} | rest.pop("base", {})
    return Quarrel(what=what, table="work_orders", key=key, base=base, **rest)


#: The row that the report shows in full.
SHOWN: Final = ("order_no", "DEMO-01")

QUARRELS: Final = (
    _order(
        1, "same column, the site wrote last", base={"notes": "see drawing"}, policy="last_write",
        here={"notes": "drawing B is torn, took drawing C"}, central={"notes": "use drawing B"},
        expected={"notes": "drawing B is torn, took drawing C"}, centre_first=True,
    ),
    _order(
        2, "same column, the centre wrote last", policy="last_write", here={"notes": "waits"},
        central={"notes": "customer has called"}, expected={"notes": "customer has called"},
    ),
    _order(
        3, "different columns of one row", policy="", here={"assigned_line": "LINE-9"},
        central={"customer_ref": "K-0815"},
        expected={"assigned_line": "LINE-9", "customer_ref": "K-0815"},
    ),
    _order(
        4, "due date: planning belongs to the centre", policy="central",
        here={"due_at": "2026-12-31T12:00:00Z"}, central={"due_at": LATE},
        expected={"due_at": "2026-12-24T12:00:00.000Z"}, centre_first=True,
    ),
    _order(
        5, "line: the machine is at the site", policy="site", here={"assigned_line": "LINE-2"},
        central={"assigned_line": "LINE-7"}, expected={"assigned_line": "LINE-2"},
    ),
    _order(
        6, "state: the further along stands", policy="lattice", here={"exec_state": "COMPLETED"},
        central={"exec_state": "RELEASED"}, expected={"exec_state": "COMPLETED"},
    ),
    _order(
        7, "the centre deletes, the site edits", policy="delete", here={"notes": "in work"},
        central=None, expected=None,
    ),
    _order(
        8, "the site deletes, the centre edits", policy="delete", here=None,
        central={"notes": "urgent"}, expected=None, centre_first=True,
    ),
    _order(
        9, "actual start: the earlier stands", policy="min",
        here={"actual_start": "2026-11-02T06:10:00Z"},
        central={"actual_start": "2026-11-02T06:30:00Z"},
        expected={"actual_start": "2026-11-02T06:10:00.000Z"},
    ),
    Quarrel(
        what="severity: the larger stands", table="quality_alerts", policy="max",
        key=("alert_type", "DEMO-10"), base={"severity": 2}, here={"severity": 4},
        central={"severity": 3}, expected={"severity": 4},
    ),
    Quarrel(
        what="counter: both changes count", table="materials", policy="sum",
        key=("material_code", "DEMO-11"), base={"kanban_cards_open": 10},
        here={"kanban_cards_open": 15}, central={"kanban_cards_open": 8},
        expected={"kanban_cards_open": 13},
    ),
    Quarrel(
        what="set: a removal removes what it saw", table="equipment", policy="add_remove_set",
        key=("equipment_code", "DEMO-12"), base={"tags": '["dry","wet"]'},
        here={"tags": '["dry","new"]'}, central={"tags": '["dry","hot","wet"]'},
        expected={"tags": '["dry","hot","new"]'},
    ),
    Quarrel(
        what="disposition: a person decides", table="nonconformances", policy="review",
        key=("ncr_no", "DEMO-13"), base={"description": "bore 0.02 too wide"},
        here={"disposition": "REWORK"}, central={"disposition": "SCRAP"},
        expected={"disposition": "REWORK"},
    ),
)  # fmt: skip


def prepare(office: Office, site: str) -> dict[str, str]:
    """Make the rows at the centre; return the id of each by its key's value."""
    ids = {}
    for quarrel in QUARRELS:
        values = {quarrel.key[0]: quarrel.key[1]} | quarrel.base
        marks = ", ".join(["%s"] * len(values))
        text = (
            f"INSERT INTO mes.{quarrel.table} ({', '.join(values)}) VALUES ({marks}) RETURNING id"
        )
        ids[quarrel.key[1]] = str(office.ask(site, text, list(values.values()))[0][0])
    return ids


def have_arrived(store: PlainStore) -> bool:
    """Tell whether the site has all the rows."""
    return all(
        store.one(f"SELECT 1 FROM {q.table} WHERE {q.key[0]} = ?", q.key[1]) for q in QUARRELS
    )


def write_both(store: PlainStore, office: Office, site: str) -> None:
    """Let both ends write, each row at the end first whose turn it is."""
    for centre_first in (True, False):
        mine = [quarrel for quarrel in QUARRELS if quarrel.centre_first is centre_first]
        for at_the_centre in (centre_first, not centre_first):
            for quarrel in mine:
                if at_the_centre:
                    _write_centre(office, site, quarrel)
                else:
                    _write_site(store, quarrel)
            time.sleep(APART_S)  # the clocks have to tell the two apart


def _write_site(store: PlainStore, quarrel: Quarrel) -> None:
    where = f"WHERE {quarrel.key[0]} = ?"
    with store.transaction():
        if quarrel.here is None:
            store.do(f"DELETE FROM {quarrel.table} {where}", quarrel.key[1])
        else:
            values = quarrel.here | {"changed_by": OPERATOR}
            changes = ", ".join(f"{name} = ?" for name in values)
            store.do(
                f"UPDATE {quarrel.table} SET {changes} {where}", *values.values(), quarrel.key[1]
            )


def _write_centre(office: Office, site: str, quarrel: Quarrel) -> None:
    where = f"WHERE site_id = %s AND {quarrel.key[0]} = %s"
    if quarrel.central is None:
        office.write(site, f"DELETE FROM mes.{quarrel.table} {where}", [(site, quarrel.key[1])])
        return
    changes = ", ".join(f"{name} = %s" for name in quarrel.central)
    given = (*quarrel.central.values(), site, quarrel.key[1])
    office.write(site, f"UPDATE mes.{quarrel.table} SET {changes} {where}", [given])


def outcomes(
    store: PlainStore, office: Office, catalog: Catalog, site: str, ids: Mapping[str, str]
) -> list[Outcome]:
    """Return how all quarrels ended."""
    found = []
    for quarrel in QUARRELS:
        key, table = ids[quarrel.key[1]], catalog.table(quarrel.table)
        columns = [table.column(name) for name in quarrel.columns]
        listed = ", ".join(quarrel.columns)
        here = store.one(f"SELECT {listed} FROM {quarrel.table} WHERE id = ?", key)
        there = office.ask(
            site,
            f"SELECT {column_expressions(columns)} FROM mes.{quarrel.table} t"
            " WHERE site_id = %s AND id = %s",
            [site, key],
        )
        history = office.ask(
            site,
            "SELECT DISTINCT policy FROM mes.sync_conflicts WHERE row_id = %s ORDER BY policy",
            [key],
        )
        forms = [canonical(c.type, v) for c, v in zip(columns, here, strict=True)] if here else []
        edge = dict(zip(quarrel.columns, forms, strict=True)) if here else None
        centre = dict(zip(quarrel.columns, there[0], strict=True)) if there else None
        found.append(Outcome(quarrel, edge, centre, tuple(policy for (policy,) in history)))
    return found
