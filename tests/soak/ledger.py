"""What was written, and whether all of it stands or is on record. Pure, but for its lock.

Each write of a note is a text of its own, and remembers the text that its writer saw. So a write is
accounted for where it stands, where it is named on record (a conflict, a parked row, what plain SQL
replaced), or where it was seen by a write that is accounted for.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A note: who wrote it, and its number.
TOKEN: Final = re.compile(r"[A-Z0-9_]+ w\d+")


@dataclass(slots=True)
class Ledger:
    """Everything that programs of the sites and of the centre were told to be written."""

    #: Note -> the note that its writer saw.
    seen: dict[str, str | None] = field(default_factory=dict)
    #: Notes of which nobody knows whether they were committed: the connection broke.
    unsure: set[str] = field(default_factory=set)
    #: Ids of facts, by table.
    facts: dict[str, set[str]] = field(default_factory=dict)
    #: Counter (a row's id) -> what was counted for certain, and what perhaps as well.
    counted: dict[str, int] = field(default_factory=dict)
    perhaps: dict[str, int] = field(default_factory=dict)
    #: Ids of rows that their site has deleted.
    deleted: set[str] = field(default_factory=set)
    #: Notes that were named on record at any time: history may have been forgotten since.
    on_record: set[str] = field(default_factory=set)
    writes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def next_note(self, who: str) -> str:
        """Return a text that nobody has written."""
        with self._lock:
            self._number += 1
            return f"{who} w{self._number}"

    def note(self, text: str, saw: str | None, *, sure: bool = True) -> None:
        """Remember a note, and the one that it took the place of."""
        with self._lock:
            self.seen[text] = _token(saw)
            self.writes += 1
            if not sure:
                self.unsure.add(text)

    def fact(self, table: str, ids: Iterable[str]) -> None:
        """Remember facts."""
        with self._lock:
            self.facts.setdefault(table, set()).update(ids)

    def count(self, row_id: str, by: int, *, sure: bool = True) -> None:
        """Remember that a counter was counted on."""
        with self._lock:
            into = self.counted if sure else self.perhaps
            into[row_id] = into.get(row_id, 0) + by

    def delete(self, row_id: str) -> None:
        """Remember a row that its site deleted."""
        with self._lock:
            self.deleted.add(row_id)

    def record(self, texts: Iterable[str | None]) -> None:
        """Remember the notes that records name."""
        found = {token for text in texts if text for token in TOKEN.findall(text)}
        with self._lock:
            self.on_record |= found

    def unaccounted(self, standing: Iterable[str | None]) -> list[str]:
        """Return the notes that neither stand, nor are on record, nor were seen by such."""
        known: set[str] = set()
        look = [*self.on_record, *(token for text in standing if (token := _token(text)))]
        while look:
            each = look.pop()
            if each not in known:
                known.add(each)
                before = self.seen.get(each)
                if before is not None:
                    look.append(before)
        return sorted(self.seen.keys() - known - self.unsure)

    def miscounted(self, counters: Mapping[str, int]) -> list[str]:
        """Return the counters that show other than what was counted, in words."""
        wrong = []
        for row_id in self.counted.keys() | self.perhaps.keys():
            least = self.counted.get(row_id, 0)
            most = least + self.perhaps.get(row_id, 0)
            shown = counters.get(row_id)
            if shown is None or not least <= shown <= most:
                wrong.append(f"{row_id} shows {shown}, {least} to {most} were counted")
        return sorted(wrong)


def _token(text: str | None) -> str | None:
    found = TOKEN.search(text) if text else None
    return found[0] if found else None
