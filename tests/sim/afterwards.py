"""What must hold at rest after the centre went back to an older copy of itself (rule 20).

Rows are not foretold then. All the same both ends are equal, whatever a site had sent is applied,
every value that was written stands or is on record, records that a site had are there again, and a
row that only its own site wrote is what that site made of it: sums of deltas are counted once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shared.changes import SHARED
from tests.sim.oracle import fail

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from shared.catalog import Table
    from tests.sim.backups import Backup
    from tests.sim.centre import Database
    from tests.sim.oracle import Change, Key, Oracle
    from tests.sim.site import Site

_RECORDS = ("sync_conflicts", "sync_reviews")
# By the transaction's own version, or one that was made since the record was.
_APPLIED_NOWHERE = """
SELECT p.table_name, p.row_id::text FROM mes.sync_parked AS p
JOIN sync.table_no AS t ON t.name = p.table_name
JOIN sync.table_no AS own ON own.name = 'sync_parked'
JOIN sync.head AS record ON record.site_id = p.site_id AND record.table_no = own.no
    AND record.id = p.id
WHERE p.state = 'applied' AND p.row_id IS NOT NULL AND p.table_name <> ALL(%s) AND NOT EXISTS (
    SELECT FROM sync.version AS v WHERE v.table_no = t.no AND v.id = p.row_id::uuid
      AND v.ord NOT IN (SELECT order_here FROM sync.life)  -- a note takes no effect
      AND (v.version = p.tx_id OR EXISTS (
          SELECT FROM sync.version AS n WHERE n.table_no = t.no AND n.id = v.id
          AND n.version = p.tx_id AND n.ord < v.ord) OR v.ord > (
          SELECT min(r.ord) FROM sync.version AS r WHERE r.site_id = record.site_id
          AND r.table_no = record.table_no AND r.id = record.id)))
  AND NOT EXISTS (  -- what came home and has to wait has a record of its own
    SELECT FROM mes.sync_parked AS o
    WHERE o.row_id = p.row_id AND o.table_name = p.table_name AND o.state <> 'applied')
