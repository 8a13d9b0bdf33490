"""What a page is asked for: sites, days and filters, all of them in its address.

An address is all the state that a page has: it can be kept, sent to somebody, printed, and asked
again by a script. Whoever opens it sees what they may see, and no more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from central.access import NotYourSite
from central.reports.question import BadQuestion, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from starlette.datastructures import ImmutableMultiDict

#: Days that a page shows where none are named, today included.
DAYS_USUAL: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a page is asked for."""

    #: All that the asker may name, and those that they chose; none chosen stands for all.
    reached: tuple[str, ...]
    chosen: tuple[str, ...]
    #: First business day, and the one after the last.
    start: str
    end: str
    #: The page's own parameters, as they were given.
    given: Mapping[str, str]

    @property
    def sites(self) -> tuple[str, ...]:
        """Return the sites that the page is about."""
        return self.chosen or self.reached

    @property
    def address(self) -> dict[str, Any]:
        """Return the parameters of the page's address."""
        return {"site": list(self.chosen), "from": self.start, "to": self.end, **self.given}


def asked_of(
    params: ImmutableMultiDict[str, str], reached: Sequence[str],
    today: Callable[[Collection[str]], date], known: Sequence[str] = (), days: int = DAYS_USUAL,
) -> Asked:  # fmt: skip
    """Return what is asked for, of so many days where none are named.

    ``today`` gives the business day that it is at some sites, the latest of them. Raise
    NotYourSite, BadQuestion.
    """
    chosen = tuple(sorted({site for site in params.getlist("site") if site}))
    if beyond := sorted(set(chosen) - set(reached)):
        raise NotYourSite(f"no site {beyond[0][:40]} here that this key or token reaches")
    start, end = params.get("from", ""), params.get("to", "")
    if not end:
        end = str(today(chosen or reached) + timedelta(days=1))
    if not start:
        start = str(day_of("to", end) - timedelta(days=days))
    for name, text in (("from", start), ("to", end)):
        day_of(name, text)
    given = {name: params[name].strip() for name in known if params.get(name, "").strip()}
    return Asked(reached=tuple(reached), chosen=chosen, start=start, end=end, given=given)


def present() -> datetime:
    """Return the present, in UTC."""
    return datetime.fromtimestamp(time.time_ns() / 1e9, UTC)


def day_of(name: str, text: str) -> date:
    """Return a day of an address; raise BadQuestion for what is none."""
    found = moment(name, text)
    if isinstance(found, datetime):
        raise BadQuestion(name, "a day such as 2026-11-02")
    return found
