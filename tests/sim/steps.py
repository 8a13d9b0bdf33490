"""The order in which sites see what the centre did: whole steps, one after the other.

Read from PostgreSQL and from the sites' stores, without the product's own word on it: rows of
``sync.feed`` that one transaction wrote are a step, and the heads that stand in a store must be
those of all steps up to one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shared.changes import SHARED, Fate, FeedEntry
from tests.sim.oracle import fail

if TYPE_CHECKING:
    from collections import Counter

    from tests.sim.oracle import Key, Oracle
    from tests.sim.site import Site

#: A row and the order of a version of it.
_Head = tuple[str, str, int]

_ORDERS = """
SELECT t.name, r.id, r.ord FROM _sync_row r JOIN _sync_table t ON t.no = r.table_no WHERE r.ord > 0
UNION SELECT t.name, s.id, s.ord FROM _sync_shadow s JOIN _sync_table t ON t.no = s.table_no
UNION SELECT table_name, id, ord FROM _sync_aside WHERE version <> '' AND ord IS NOT NULL"""


class Steps:
    """Holds what the sites show against the centre's steps."""

    reach: Counter[str]
    oracle: Oracle

    def prepare_steps(self) -> None:
        """Begin with none."""
        #: The transaction of the centre that wrote an entry.
        self._step_of: dict[tuple[str, int], int] = {}
        #: Each feed's heads in their order: step, head, and whether a row stands in it.
        self._heads: dict[str, list[tuple[int, _Head, bool]]] = defaultdict(list)
        #: What came to a site with a snapshot, which may be ahead of the feeds.
        self._loaded: dict[str, set[_Head]] = defaultdict(set)

    def note_step(self, entry: FeedEntry, step: int) -> None:
        """Take note of an entry that a transaction of the centre has written."""
        others = {scope for (scope, _), each in self._step_of.items() if each == step}
        self.reach["step in both feeds"] += bool(others) and (entry.scope == SHARED) != (
            SHARED in others
        )
        self._step_of[entry.scope, entry.pos] = step
        for block in entry.blocks:
            stands = block.fate is Fate.PUT
            for row_id, order in zip(block.ids, block.order, strict=True):
                if order:  # else there never was a version
                    self._heads[entry.scope].append((step, (block.table, row_id, order), stands))

    def has_loaded(self, site: Site) -> None:
        """Take what stands in a store as given, as it is after a snapshot."""
        self._loaded[site.name] = _orders(site)

    def check_order(self, site: Site, at: Any) -> None:
        """Look whether a store shows all of the steps up to the last of which it shows anything."""
        shown = site.store.shown()
        self.reach["waited for the other feed"] += (shown.own, shown.shared) != (
            at.own.n, at.shared.n,
        )  # fmt: skip
        if self.oracle.is_blind:  # of a centre that went back, transactions tell no order
            return
        there = _orders(site)
        fresh = there - self._loaded[site.name]
        heads = self._heads[site.name] + self._heads[SHARED]
        first: dict[_Head, int] = {}
        for step, head, _ in heads:  # one that stands is sent again with a later step
            first[head] = min(step, first.get(head, step))
        last = max((step for head, step in first.items() if head in fresh), default=0)
        reached: dict[Key, int] = {}
        for table, row_id, order in there:
            reached[table, row_id] = max(order, reached.get((table, row_id), 0))
        newest: dict[Key, tuple[int, bool]] = {}
        for step, (table, row_id, order), stands in heads:
            if step <= last and order >= newest.get((table, row_id), (0, False))[0]:
                newest[table, row_id] = order, stands
        for key, (order, stands) in newest.items():
            if stands and reached.get(key, 0) < order:
                fail(
                    f"{site.name} shows some of what the centre did in {last}, and of {key}"
                    f" order {reached.get(key)}, where {order} is of that time or before"
                )


def _orders(site: Site) -> set[_Head]:
    return set(site.read(_ORDERS))
