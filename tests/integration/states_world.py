"""Machines with events of their states, and what a plain reading of them comes to."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from central.reports.time_model import FAILURES, STATES, Element

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from zoneinfo import ZoneInfo

    import httpx

    from tests.integration.apply_world import Site, World

LATHE, MILL, LINE, STRANGER = (str(uuid.UUID(int=n)) for n in range(1, 5))
#: All that the sites committed until then is applied, where nothing else is said.
THROUGH = datetime(2026, 11, 10, tzinfo=UTC)


DAY = {"from": "2026-11-02", "to": "2026-11-03"}


@pytest.fixture
async def ask(client: httpx.AsyncClient) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """Asks for a report of a day, where nothing else is said, and returns its rows."""

    async def asked(report: str = "machine-states", **given: Any) -> list[dict[str, Any]]:
        answer = await client.get(f"/v1/reports/{report}", params=DAY | given)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    return asked


def at(text: str) -> datetime:
    """Return an instant of November 2026, of a day and a time such as ``02 06:00``."""
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=UTC)


def canonical(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


async def a_plant(world: World, name: str = "SITE_001", through: datetime = THROUGH) -> Site:
    """Give a site a lathe on a line, and a mill; all until ``through`` is known of it."""
    site = world.site(name)
    machines = [
        {"id": LINE, "equipment_code": "Line 1", "level": "LINE"},
        {"id": LATHE, "equipment_code": "Lathe", "parent_id": LINE, "equipment_class": "Turning"},
        {"id": MILL, "equipment_code": "Mill"},
    ]
    await site.writes(site.insert("equipment", *machines))
    await known_until(world, through, name)
    return site


async def known_until(world: World, through: datetime, name: str = "SITE_001") -> None:
    await world.admin.execute(
        b"UPDATE sync.epoch SET through_ms = %s WHERE site = %s",
        [int(through.timestamp() * 1000), name],
    )


@dataclass(frozen=True, slots=True)
class Event:
    """A machine went into a state."""

    machine: str
    state: str
    since: datetime
    source: str = "PLC"
    reason: str | None = None
    #: Events of one instant are told apart by it.
    id: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Somebody noted why a machine stood."""

    machine: str
    reason: str
    begins: datetime
    #: None where that is the end of the state in which it begins.
    ends: datetime | None = None
    role: str = "OPERATOR"
    made: datetime | None = None
    id: int = 0

    @property
    def rank(self) -> tuple[int, datetime, int]:
        """Return what tells which of two notes counts."""
        return (ROLES.index(self.role), self.made or self.begins, self.id)


ROLES = ("OPERATOR", "SUPERVISOR", "ENGINEER")


async def noted(world: World, site: Site, *notes: Note, through: datetime = THROUGH) -> None:
    """Have a site send what people noted."""
    await site.writes(*(
        site.insert(
            "downtime_annotations",
            {"id": str(uuid.UUID(int=each.id)) if each.id else None, "equipment_id": each.machine,
             "reason_code": each.reason, "from_at": canonical(each.begins), "role": each.role,
             "to_at": canonical(each.ends) if each.ends else None},
            created=canonical(each.made or each.begins),
        )
        for each in notes
    ))  # fmt: skip
    await known_until(world, through, site.name)


async def told(
    world: World, site: Site, events: Iterable[Event], through: datetime = THROUGH,
    created: str | None = None,
) -> None:  # fmt: skip
    """Have a site send events, and all be known until a moment."""
    blocks = [
        site.insert(
            "equipment_state_events",
            {"id": str(uuid.UUID(int=each.id)) if each.id else None, "equipment_id": each.machine,
             "state": each.state, "since": canonical(each.since), "source": each.source,
             "reason_code": each.reason},
            created=created or canonical(each.since),
        )
        for each in events
    ]  # fmt: skip
    await site.writes(*blocks)
    await known_until(world, through, site.name)


async def history(
    world: World, site: Site, machine: str, *states: tuple[str, str], **more: Any
) -> None:
    """Have a machine go into states, each from a day and a time of November 2026 on."""
    await told(world, site, [Event(machine, state, at(since), **more) for since, state in states])


