"""What a site wrote is seen there until the centre has decided on it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.sim.catalogue import as_in
from tests.sim.oracle import fail

if TYPE_CHECKING:
    from collections import Counter

    from tests.sim.oracle import Key
    from tests.sim.sent import Sent
    from tests.sim.site import Image, Site

_MERGED = ("sum", "add_remove_set")
#: A row that came home and could not be applied is decided, though its transaction is sent again.
_PARKED_AT_HOME = """SELECT content FROM sync_parked WHERE table_name = ? AND row_id = ?
    AND n = 0 AND state IN ('waiting', 'parked')"""


class OwnWrites:
    """Looks for what sites wrote."""

    reach: Counter[str]
    undecided: dict[str, list[Sent]]
    #: Transactions by site that had come home before they were sent again.
    came_home: dict[str, set[str]]
    images: dict[str, Image]

    def check_own_writes(self, site: Site, acked_n: int) -> None:
        """Whatever the site wrote is seen until the centre has decided on it."""
        wanted: dict[Key, dict[str, Any] | None] = {}
        #: Columns whose last value came home: what was written on it since stands, rightly.
        older: defaultdict[Key, set[str]] = defaultdict(set)
        own = [
            (each, sent.tx_id in self.came_home[site.name])
            for sent in self.undecided[site.name] if sent.n > acked_n for each in sent.changes
        ]  # fmt: skip
        for change, came_home in own:
            if change.op == "D":
                wanted[change.key] = None
            elif change.table != "sync_reviews":  # which are no part of the images
                new = as_in(site.catalog.table(change.table), change.new)
                # A copy held it in its log; the lost life had sent it, and had gone on from there.
                is_again = change.op == "I" and bool(wanted.get(change.key))
                wanted[change.key] = {**(wanted.get(change.key) or {}), **new}
                older[change.key] -= new.keys()
                older[change.key] |= new.keys() if came_home or is_again else set()
        for key, values in wanted.items():
            row = self.images[site.name].get(key)
            if values is None and row is not None:
                fail(f"{site.name}: {key} was deleted here and is seen")
            if values is not None and row is None:
                self._check_hidden(site, key, values)
            if values is not None and row is not None:
                seen = {name: value for name, value in values.items() if name not in older[key]}
                self._check_shown(site, key, seen, row)

    def _check_shown(
        self, site: Site, key: Key, values: dict[str, Any], row: dict[str, Any]
    ) -> None:
        table = site.catalog.table(key[0])
        for name in values.keys() & row.keys():
            merges = str(table.group_of(name).policy) in _MERGED
            if not merges and row[name] != values[name]:
                fail(f"{site.name}: {key} {name} is {row[name]}, {values[name]} was written")

    def _check_hidden(self, site: Site, key: Key, values: dict[str, Any]) -> None:
        asides = site.read(
            "SELECT code FROM _sync_aside WHERE table_name = ? AND id = ?", key[0], key[1]
        )
        if not asides and any(
            values.items() <= as_in(site.catalog.table(key[0]), json.loads(content)).items()
            for (content,) in site.read(_PARKED_AT_HOME, *key)
        ):
            self.reach["aside: parked at home"] += 1
            return
        if not asides:
            fail(f"{site.name}: {key} with {values} is not seen, and not decided")
        self.reach[f"aside: {asides[0][0]}"] += 1
