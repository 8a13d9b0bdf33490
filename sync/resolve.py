"""Decides on a write whose base is not the head: base, ours, theirs -> what stands, what is noted.

Pure: the same arguments give the same resolution, at whatever time and on whichever side.

A version is *concurrent* with a write when it came after the write's base and its author is not the
write's site; so is one of the site's own that it has lost since, with the store that made it. Of a
site's other versions only the columns count in which they were overruled, or left to a verdict that
the site had not seen. At the centre no version is one's own: people there write from what they saw,
too. A group of columns is in conflict when both sides touched any of it; then ``sync.policies``
decides the group as one thing. All else merges and is no conflict.

==========================  =======================  ======================
write, onto                 not concurrent           concurrent
==========================  =======================  ======================
update, row stands          stands (1)               per group, by policy
update, row is deleted      the deletion stands (2)  the deletion stands (2)
insert, no row              stands (1)               an unseen deletion stands
insert, same row stands     nothing to do            nothing to do
insert, other row stands    every group, by policy   every group, by policy
delete, row stands          deleted                  deleted (3)
delete, no row              nothing to do            nothing to do
update or delete of a fact  refused                  refused
==========================  =======================  ======================

(1) But a lattice goes back only where a signed release allows it, and a set or sum takes the
    difference that was written.
(2) Unless the write touched a column in review: the row comes back, a person decides.
(3) Unless a column in review was changed meanwhile: the row stays, a person decides.

Equal values at both ends are no conflict and leave no record: nobody's value is lost, and a list of
conflicts that people need not look at hides those that they must. A sum is the exception: two
people who both counted from 5 to 7 have counted 4, so it is added, and recorded.

Each column counts with the time of its own last touch, at both sides, whatever else of the row was
touched later; a group with that of its columns that were touched last.

Columns of one group that a write does not carry stay as they are even where the write wins, so
whoever captures a write of some of a group's columns has to send all of them.

A column that holds the person who wrote is never in conflict by itself. It follows the write where
any of it took effect, else it stays; the record of the conflict holds both persons.

A value that a merge makes and that its column can't hold raises InvalidValue, so the write is
parked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shared.catalog import Group, Policy, Table
from shared.changes import Op, Value
from sync.decisions import (
    CENTRE,
    WHOLE_ROW,
    Author,
    Conflict,
    Outcome,
    Resolution,
    Version,
    Write,
)
from sync.policies import Clash, Ruling, decide, goes_back, same, take_head, take_here

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CENTRE",
    "WHOLE_ROW",
    "Author",
    "Conflict",
    "Outcome",
    "Resolution",
    "Version",
    "Write",
    "concurrent",
    "resolve",
]

_NOTHING: Final = Resolution({})


def resolve(
    table: Table,
    head: Mapping[str, Value] | None,
    last_head: Mapping[str, Value] | None,
    since: Sequence[Version] | None,
    write: Write,
) -> Resolution:
    """Decide on a write; whatever it asks for or displaces stands in the result or in a conflict.

    ``head`` is None where there is no row; ``last_head`` is then what it held when it was deleted,
    if that is known. ``since`` are the versions after the write's base in their order, None where
    the base is unknown: then everything is in conflict.
    """
    table.mask(write.new)  # refuses a column that the catalogue does not have
    if table.append_only and write.op is not Op.INSERT:
        return _refuse(table, head or last_head or {}, since, write)
    if write.op is Op.DELETE:
        return _NOTHING if head is None else _delete(table, head, since, write)
    if head is None:
        if write.op is Op.UPDATE or _deleted_unseen(since, write):
            return _update_of_deleted(table, last_head, since, write)
        return _insert(table, last_head, write)
    if write.op is Op.INSERT and all(same(v, head.get(c)) for c, v in write.new.items()):
        return _NOTHING
    return _merge(table, head, since, write)


# --- the row as a whole ----------------------------------------------------------------------


def _refuse(
    table: Table, held: Mapping[str, Value], since: Sequence[Version] | None, write: Write
) -> Resolution:
    """Leave a fact as it is."""
    columns = tuple(write.new) or table.names
    conflict = Conflict(
        columns=columns,
        group=WHOLE_ROW,
        policy=Policy.APPEND_ONLY,
        outcome=Outcome.CENTRAL,
        base=write.old or None,
        here=write.new,
        central=held,
        result=held,
        central_author=_last_author(since, write),
        here_author=write.author,
    )
    return Resolution({}, conflicts=(conflict,), overruled=frozenset(columns))


def _delete(
    table: Table, head: Mapping[str, Value], since: Sequence[Version] | None, write: Write
) -> Resolution:
    changed = concurrent(table, since, write)
    if not changed:
        return Resolution({}, delete=True)
    stays = _in_review(table, changed)
    conflict = _of_row(
        write,
        Outcome.REVIEW if stays else Outcome.HERE,
        central=head,
        result=head if stays else {},
        author=_last_author(since, write),
        columns=table.names,
    )
    if stays:
        return Resolution({}, conflicts=(conflict,), overruled=frozenset(table.names))
    return Resolution({}, delete=True, conflicts=(conflict,))


def _update_of_deleted(
    table: Table,
    last_head: Mapping[str, Value] | None,
    since: Sequence[Version] | None,
    write: Write,
) -> Resolution:
    """Let the deletion stand, or bring the row back where the write touched a column in review."""
    review = write.op is Op.UPDATE and _in_review(table, frozenset(write.new))
    author = _last_author(since, write, Op.DELETE)
    if not review or last_head is None:
        outcome = Outcome.REVIEW if review else Outcome.CENTRAL
        gone = _of_row(
            write,
            outcome,
            central=last_head or {},
            result={},
            author=author,
            columns=tuple(write.new),
        )
        return Resolution({}, conflicts=(gone,), overruled=frozenset(write.new))
    alive = None if since is None else [v for v in since if v.op is not Op.DELETE]
    merged = _merge(table, last_head, alive, write)
    row = {**last_head, **merged.values}
    back = _of_row(
        write,
        Outcome.REVIEW,
        central=last_head,
        result=row,
        author=author,
        columns=tuple(write.new),
    )
    return replace(merged, values=row, revive=True, conflicts=(back, *merged.conflicts))


def _insert(table: Table, last_head: Mapping[str, Value] | None, write: Write) -> Resolution:
    """Put the row there. A lattice does not go back by way of a deletion."""
    if not last_head or not table.lattice_columns:
        return Resolution(dict(write.new), revive=True)
    states = {c: v for c, v in write.new.items() if table.group_of(c).policy is Policy.LATTICE}
    # As if an update had been made by someone who saw the deleted row.
    seen = replace(write, op=Op.UPDATE, new=states, old={c: last_head.get(c) for c in states})
    kept = _merge(table, last_head, (), seen)
    values = {**write.new, **{c: last_head.get(c) for c in kept.overruled}}
    return replace(kept, values=values, revive=True)


def _deleted_unseen(since: Sequence[Version] | None, write: Write) -> bool:
    """Return whether an insert did not know of a deletion."""
    if since is None:
        return True
    gone = [v for v in since if v.op is Op.DELETE]
    # Where it follows a deletion of its own it means a new row, whoever else deleted the old one.
    return bool(gone) and not any(_is_own(v, write) for v in gone)


def _of_row(
    write: Write,
    outcome: Outcome,
    *,
    central: Mapping[str, Value],
    result: Mapping[str, Value],
    author: Author | None,
    columns: tuple[str, ...],
) -> Conflict:
    return Conflict(
        columns=columns,
        group=WHOLE_ROW,
        policy="delete",
        outcome=outcome,
        base=write.old or None,
        here=write.new,
        central=central,
        result=result,
        central_author=author,
        here_author=write.author,
    )


def _in_review(table: Table, columns: frozenset[str]) -> bool:
    return any(table.group_of(column).policy is Policy.REVIEW for column in columns)


# --- its groups ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A group of a write, and what was decided on it."""

    group: Group
    clash: Clash
    ruling: Ruling
    contested: bool

    @property
    def touched(self) -> list[str]:
        return [c for c in self.group.columns if c in self.clash.new]

    @property
    def set_aside(self) -> set[str]:
        """Return the columns in which the write did not take effect; a merged one has taken it."""
        if self.ruling.outcome is Outcome.MERGED:
            return set()
        return {c for c in self.touched if not same(self.ruling.result[c], self.clash.new[c])}

    @property
    def is_worth_a_record(self) -> bool:
        clash, result = self.clash, self.ruling.result
        if any(not same(result[c], clash.new[c]) for c in self.touched):
            return True
        if not self.contested or all(same(clash.head.get(c), clash.new[c]) for c in self.touched):
            return False
        # A site that replaces its own value takes nothing from anyone.
        return not (self.ruling.outcome is Outcome.HERE and clash.own_stands)


