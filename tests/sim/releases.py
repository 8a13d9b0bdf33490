"""Signed releases: what lets a state go back, once each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import Counter

    from shared.catalog import Table
    from tests.sim.sent import Change, Key, Row
    from tests.sim.verdicts import Verdict, Wish


class Releases:
    """Knows which releases are signed, and which of them are spent."""

    reach: Counter[str]
    rows: dict[Key, Row]
    facts: dict[Key, tuple[str, str, dict[str, Any]]]
    spent: set[str]

    def _releases(self, table: Table, row_id: str) -> list[tuple[str, dict[str, Any]]]:
        return sorted(
            (fact_id, values)
            for (name, fact_id), (_, _, values) in self.facts.items()
            if name == table.relax_by and values["order_id"] == row_id and fact_id not in self.spent
        )

    def _relaxed(self, table: Table, change: Change, row: Row) -> frozenset[str]:
        if table.relax_by is None or change.op != "U" or row.values is None:
            return frozenset()
        # Those of the same transaction come first.
        steps = [(v["from_state"], v["to_state"]) for _, v in self._releases(table, change.id)]
        return frozenset(
            c.name for c in table.columns
            if c.order and c.name in change.new
            and (row.values[c.name], change.new[c.name]) in steps
        )  # fmt: skip

    def _spend(self, table: Table, row: Row, verdict: Verdict, wish: Wish) -> None:
        for name in wish.relaxed:
            if row.values is None or verdict.row is None:
                continue
            before, after = row.values[name], verdict.row[name]
            order = table.column(name).order
            if before != after and order.index(after) < order.index(before):
                self.reach["signed release"] += 1
                fit = [
                    fact_id
                    for fact_id, values in self._releases(table, self._id_of(row))
                    if (values["from_state"], values["to_state"]) == (before, after)
                ]
                self.spent.add(fit[0])

    def _id_of(self, row: Row) -> str:
        return next(key[1] for key, each in self.rows.items() if each is row)
