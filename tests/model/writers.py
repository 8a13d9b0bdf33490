"""Who writes in the model: users of the sites, clients of the centre, people with an old page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.changes import Op
from tests.model.part import Part
from tests.model.vocabulary import (
    ADDED,
    POISON,
    SITES,
    STATES,
    TABLES,
    Key,
    Values,
    members,
    set_text,
)

if TYPE_CHECKING:
    from tests.model.edge import Edge

#: Orders that a site works on at least.
ORDERS_MIN: Final = 3


class Writers(Part):
    """Makes up what is written."""

    def somebody_writes(self) -> None:
        """A user of a site commits, or the centre does."""
        if self.chance.random() < self.bias.at_sites:
            edge = self.chance.choice([*self.edges.values(), *self.clones.values()])
            self.user_commits(edge)
        else:
            self.centre_writes()

    def user_commits(self, edge: Edge) -> None:
        """Commit one user transaction of a few rows."""
        site = edge.file.site
        wishes: list[tuple[Key, Op, Values]] = []
        for _ in range(self.chance.choice((1, 1, 2, 5))):
            wish = self._wish(edge, site, {key: new for key, _, new in wishes})
            if wish:
                wishes.append(wish)
        if self.chance.random() < 0.1:
            pair = self.name("pair")
            keys = [("orders", f"{site}/{pair}{k}") for k in "ab"]
            wishes += [(key, Op.INSERT, whole(key, edge.file.schema)) for key in keys]
        if wishes:
            self.commits(edge, wishes)

    def commits(self, edge: Edge, wishes: list[tuple[Key, Op, Values]]) -> None:
        """Commit one user transaction."""
        site = edge.file.site
        commit = int(self.name(""))
        done = edge.commit(commit, wishes, self.now)
        self.note(f"{site} commits {[(t.key, str(t.op), t.new) for t in done]}")
        self.ghosts.wrote(site, commit, done, self.now)

    def _wish(
        self, edge: Edge, site: str, taken: dict[Key, Values]
    ) -> tuple[Key, Op, Values] | None:
        key = self._some_key(site, [key for key in edge.rows() if key[0] == "orders"])
        if key in taken or edge.is_aside(key):
            return None
        seen = edge.view(key)
        kind = self.chance.random()
        if kind < 0.15 and key[0] == "orders" and seen is not None:
            report = ("reports", f"{site}/{self.name('r')}")
            good = self.chance.randrange(3)
            return report, Op.INSERT, {"order": key[1], "good": good}
        if seen is None:
            if key[0] == "people":
                return None
            new: Values = {"note": self.name("m"), "state": "planned", "made": 0, "holds": "[]"}
            return key, Op.INSERT, whole(key, edge.file.schema) | new | self._code(edge, key, taken)
        if kind < 0.22 and key[0] == "orders":
            return key, Op.DELETE, {}
        return key, Op.UPDATE, self._some_columns(key, seen, edge.file.schema)

    def _code(self, edge: Edge, key: Key, taken: dict[Key, Values]) -> Values:
        """Return a code that no row in sight has: the store would refuse it."""
        code = self.chance.choice((None, None, "C1", "C2"))
        views = [edge.view(other) for other in edge.rows() if other != key]
        views += taken.values()
        if code is None or any(view and view.get("code") == code for view in views):
            return {}
        return {"code": code}

    def _some_key(self, site: str, known: list[Key]) -> Key:
        """Return the key of a row that is or was there, or a new one."""
        if self.chance.random() < 0.2:
            return ("people", f"all/p{self.chance.randrange(2)}")
        if len(known) < ORDERS_MIN or self.chance.random() < 0.05:
            return ("orders", f"{site}/{self.name('o')}")
        return self.chance.choice(known)

    def _some_columns(self, key: Key, seen: Values, schema: int) -> Values:
        """Return new values for some columns, each told apart from any other ever written."""
        chance, mark = self.chance, self.name("m")
        if key[0] == "people":
            return {chance.choice(("name", "phone")): mark}
        number = chance.randrange(50) * 1_000_000 + self.count
        rank = STATES.index(str(seen.get("state") or "planned"))
        holds = members(seen.get("holds"))
        held = {mark} if not holds or chance.random() < 0.6 else {chance.choice(sorted(holds))}
        made = seen.get("made")
        choices: list[Values] = [
            {"note": mark}, {"due": mark if chance.random() < self.bias.fit else POISON},
            {"shelf": mark},
            {"made": (made if isinstance(made, int) else 0) + chance.randrange(1, 9)},
            {"severity": number}, {"earliest": number}, {"limit": number},
            {"state": STATES[min(rank + chance.randrange(3), 3)]},
            {"holds": set_text(holds ^ held)}, {"worker": mark, "seat": mark},
        ]  # fmt: skip
        if schema >= 2:
            choices.append({"extra": mark})
        new: Values = {}
        for some in chance.sample(choices, chance.choice((1, 1, 2, 4))):
            new |= some
        return new

    def centre_writes(self) -> None:
        """A client of the centre writes; its transaction may commit later than others."""
        site = self.chance.choice(SITES)
        known = [k for k in self.centre.book.rows if k[0] == "orders" and k[1].startswith(site)]
        key = self._some_key(site, known)
        number = self.centre.begin()
        row = self.centre.book.rows.get(key)
        seen = dict(row.values) if row and row.values is not None else None
        if seen and row and self.chance.random() < 0.25:
            new = self._some_columns(key, seen, self.centre.book.schema)
            new.pop("code", None)
            version, at = row.version, self.now
            self.open.append(lambda: self._api(key, new, seen, version, at))
            return
        if self.chance.random() < 0.5:
            self._client(key, number)
        else:
            self.open.append(lambda: self._client(key, number))

    def _client(self, key: Key, number: int) -> None:
        """Write as any SQL client: it sees what is there when it writes."""
        row = self.centre.book.rows.get(key)
        seen = dict(row.values) if row and row.values is not None else None
        op: Op = Op.UPDATE
        new: Values = {}
        if seen is None and row is not None:
            return
        if seen is None:
            op = Op.INSERT
            new = {"name": self.name("m"), "sites": set_text(self._some_sites())}
            if key[0] == "orders":
                new = {"note": self.name("m"), "state": "planned", "made": 0, "holds": "[]"}
                code = self.chance.choice((None, None, "C1", "C2"))
                new |= {} if self.centre.is_taken(key, code) else {"code": code}
            new = whole(key, self.centre.book.schema) | new
        elif self.chance.random() < 0.15 and key[0] == "orders":
            op = Op.DELETE
        elif key[0] == "people" and self.chance.random() < 0.4:
            new = {"sites": set_text(self._some_sites())}
        else:
            new = self._some_columns(key, seen, self.centre.book.schema)
            if new.get("due") == POISON:
                new["due"] = self.name("m")
        if self.centre.client(key, op, new, self.now, number):
            self.note(f"centre {op} {key} {new}")
            self.ghosts.wrote_at_centre(self, key, op, new, seen or {})

    def _inserts(self, key: Key, new: Values) -> None:
        """Insert a row as a client of the centre."""
        if self.centre.client(key, Op.INSERT, new, self.now, self.centre.begin()):
            self.note(f"centre inserts {key} {new}")
            self.ghosts.wrote_at_centre(self, key, Op.INSERT, new, {})

    def _api(self, key: Key, new: Values, seen: Values, version: str, at: int) -> None:
        if new.get("due") == POISON:
            return
        if not self.centre.api(key, new, {c: seen.get(c) for c in new}, version, at):
            return
        self.note(f"centre api {key} {new} seen {version}")
        self.ghosts.wrote_at_centre(self, key, Op.UPDATE, new, seen, at=at)

    def _some_sites(self) -> set[str]:
        return {site for site in SITES if self.chance.random() < 0.6}


def whole(key: Key, schema: int) -> Values:
    """Return a new row's columns with what stands in them where nobody says otherwise."""
    columns = TABLES[key[0]].columns
    return {c.name: c.default for c in columns if schema >= 2 or c.name not in ADDED}