def _merge(
    table: Table, head: Mapping[str, Value], since: Sequence[Version] | None, write: Write
) -> Resolution:
    """Decide group by group on a write onto a row that stands."""
    unseen = concurrent(table, since, write)
    persons = _persons(table)
    parts = [
        _part(group, _clash(table, group, head, since, write), unseen, write)
        for group in table.groups
        if not persons.issuperset(group.columns) and not write.new.keys().isdisjoint(group.columns)
    ]
    overruled = {column for part in parts for column in part.set_aside}
    values = {
        column: value
        for part in parts
        for column, value in part.ruling.result.items()
        if not same(value, head.get(column))
    }
    person = {c: v for c, v in write.new.items() if c in persons and not same(v, head.get(c))}
    if values or not (overruled or any(part.contested for part in parts)):
        values |= person
    else:
        overruled |= person.keys()
    records = tuple(_record(part, write) for part in parts if part.is_worth_a_record)
    return Resolution(values, conflicts=records, overruled=frozenset(overruled))


def _part(group: Group, clash: Clash, unseen: frozenset[str], write: Write) -> _Part:
    if write.op is Op.INSERT or not unseen.isdisjoint(group.columns):
        return _Part(group, clash, _contested(group, clash), contested=True)
    return _Part(group, clash, _alone(group, clash, write), contested=False)


