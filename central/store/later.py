"""A parked write that is tried again does not beat what its own site wrote after it.

Pure. Of a site's own versions ``sync.resolve`` takes for granted that they came before the write:
they do, but for a write that was parked meanwhile. What it would take from a later one is left out
here, with a record. The rest is decided as always, and takes nothing: what the policy joins comes
to the same in either order, so there the later writes count as unseen ones, as another's would.

So a write that is tried again comes to what it would have come to in its time: of a sum both
differences count, of a set both sides' additions and removals, of a lattice the further state
stands. All else is the later write's, max and min as well: there a site corrects its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shared.catalog import Policy
from shared.changes import Op
from sync.decisions import WHOLE_ROW, Author, Conflict, Outcome, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Group, Table
    from shared.changes import Value
    from sync.decisions import Version

#: What is made of two writes of theirs is the same whichever came first.
_JOINED: Final = frozenset({Policy.SUM, Policy.ADD_REMOVE_SET, Policy.LATTICE})


def counted(
    since: Sequence[Version] | None, clocks: Sequence[int], clock: int
) -> tuple[Sequence[Version] | None, Sequence[int]]:
    """Return the versions, and their clocks, without later changes that do not count.

    Those are the site's own, parked as well: what they had not seen says nothing of the write.
    """
    if since is None:
        return None, clocks
    pairs = [(v, at) for v, at in zip(since, clocks, strict=True) if v.counts or at <= clock]
    return [version for version, _ in pairs], [at for _, at in pairs]


def later_of_site(
    since: Sequence[Version] | None, clocks: Sequence[int], write: Write, clock: int
) -> list[Version]:
    """Return the versions that the write's site made after it; ``clock`` is that of its drain."""
    return [
        version
        for version, at in zip(since or (), clocks, strict=False)
        if version.author.site == write.author.site and at > clock
    ]


def unseen(since: Sequence[Version] | None, later: Sequence[Version]) -> Sequence[Version] | None:
    """Return the versions as what is left of the write is to be held against them."""
    ids = {version.id for version in later}
    return since and [replace(each, lost=True) if each.id in ids else each for each in since]


def yielded(
    table: Table, head: Mapping[str, Value] | None, later: Sequence[Version], write: Write
) -> tuple[Write | None, tuple[Conflict, ...]]:
    """Return what is left of the write, if anything, and the record of what is not.

    Where its site made the row anew since, the write was of the row that is gone: all of it goes.
    """
    if not later:
        return write, ()
    if head is None or not write.new:
        author = later[-1].author
        return None, (_record(write, write.new, group=None, stands=head or {}, author=author),)
    conflicts = []
    left = dict(write.new)
    is_anew = any(version.op is not Op.UPDATE for version in later)
    for group in table.groups:
        lost = {name: left.pop(name) for name in group.columns if name in left}
        wrote = [version for version in later if not version.columns.isdisjoint(group.columns)]
        if not wrote or (group.policy in _JOINED and not is_anew):
            left |= lost
        elif _is_lost(group, head, lost):
            stands = {name: head.get(name) for name in group.columns}
            author = wrote[-1].author_of(wrote[-1].columns & set(group.columns))
            record = _record(write, lost, group=group, stands=stands, author=author)
            conflicts.append(record)
    return (replace(write, new=left) if left else None), tuple(conflicts)


def _is_lost(group: Group, head: Mapping[str, Value], values: Mapping[str, Value]) -> bool:
    """Return whether values are not in the head; of a sum equal ones are two differences."""
    differ = any(head.get(name) != value for name, value in values.items())
    return differ or (bool(values) and group.policy is Policy.SUM)


def _record(
    write: Write,
    lost: Mapping[str, Value],
    *,
    group: Group | None,
    stands: Mapping[str, Value],
    author: Author,
) -> Conflict:
    return Conflict(
        columns=tuple(lost),
        group=group.name if group else WHOLE_ROW,
        policy=group.policy if group else "delete",
        outcome=Outcome.CENTRAL,
        base={name: write.old[name] for name in lost if name in write.old} or None,
        here=dict(lost),
        central=stands,
        result=stands,
        central_author=author,
        here_author=write.author_of(lost) if group else write.author,
    )
