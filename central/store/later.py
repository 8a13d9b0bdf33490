"""A parked write that is tried again does not beat what its own site wrote after it.

Pure. Of a site's own versions ``sync.resolve`` takes for granted that they came before the write:
they do, but for a write that was parked meanwhile. What it would take from a later one is left out
here, with a record, and the rest is decided as always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sync.decisions import WHOLE_ROW, Author, Conflict, Outcome, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Group, Table
    from shared.changes import Value
    from sync.decisions import Version


def later_of_site(
    since: Sequence[Version] | None, clocks: Sequence[int], write: Write, clock: int
) -> list[Version]:
    """Return the versions that the write's site made after it; ``clock`` is that of its drain."""
    return [
        version
        for version, at in zip(since or (), clocks, strict=False)
        if version.author.site == write.author.site and at > clock
    ]


def yielded(
    table: Table, head: Mapping[str, Value] | None, later: Sequence[Version], write: Write
) -> tuple[Write | None, tuple[Conflict, ...]]:
    """Return what is left of the write, if anything, and the record of what is not."""
    if not later:
        return write, ()
    if head is None or not write.new:
        author = later[-1].author
        return None, (_record(write, write.new, group=None, stands=head or {}, author=author),)
    conflicts = []
    left = dict(write.new)
    for group in table.groups:
        lost = {name: left.pop(name) for name in group.columns if name in left}
        wrote = [version for version in later if not version.columns.isdisjoint(group.columns)]
        if not wrote:
            left |= lost
        elif any(head.get(name) != value for name, value in lost.items()):
            stands = {name: head.get(name) for name in group.columns}
            author = wrote[-1].author_of(wrote[-1].columns & set(group.columns))
            record = _record(write, lost, group=group, stands=stands, author=author)
            conflicts.append(record)
    return (replace(write, new=left) if left else None), tuple(conflicts)


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