def random_events(chance: random.Random) -> list[Event]:
    found = []
    for number in range(60):
        since = datetime(2026, 10, 22, tzinfo=UTC) + timedelta(minutes=chance.randrange(6 * 1440))
        if chance.random() < 0.2:
            since = since.replace(hour=4, minute=0)  # where a day begins, and twice at once
        state = chance.choice(("RUNNING", "running ", "IDLE", "DOWN", "FAULT", "SETUP", "Rüsten"))
        found.append(Event(chance.choice((LATHE, MILL, STRANGER)), state, since,
                           chance.choice(("PLC", "MANUAL")), None, number + 1))  # fmt: skip
    return found


# --- the plain reading ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A machine was in a state, as far as it is known and asked for."""

    event: Event
    begins: datetime
    ends: datetime
    enters: bool
    fails: bool
    reason: str | None = None


def element(event: Event) -> Element:
    return STATES.get(event.state.strip().upper(), Element.UNMAPPED)


def held(
    events: Iterable[Event], begins: datetime, ends: datetime, notes: Iterable[Note] = ()
) -> Iterator[Held]:
    """Read events one by one, as a person would, and of each what was noted."""
    notes = list(notes)
    by_machine: dict[str, dict[datetime, Event]] = defaultdict(dict)
    for each in sorted(events, key=lambda event: event.id):
        by_machine[each.machine][each.since] = each
    for found in by_machine.values():
        ordered = sorted(found.values(), key=lambda event: event.since)
        before: Event | None = None
        for each, following in zip(ordered, [*ordered[1:], None], strict=True):
            until = min(following.since if following else ends, ends)
            failed = before is not None and before.state.strip().upper() in FAILURES
            for starts, stops, why in parts(each, until, notes):
                if (since := max(starts, begins)) < stops:
                    is_in = starts == each.since >= begins
                    yield Held(
                        each, since, stops,
                        is_in and (before is None or before.state != each.state),
                        is_in and each.state.strip().upper() in FAILURES and not failed, why,
                    )  # fmt: skip
            before = each


def parts(
    event: Event, until: datetime, notes: Iterable[Note]
) -> list[tuple[datetime, datetime, str | None]]:
    """Read a state from one moment to the next; return from when until when it had which reason."""
    of_it = []
    for note in notes:
        runs = element(event) is Element.APT
        is_in = event.since <= note.begins < until
        ends = note.ends or (until if is_in else note.begins)
        ends = min(ends, note.begins + timedelta(days=31)) if note.ends else ends
        if note.machine == event.machine and not runs and ends > note.begins:
            of_it.append((note.begins, ends, note))
    found: list[tuple[datetime, datetime, str | None]] = []
    moments = {event.since, until, *(each for begins, ends, _ in of_it for each in (begins, ends))}
    inside = sorted(each for each in moments if event.since <= each <= until)
    for starts, stops in pairwise(inside):
        counts = [note for begins, ends, note in of_it if begins <= starts < ends]
        why = max(counts, key=lambda note: note.rank).reason if counts else event.reason
        if found and found[-1][2] == why:
            found[-1] = (found[-1][0], stops, why)
        else:
            found.append((starts, stops, why))
    return found


def day_of(moment: datetime, zone: ZoneInfo, starts: timedelta) -> date:
    return (moment.astimezone(zone).replace(tzinfo=None) - starts).date()


def day_begins(day: date, zone: ZoneInfo, starts: timedelta) -> datetime:
    return (datetime.combine(day, time()) + starts).replace(tzinfo=zone).astimezone(UTC)


def sums(
    found: Iterable[Held], cut: Callable[[Held], Iterable[tuple[str, timedelta, bool]]]
) -> dict[tuple[str, ...], tuple[float, int, int]]:
    """Return minutes, entries and failures by piece of time, machine and state."""
    all_of: dict[tuple[str, ...], tuple[float, int, int]] = defaultdict(lambda: (0.0, 0, 0))
    for each in found:
        for name, length, is_first in cut(each):
            key = (name, each.event.machine, each.event.state)
            minutes, entered, failed = all_of[key]
            all_of[key] = (
                minutes + length / timedelta(minutes=1),
                entered + (each.enters and is_first), failed + (each.fails and is_first),
            )  # fmt: skip
    return dict(all_of)