def _contested(group: Group, clash: Clash) -> Ruling:
    equal = all(same(clash.head.get(c), clash.new[c]) for c in group.columns if c in clash.new)
    if equal and group.policy is not Policy.SUM:
        return take_here(clash)
    return decide(group.policy, clash)


def _alone(group: Group, clash: Clash, write: Write) -> Ruling:
    """Let a write stand with which nothing is concurrent, as far as its policy allows."""
    lead = clash.lead
    match group.policy:
        case Policy.SUM | Policy.ADD_REMOVE_SET:
            # Not the value itself: the head may hold what others added before the base.
            return decide(group.policy, clash)
        case Policy.APPEND_ONLY:
            return take_head(clash)
        case Policy.LATTICE if lead.name in clash.new and lead.name not in write.relaxed:
            if goes_back(lead, clash.head.get(lead.name), clash.new[lead.name]):
                return take_head(clash, Outcome.KEPT)
    return take_here(clash)


def _record(part: _Part, write: Write) -> Conflict:
    columns, clash = part.group.columns, part.clash
    return Conflict(
        columns=columns,
        group=part.group.name,
        policy=part.group.policy,
        outcome=part.ruling.outcome,
        base={c: write.old[c] for c in columns if c in write.old} or None,
        here={c: write.new[c] for c in columns if c in write.new},
        central={c: clash.head.get(c) for c in columns},
        result=part.ruling.result,
        central_author=clash.there,
        here_author=clash.here,
    )


# --- what came since the base ----------------------------------------------------------------


def _is_own(version: Version, write: Write) -> bool:
    return version.author.site == write.author.site != CENTRE and not version.lost


def concurrent(table: Table, since: Sequence[Version] | None, write: Write) -> frozenset[str]:
    """Return the columns that were written by someone who had not seen the write, nor it them."""
    if since is None:
        return frozenset(table.names) - _persons(table)
    columns: set[str] = set()
    for version in since:
        own = _is_own(version, write)
        columns |= (version.overruled | version.contested) if own else version.columns
    return frozenset(columns - _persons(table))


def _persons(table: Table) -> frozenset[str]:
    return frozenset(column.name for column in table.columns if column.writer)


def _last_author(
    since: Sequence[Version] | None, write: Write, op: Op | None = None
) -> Author | None:
    """Return the author of the last version, of the other side if there is one."""
    fit = [v for v in since or () if op is None or v.op is op]
    theirs = [v for v in fit if not _is_own(v, write)]
    return (theirs or fit)[-1].author if fit else None


def _clash(
    table: Table, group: Group, head: Mapping[str, Value], since: Sequence[Version] | None,
    write: Write,
) -> Clash:  # fmt: skip
    wrote = [v for v in since or () if not v.columns.isdisjoint(group.columns)]
    standing = [v for v in wrote if not (v.columns - v.overruled).isdisjoint(group.columns)]
    # An insert knows of no row, so it builds on none of its site's versions either.
    own = {v.id for v in wrote if write.op is not Op.INSERT and _is_own(v, write)}
    theirs = [v for v in standing if v.id not in own]
    others = theirs or [v for v in wrote if v.id not in own]
    stands = {column: v.id for v in wrote for column in v.columns - v.overruled}
    here = write.author_of([column for column in group.columns if column in write.new])
    dated = {v.id: v.author_of(v.columns.intersection(group.columns)) for v in wrote}
    # What was overruled took no effect: when it was touched makes the rest no later.
    clocks = [v.author_of(set(group.columns) & v.columns - v.overruled).clock for v in theirs]
    return Clash(
        columns=tuple(table.column(name) for name in group.columns),
        head=head,
        new=write.new,
        old=write.old,
        here=here,
        here_clock=max([here.clock, *(dated[each].clock for each in own)]),
        there=dated[others[-1].id] if others else None,
        there_clock=max(clocks, default=None),
        known=since is not None,
        own_stands=all(stands.get(c) in own for c in group.columns if c in write.new),
    )
