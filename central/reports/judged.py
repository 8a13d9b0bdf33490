"""The moment that orders are judged at, so that all pages of an answer are of one moment.

Pure. Whether an unfinished order is late, and how late, goes by the clock, and by until when its
site is complete: what a dark site has finished meanwhile nobody knows. Both move on while an answer
is read page by page, and whoever sorts by lateness would be overtaken by it. So a cursor carries
them. Whole answers are one statement and need none of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from central.reports.question import BadQuestion, Judged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Until when each site is complete, in ms since 1970.
THROUGH: Final = "sync.complete_through"
#: Texts that a cursor has of it.
TEXTS: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def judged_at(at: datetime, through: Mapping[str, datetime | None], sites: Sequence[str]) -> Judged:
    """Return the moment of an answer."""
    found = (through.get(site) for site in sites)
    return Judged(
        at, tuple(None if each is None else round((each - _EPOCH) / _MS) for each in found)
    )


def texts_of(judged: Judged) -> tuple[str, str]:
    """Return a moment as a cursor has it: with how far behind it each site was, in ms."""
    last = _last_ms(judged.at)
    behind = ("" if ms is None else str(max(last - ms, 0)) for ms in judged.through_ms)
    return judged.at.astimezone(UTC).isoformat(), ",".join(behind)


def told(texts: Sequence[object], sites: Sequence[str]) -> Judged:
    """Return the moment that a cursor has; raise BadQuestion for what no answer ever gave."""
    try:
        at_text, behind = map(str, texts)
        at = datetime.fromisoformat(at_text).astimezone(UTC)
        last = _last_ms(at)
        found = Judged(at, tuple(last - int(ms) if ms else None for ms in behind.split(",")))
        is_own = len(found.through_ms) == len(sites) and texts_of(found) == (at_text, behind)
        if is_own and all(ms is None or 0 <= ms <= last for ms in found.through_ms):
            return found
    except (ValueError, OverflowError):
        pass
    raise BadQuestion("cursor", "as an answer's `next` gave it")


def _last_ms(at: datetime) -> int:
    """Return the first whole ms since 1970 that is not before a moment."""
    return -((_EPOCH - at) // _MS)
