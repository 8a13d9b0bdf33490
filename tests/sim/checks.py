"""What must hold at every moment, and what must stand at rest."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from central.canonical import column_expressions, key_expressions
from shared.changes import SHARED
from tests.sim.centre import CutConnection
from tests.sim.oracle import fail

if TYPE_CHECKING:
    from shared.catalog import Table
    from shared.changes import Position
    from tests.sim.centre import Centre, Database
    from tests.sim.oracle import Key, Oracle
    from tests.sim.site import Site
    from tests.sim.verdicts import Note


class Checks:
    """Compares the world with what the oracle tells."""

    reach: Counter[str]
    database: Database
    centre: Centre
    oracle: Oracle
    sites: dict[str, Site]
    entries: dict[tuple[str, int], Any]
    marks: set[tuple[str, str]]

    # --- always ----------------------------------------------------------------------------------

    async def always(self) -> None:
        """Check what must hold at every moment and costs little to look at."""
        if self.oracle.is_blind:
            await self.oracle.follow_chains()
        for name, site in self.sites.items():
            at = site.store.position()
            if at.stopped_because:
                fail(f"{name} has stopped: {at.stopped_because}")
            if not self.has_met(site) or (self.oracle.is_blind and at.needs_snapshot):  # type: ignore[attr-defined]
                continue  # what it followed is no feed any more, or counts for nothing
            for scope, link in ((name, at.own), (SHARED, at.shared)):
                if not await self._is_of_the_feed(scope, link):
                    fail(f"{name} is at {link} of {scope}, which is no place of that feed")
            if at.acked_n > self.oracle.last_n[name, at.epoch]:
                fail(f"{name} takes n {at.acked_n} for decided")

    async def _is_of_the_feed(self, scope: str, link: Position) -> bool:
        entry = self.entries.get((scope, link.n))
        if link.n and (entry is None or entry.hash != link.hash):
            await self.hear_entries()  # type: ignore[attr-defined]
            entry = self.entries.get((scope, link.n))
        return not link.n or (entry is not None and entry.hash == link.hash)

    def site_prunes(self, site: Site) -> None:
        """Let a site prune, and look at what is still in its outbox."""
        pruned = site.prune()
        at = site.store.position()
        self.reach["pruned"] += bool(pruned)
        rows = site.read("SELECT DISTINCT n FROM _sync_out WHERE epoch = ?", at.epoch)
        kept = {n for (n,) in rows}
        if self.oracle.is_blind and self.is_unmarked:  # type: ignore[attr-defined]
            return  # what was safe may be so no more
        wanted = set(range(at.safe_n + 1, at.last_n + 1))
        if not wanted <= kept:
            fail(f"{site.name} is safe to {at.safe_n}, and {sorted(wanted - kept)} are gone")
        if at.safe_n > self.oracle.last_n[site.name, at.epoch]:
            fail(f"{site.name} takes n {at.safe_n} for safe, which the centre has not")

    # --- at rest ---------------------------------------------------------------------------------

    async def at_rest(self) -> None:
        """Compare all that stands with all that must."""
        await self.hear_entries()  # type: ignore[attr-defined]
        for name, site in self.sites.items():
            if site.read("SELECT 1 FROM _sync_event WHERE code = 'MES-FEED-UNORDERED'"):
                fail(f"{name} has shown steps without their order, though nothing is damaged")
        if self.oracle.is_blind:
            await self.at_rest_afterwards()  # type: ignore[attr-defined]
        else:
            await self._all_is_as_foretold()
        self.reach.update(self.broker.met)  # type: ignore[attr-defined]
        self.reach.update({f"cut {k}": n for k, n in CutConnection.met.items()})

    async def _all_is_as_foretold(self) -> None:
        await self._centre_holds_the_rows()
        await self._history_is_as_foretold()
        await self.oracle.all_that_waits_is_kept()
        await self._sites_hold_their_share()
        await self._nothing_is_owed()
        await self._every_mark_is_accounted_for()
        await self._hours_are_marked()

    async def _centre_holds_the_rows(self) -> None:
        for table in self.oracle._own:
            listed = column_expressions(table.columns)
            query = f"SELECT {key_expressions()}, {listed} FROM mes.{table.name} t"
            rows = await self.database.rows(query)
            found = {row[2]: (row[0], row[1], *row[3:]) for row in rows}
            _compare(f"{table.name} at the centre", dict(self._wanted(table)), found)

    def _wanted(self, table: Table) -> list[tuple[str, tuple[Any, ...]]]:
        if table.fact:
            return [
                (row_id, (site, created, *(values.get(c) for c in table.names)))
                for (name, row_id), (site, created, values) in self.oracle.facts.items()
                if name == table.name
            ]
        return [
            (row_id, (row.site, row.created, *(row.values[c] for c in table.names)))
            for (name, row_id), row in self.oracle.rows.items()
            if name == table.name and row.values is not None
        ]

    async def _history_is_as_foretold(self) -> None:
        names = (
            "table_name", "row_id::text", "column_group", "policy", "verdict", "base_value",
            "here_value", "central_value", "result_value", "here_site", "central_site",
            "here_writer", "central_writer", "here_at", "central_at", "tx_id::text", "site_id",
        )  # fmt: skip
        rows = await self.database.rows(f"SELECT {', '.join(names)} FROM mes.sync_conflicts")
        found = Counter(
            _plain((*row[:5], *map(_json, row[5:9]), *row[9:13], *map(_ms, row[13:15]), *row[15:]))
            for row in rows
        )
        wanted = Counter(
            _plain(_told(change.key, sent.tx_id, sent.site, note))
            for change, sent, note in self.oracle.notes
        )
        if found != wanted:
            lacks, more = list(wanted - found)[:3], list(found - wanted)[:3]
            fail(f"the history lacks {lacks}, has too much {more}")
        reviews = await self.database.rows("SELECT count(*) FROM mes.sync_reviews")
        wanted_reviews = sum(note.verdict == "review" for _, _, note in self.oracle.notes)
        if reviews[0][0] != wanted_reviews:
            fail(f"{reviews[0][0]} reviews, {wanted_reviews} foretold")

    async def _sites_hold_their_share(self) -> None:
        for name, site in self.sites.items():
            image = site.image()
            for table in self.oracle._own:
                there = site.catalog.table(table.name)
                names = {
                    name: c.name
                    for c in table.columns for name in (c.name, *c.renamed_from)
                    if name in there.names
                }  # fmt: skip
                found = {
                    row_id: tuple(row[c] for c in ("site_id", "created_at", *names))
                    for (name_of, row_id), row in image.items()
                    if name_of == table.name
                }
                if table.fact:
                    self._compare_facts(site, table, found)
                    continue
                wanted = {
                    row_id: (row.site, row.created, *(row.values[c] for c in names.values()))
                    for (t, row_id), row in self.oracle.rows.items()
                    if t == table.name and row.values is not None and _is_in(table, row, name)
                }
                _compare(f"{table.name} at {name}", wanted, found)
            await self._system_rows_are_there(site)

    def _compare_facts(self, site: Site, table: Table, found: dict[str, Any]) -> None:
        if self.oracle.is_blind:
            there = dict(self._wanted(table))
            held = {k: v for k, v in there.items() if v[0] == site.name}
            _compare(f"{table.name} at {site.name}", held, {k: found.get(k) for k in held})
            return
        sent = {
            change.id: (change.site, change.created, *(change.new[c] for c in table.names))
            for each in self.oracle.sent.values()
            for change in each.changes
            if each.site == site.name and change.table == table.name
            and each.tx_id in self.oracle.applied
        }  # fmt: skip
        if site.name in self.were_restored:  # type: ignore[attr-defined]
            # What was parked of a life that is over lies at the centre alone.
            parked = {each.change.id for each in self.oracle.tickets.values()}
            sent = {k: v for k, v in sent.items() if k not in parked or k in found}
        _compare(f"{table.name} at {site.name}", sent, found)

    async def _system_rows_are_there(self, site: Site) -> None:
        for table in ("sync_conflicts", "sync_parked", "sync_reviews"):
            state = "state" if table != "sync_conflicts" else "verdict"
            there = await self.database.rows(
                f"SELECT id::text, {state} FROM mes.{table} WHERE site_id IN (%s, '*')", site.name
            )
            here = site.read(f"SELECT id, {state} FROM {table}")
            _compare(f"{table} at {site.name}", dict(there), dict(here))

    async def _nothing_is_owed(self) -> None:
        for name, site in self.sites.items():
            at = site.store.position()
            pending = site.read("SELECT count(*) FROM _sync_pending")[0][0]
            shadows = site.read("SELECT count(*) FROM _sync_shadow")[0][0]
            if at.acked_n != at.last_n or pending or shadows or site.is_dirty:
                fail(f"{name} is not at rest: {at}, {pending} pending, {shadows} shadows")
            chain = self.oracle.chains[name, at.epoch]
            if not set(range(1, at.last_n + 1)) <= chain.keys():
                fail(f"the chain of {name} has holes: {sorted(chain)}")
        waiting = await self.database.rows("SELECT count(*) FROM sync.waiting")
        stopped = await self.database.rows(
            "SELECT site, stopped_because FROM sync.site WHERE stopped_because IS NOT NULL"
        )
        if waiting[0][0] or stopped:
            fail(f"{waiting[0][0]} rows wait at the centre; stopped: {stopped}")
        known = await self.database.rows("SELECT tx_id::text FROM sync.applied")
        if {tx_id for (tx_id,) in known} != self.oracle.applied:
            fail("the centre does not know what it applied")

    async def _every_mark_is_accounted_for(self) -> None:
        """A value that a site sent stands, or somebody saw it and replaced it, or it is kept."""
        texts = await self.database.rows(
            "SELECT concat_ws(' ', base_value, here_value, central_value) FROM mes.sync_conflicts"
            " UNION ALL SELECT replaced::text FROM sync.version WHERE replaced IS NOT NULL"
            " UNION ALL SELECT content::text FROM mes.sync_parked"
        )
        kept = {mark for (text,) in texts for mark in re.findall(r"m\d+", text)}
        kept |= {
            str(value)
            for row in self.oracle.rows.values()
            for values in (row.values, row.last) if values
            for value in values.values()
        }  # fmt: skip
        kept |= {
            str(value)
            for sent in self.oracle.sent.values()
            for change in sent.changes
            for value in (*change.old.values(), *self._of_a_lost_life(sent, change))
        }
        lost = [mark for mark in self.marks if mark[1] not in kept]
        if lost:
            fail(f"nobody knows what became of {lost[:5]}")

    def _of_a_lost_life(self, sent: Any, change: Any) -> list[Any]:
        """Return what a restore destroyed: nobody has it but the store that is no more."""
        return [] if sent.tx_id in self.oracle.applied else list(change.new.values())

    async def _hours_are_marked(self) -> None:
        """Reports are made again from the facts of the hours that are marked."""
        rows = await self.database.rows(
            "SELECT site_id, table_name, to_char(hour AT TIME ZONE 'UTC', 'HH24')"
            " FROM sync.rollup_mark"
        )
        marked = set(rows)
        for (table, row_id), (site, created, _) in self.oracle.facts.items():
            if (site, table, created[11:13]) not in marked:
                fail(f"{table} {row_id} of {created} would be in no report")


def _is_in(table: Table, row: Any, site: str) -> bool:
    named = [row.site if c == "site_id" else str(row.values[c]) for c in table.share]
    return any(each in (site, SHARED) or f'"{site}"' in each for each in named)


def _compare(what: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            fail(f"{what}: {key} is {found.get(key)}, {wanted.get(key)} is foretold")


def _told(key: Key, tx_id: str, site: str, note: Note) -> tuple[Any, ...]:
    there = note.there
    return (
        *key, note.group, note.policy, note.verdict, note.base, note.here, note.central,
        note.result, note.author.site, there.site if there else "*", note.author.writer,
        there.writer if there else None, note.author.at_ms, there.at_ms if there else None,
        tx_id, site,
    )  # fmt: skip


def _plain(values: tuple[Any, ...]) -> str:
    return json.dumps(values, sort_keys=True)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _ms(value: Any) -> int | None:
    return None if value is None else round(value.timestamp() * 1000)