"""


class Afterwards:
    """Follows the world through restores of the centre."""

    reach: Counter[str]
    database: Database
    oracle: Oracle
    sites: dict[str, Site]
    entries: dict[tuple[str, int], Any]
    entries_of: dict[str, dict[tuple[str, int], Any]]
    restored: set[str]
    were_restored: set[str]
    marks: set[tuple[str, str]]
    is_unmarked: bool

    def prepare_afterwards(self) -> None:
        """Begin with a centre that never went back."""
        #: Sites that have not met the life of a centre that went back.
        self.apart: set[str] = set()
        #: Records that each site had when the centre went back; of a store that was put back, none.
        self.records: dict[str, set[tuple[str, str]]] = {}
        #: What programs of the centre had written over by then, having seen it.
        self._replaced: set[str] = set()

    async def before_the_centre_goes_back(self, backup: Backup) -> None:
        """Look once more at what is known, and forget what will not have been."""
        for name, site in self.sites.items():
            self.observe_before(site)  # type: ignore[attr-defined]
            self.observe_after(site)  # type: ignore[attr-defined]
            self.apart.add(name)
            self.restored.add(name)
            self.records[name] = {
                (table, row_id)
                for table in _RECORDS for (row_id,) in site.read(f"SELECT id FROM {table}")
            }  # fmt: skip
        rows = await self.database.rows("SELECT replaced::text FROM sync.version")
        self._replaced |= _marks_in(text for (text,) in rows)
        self.entries = {
            (scope, pos): entry
            for (scope, pos), entry in self.entries_of[backup.name].items()
            if pos <= backup.ends.get(scope, 0)
        }
        self.oracle.is_blind = True

    def has_met(self, site: Site) -> bool:
        """Return whether a site has met the life of the server, and what it then knows counts."""
        if site.name in self.apart:
            met = site.read("SELECT 1 FROM _sync_life WHERE life = ?", self.life)  # type: ignore[attr-defined]
            if not met:
                return False
            self.apart.discard(site.name)
        return True

    # --- at rest ---------------------------------------------------------------------------------

    async def at_rest_afterwards(self) -> None:
        """Check what must hold though the centre went back."""
        await self.oracle.follow()
        await self._feeds_are_the_centres()
        missing = await self._missing()
        await self._sites_hold_their_share()  # type: ignore[attr-defined]
        await self._nothing_is_owed()  # type: ignore[attr-defined]
        self._all_is_applied(missing)
        await self._facts_came_again(missing)
        await self._records_came_home()
        await self._what_was_applied_is_there()
        await self._marks_are_accounted_for()
        await self._rows_of_one_site_are_what_it_made(missing)
        await self._hours_are_marked()  # type: ignore[attr-defined]

    async def _feeds_are_the_centres(self) -> None:
        for name, site in self.sites.items():
            at = site.store.position()
            for scope, link in ((name, at.own), (SHARED, at.shared)):
                if not await self._is_of_the_feed(scope, link):  # type: ignore[attr-defined]
                    fail(f"{name} is at {link} of {scope} at rest, which is no place of that feed")

    async def _missing(self) -> set[str]:
        """Return the sites of which something that was called safe is gone."""
        rows = await self.database.rows(
            "SELECT site, (found ->> 'missing')::int FROM sync.restore WHERE who = 'centre'"
        )
        self.reach["the centre was healed"] += bool(rows)
        missing = {site for site, count in rows if count}
        if missing and not self.is_unmarked:
            fail(f"what was safe of {missing} is in no backup")
        self.reach["safe and gone"] += bool(missing)
        return missing

    def _all_is_applied(self, missing: set[str]) -> None:
        for (name, epoch), chain in self.oracle.chains.items():
            at = self.sites[name].store.position()
            if name in missing or (name in self.were_restored and epoch != at.epoch):
                continue
            # A store that was put back may never have told of what it had drained beyond.
            upto = at.last_n if name in self.were_restored else max(chain)
            lost = [
                n
                for n, sent in chain.items()
                if sent.tx_id not in self.oracle.applied and n <= upto
            ]
            if lost:
                fail(f"the centre has no n {lost} of {name}, which was sent in {epoch}")

    def _sent(self, name: str) -> Iterator[tuple[str, Change]]:
        """Give what a site sent whose store never went back, in the order of its chain."""
        for (site, _), chain in self.oracle.chains.items():
            if site == name:
                for n in sorted(chain):
                    yield from ((chain[n].tx_id, change) for change in chain[n].changes)

    async def _facts_came_again(self, missing: set[str]) -> None:
        parked = await self._parked()
        for name, site in self.sites.items():
            for _, change in self._sent(name):
                if not site.catalog.table(change.table).fact:
                    continue
                states, stands = parked.get(change.key, set()), change.key in self.oracle.facts
                if stands and states == {"discarded"}:
                    fail(f"{change.key} of {name} was discarded, and stands")
                self.reach["discarded, and away"] += states == {"discarded"}
                if name in self.were_restored or name in missing:
                    continue
                if not stands and (not states or "applied" in states):
                    fail(f"{change.key} of {name} did not come again: its records say {states}")

    async def _parked(self) -> dict[Key, set[str]]:
        """Return the rows of which anything was parked, and what became of it."""
        rows = await self.database.rows(
            "SELECT table_name, row_id::text, array_agg(DISTINCT state) FROM mes.sync_parked"
            " GROUP BY 1, 2"
        )
        return {(table, row_id): set(states) for table, row_id, states in rows}

    async def _records_came_home(self) -> None:
        for name, records in self.records.items():
            for table in _RECORDS:
                rows = await self.database.rows(f"SELECT id::text FROM mes.{table}")
                lost = {row_id for of, row_id in records if of == table} - {r for (r,) in rows}
                if lost:
                    fail(f"{table}: {name} had {sorted(lost)}, which did not come home")
            self.reach["record came home"] += len(records)

    async def _what_was_applied_is_there(self) -> None:
        """A record that says that a change was applied has it in the versions of its row.

        Both came home, or neither: nobody would look for what a record takes for done.
        """
        facts = [table.name for table in self.database.catalog.tables if table.fact]
        gone = set(self.oracle.deleted_by_clients)  # of what was made and deleted nothing comes
        gone |= {c.key for sent in self.oracle.sent.values() for c in sent.changes if c.op == "D"}
        nowhere = [
            (table, row_id)
            for table, row_id in await self.database.rows(_APPLIED_NOWHERE, facts)
            if (table, row_id) not in gone
        ]
        if nowhere:
            fail(f"applied by their records, and nowhere: {nowhere[:3]}")

    async def _marks_are_accounted_for(self) -> None:
        texts = await self.database.rows(
            "SELECT concat_ws(' ', base_value, here_value, central_value) FROM mes.sync_conflicts"
            " UNION ALL SELECT replaced::text FROM sync.version"
            " UNION ALL SELECT content::text FROM mes.sync_parked WHERE state <> 'applied'"
        )
        kept = self._replaced | _marks_in(text for (text,) in texts)
        kept |= {str(v) for row in self.oracle.rows.values() for v in (row.values or {}).values()}
        gone = set[str]()
        for sent in self.oracle.sent.values():
            is_lost = sent.site in self.were_restored and sent.tx_id not in self.oracle.applied
            for change in sent.changes:
                kept |= {str(value) for value in change.old.values()}
                kept |= {str(value) for value in change.new.values()} if is_lost else set()
                gone |= {change.id} if change.op == "D" else set()
        gone |= {row_id for _, row_id in self.oracle.by_clients}
        gone -= {row_id for _, row_id in self.oracle.rows}  # whoever deleted it knew it
        lost = [mark for mark in self.marks if mark[1] not in kept and mark[0] not in gone]
        if lost:
            fail(f"nobody knows what became of {lost[:5]}")

    async def _rows_of_one_site_are_what_it_made(self, missing: set[str]) -> None:
        # A row that is deleted while the centre is away and made anew may stay gone, on record.
        recorded = await self.database.rows(
            "SELECT table_name, row_id::text FROM mes.sync_conflicts WHERE policy = 'delete'"
        )
        parked = {key for key, states in (await self._parked()).items() if states != {"applied"}}
        parked |= set(recorded)
        for name, site in self.sites.items():
            if name in self.were_restored or name in missing:
                continue
            made: dict[Key, dict[str, Any] | None] = {}
            for _, change in self._sent(name):
                table = self.database.catalog.table(change.table)
                if not table.fact and change.key not in self.oracle.by_clients | parked:
                    made[change.key] = _after(table, made.get(change.key), change)
            for key, values in made.items():
                row = self.oracle.rows.get(key)
                held = {c: row.values[c] for c in values} if row and row.values and values else None
                if (held or None) != (values or None):
                    fail(f"{key}: {site.name} alone wrote it and made it {values}, it is {held}")
                self.reach["row of one site"] += 1


def _after(table: Table, before: dict[str, Any] | None, change: Change) -> dict[str, Any] | None:
    # A state that went back by a deletion and an insertion at once is kept, and on record.
    new = {c: v for c, v in change.new.items() if c in table.names and not table.column(c).order}
    match change.op:
        case "D":
            return None
        case "I":
            return new
    return {**(before or {}), **new}


def _marks_in(texts: Any) -> set[str]:
    return {mark for text in texts if text for mark in re.findall(r"m\d+", text)}
