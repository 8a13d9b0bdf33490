"""What programs write: those of the sites into their stores, those of the centre into theirs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.sim.catalogue import CREATED, GOOD_MAX, MADE_MAX, NEW, SITES, STATES, as_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from shared.catalog import Catalog, Table

Row = dict[str, Any]
Rows: TypeAlias = "Mapping[str, list[Row]]"
Statement = tuple[str, tuple[Any, ...]]

#: Orders that a site works on at least.
ORDERS_MIN: Final = 3
ORDERS_MAX: Final = 7
CODES: Final = ("C1", "C2", "C3")
SEVERITIES: Final = (1, 2, 3, 4)
#: What a program does, and how often.
KINDS: Final = {
    "order_changes": 46, "order_is_reported": 12, "state_goes_back": 6, "step_is_made": 10,
    "step_changes": 8, "person_changes": 6, "row_goes": 8, "order_is_replaced": 4,
}  # fmt: skip


class Writer:
    """Makes up rows and changes of them; the same chance makes the same."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.count = 0

    def mark(self) -> str:
        """Return a text that nobody wrote before."""
        self.count += 1
        return f"m{self.count}"

    def id(self) -> str:
        """Return an id that nobody has; not in the order of time, as real ones nearly are."""
        self.count += 1
        return f"{self.chance.getrandbits(32):08x}-{self.count:04x}-7000-8000-000000000000"

    def created(self) -> str:
        """Return when a new row is made, in one of a few hours."""
        return CREATED.replace("T08", f"T{self.chance.randrange(6, 12):02d}")

    # --- one row ---------------------------------------------------------------------------------

    def whole(self, table: Table, parent: str | None = None) -> Row:
        """Return a new row's columns."""
        row = {column.name: column.default for column in table.columns}
        row |= self.change(table, row, parent)
        if parent is not None:
            row["order_id"] = parent
        return row

    def change(self, table: Table, row: Mapping[str, Any], parent: str | None = None) -> Row:
        """Return new values for a few columns of a row."""
        del parent
        kinds = getattr(self, f"_{table.name}")(as_in(NEW.table(table.name), row))
        known = [as_in(table, kind) for kind in kinds]
        known = [kind for kind in known if kind.keys() <= set(table.names)]
        new: Row = {}
        for some in self.chance.sample(known, min(len(known), self.chance.choice((1, 1, 2, 3)))):
            new |= some
        return new

    def _orders(self, row: Mapping[str, Any]) -> list[Row]:
        chance, mark = self.chance, self.mark()
        made, rank = row["made"] or 0, STATES.index(row["state"] or STATES[0])
        holds = [set(json.loads(row["holds"] or "[]")) ^ {chance.choice("abcd")} for _ in "12"]
        return [
            {"note": mark}, {"due": mark}, {"shelf": mark}, {"extra": mark},
            {"made": min(made + chance.randrange(1, 9), MADE_MAX)},
            {"severity": chance.choice(SEVERITIES), "severity_by": mark},
            {"severity_by": mark},
            {"earliest": chance.choice((*range(5, 12), None))},
            {"state": STATES[min(rank + chance.randrange(3), 3)]},
            *({"holds": json.dumps(sorted(each), separators=(",", ":"))} for each in holds),
            {"dose": chance.choice((None, 10, 20, 30, 40))},
            {"worker": mark, "seat": chance.randrange(9)}, {"seat": chance.randrange(9)},
            {"code": chance.choice((*CODES, None))},
            {"changed_by": chance.choice(("ann", "bob")), "note": mark},
        ]  # fmt: skip

    def _steps(self, row: Mapping[str, Any]) -> list[Row]:
        chance = self.chance
        return [
            {"seq": chance.choice((1, 2, 3, None))}, {"note": self.mark()},
            {"limit_low": chance.choice((None, 1, 2, 3))},
        ]  # fmt: skip

    def _people(self, row: Mapping[str, Any]) -> list[Row]:
        return [{"name": self.mark()}, {"phone": self.mark()}, {"sites": self.sites()}]

    def _parts(self, row: Mapping[str, Any]) -> list[Row]:
        return [{"title": self.mark()}, {"code": self.mark()}]

    def sites(self) -> str:
        """Return some sites, as a set's text."""
        some = [site for site in SITES if self.chance.random() < 0.4]
        return json.dumps(some, separators=(",", ":"))

    # --- a site's program ------------------------------------------------------------------------

    def transaction(self, site: str, catalog: Catalog, rows: Rows) -> list[Statement]:
        """Return what a program of a site does in one transaction, given the rows it sees."""
        statements: list[Statement] = []
        for _ in range(self.chance.choice((1, 1, 1, 2, 3, 6))):
            statements += self._some(site, catalog, rows)
        return statements

    def _some(self, site: str, catalog: Catalog, rows: Rows) -> list[Statement]:
        chance, orders = self.chance, rows["orders"]
        if len(orders) < ORDERS_MIN or (len(orders) < ORDERS_MAX and chance.random() < 0.1):
            return self._order_with_steps(site, catalog)
        what = chance.choices(list(KINDS), list(KINDS.values()))[0]
        return list(getattr(self, f"_{what}")(site, catalog, rows, chance.choice(orders)))

    def _order_changes(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        yield self._update(catalog.table("orders"), order)

    def _order_is_reported(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        yield self._fact(site, catalog, order)

    def _state_goes_back(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        if order["state"] not in (None, STATES[0]):
            yield from self._release(site, catalog, order)

    def _step_is_made(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        yield self._new_row(site, catalog.table("steps"), parent=order["id"])

    def _step_changes(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        if rows["steps"]:
            yield self._update(catalog.table("steps"), self.chance.choice(rows["steps"]))

    def _person_changes(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        own = [row for row in rows["people"] if row["site_id"] == site]
        if own and self.chance.random() < 0.7:
            yield self._update(catalog.table("people"), self.chance.choice(own))
        else:
            yield self._new_row(site, catalog.table("people"), home=site)

    def _row_goes(self, site: str, catalog: Catalog, rows: Rows, order: Row) -> list[Statement]:
        return self._gone(site, catalog, order, rows)

    def _order_is_replaced(
        self, site: str, catalog: Catalog, rows: Rows, order: Row
    ) -> Iterator[Statement]:
        yield self._replace(site, catalog.table("orders"), order)

    def _order_with_steps(self, site: str, catalog: Catalog) -> list[Statement]:
        order_id = self.id()
        statements = [self._new_row(site, catalog.table("orders"), id=order_id)]
        steps, count = catalog.table("steps"), self.chance.choice((0, 0, 1, 2))
        statements += [self._new_row(site, steps, parent=order_id) for _ in range(count)]
        if self.chance.random() < 0.3:
            statements.append(self._fact(site, catalog, {"id": order_id}))
        return statements

    def _gone(self, site: str, catalog: Catalog, order: Row, rows: Rows) -> list[Statement]:
        """Delete a row, and sometimes make it anew under the same id."""
        if rows["steps"] and self.chance.random() < 0.3:
            step = self.chance.choice(rows["steps"])
            return [("DELETE FROM steps WHERE id = ?", (step["id"],))]
        statements: list[Statement] = [("DELETE FROM orders WHERE id = ?", (order["id"],))]
        if self.chance.random() < 0.3:
            statements.append(self._new_row(site, catalog.table("orders"), id=order["id"]))
        return statements

    def again(self, site: str, catalog: Catalog, row_id: str) -> list[Statement]:
        """Make a row anew that was deleted."""
        return [self._new_row(site, catalog.table("orders"), id=row_id)]

    def _replace(self, site: str, table: Table, order: Row) -> Statement:
        """Put a whole row in the place of another: one of that id, or of that code."""
        row = {**order, **self.change(table, order)}
        if self.chance.random() < 0.4:
            row |= {"id": self.id(), "code": self.chance.choice(CODES)}
        names = ("id", "site_id", "created_at", *table.names)
        return _insert("INSERT OR REPLACE", table, {name: row[name] for name in names})

    def _fact(self, site: str, catalog: Catalog, order: Row) -> Statement:
        table = catalog.table("reports")
        good = self.chance.choice((0, 1, 2, 50, GOOD_MAX, GOOD_MAX + 1))
        # An order that is not there, and may come: the fact waits for it at the centre.
        row = {"order_id": order["id"], "good": good}
        return _insert("INSERT", table, self._keys(site) | row)

    def _release(self, site: str, catalog: Catalog, order: Row) -> list[Statement]:
        state = order["state"] or STATES[0]
        to_state = STATES[self.chance.randrange(STATES.index(state))]
        steps = {"order_id": order["id"], "from_state": state, "to_state": to_state}
        signed = _insert("INSERT", catalog.table("releases"), self._keys(site) | steps)
        if self.chance.random() < 0.3:
            return [signed]
        back = ("UPDATE orders SET state = ? WHERE id = ?", (to_state, order["id"]))
        return [signed, back]

    def _keys(self, site: str) -> Row:
        return {"id": self.id(), "site_id": site, "created_at": self.created()}

    def _new_row(
        self, site: str, table: Table, parent: str | None = None, **given: str
    ) -> Statement:
        return _insert("INSERT", table, self._keys(site) | self.whole(table, parent) | given)

    def _update(self, table: Table, row: Row) -> Statement:
        new = self.change(table, row)
        listed = ", ".join(f"{name} = ?" for name in new)
        return f"UPDATE {table.name} SET {listed} WHERE id = ?", (*new.values(), row["id"])


def _insert(verb: str, table: Table, row: Row) -> Statement:
    holes = ", ".join("?" * len(row))
    return f"{verb} INTO {table.name} ({', '.join(row)}) VALUES ({holes})", tuple(row.values())


__all__ = ["CODES", "NEW", "Row", "Statement", "Writer"]
