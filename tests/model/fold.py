"""What several touches of a row come to, what a reader sees, how much goes in a message."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.changes import Op
from sync.policies import merge_both
from tests.model.vocabulary import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.catalog import Policy
    from shared.changes import Value
    from tests.model.file import Touch
    from tests.model.vocabulary import Key, Link, Values

_ADDITIVE = ("sum", "add_remove_set")


@dataclass(slots=True)
class Folded:
    """What was done to a row."""

    op: Op
    new: Values
    old: Values
    #: When each column was touched last.
    times: dict[str, int] = field(default_factory=dict)


def fold(touches: Sequence[Touch], *, first_old: bool, known: bool) -> Folded | None:
    """Return what several touches of a row come to; None where nobody needs to know.

    ``known`` says whether the row may be there at the centre.
    """
    done: Folded | None = None
    for touch in touches:
        if done is None:
            done = Folded(touch.op, dict(touch.new), dict(touch.old))
        elif touch.op is Op.DELETE:
            gone = done.op is Op.INSERT and not known
            done = None if gone else Folded(Op.DELETE, {}, done.old | dict(touch.old))
        elif done.op is Op.DELETE:  # deleted and made again: all of it is new
            new = dict(touch.new)
            done = Folded(Op.UPDATE, new, {name: done.old.get(name) for name in new})
        else:
            done.new |= touch.new
            if done.op is Op.UPDATE:
                first, last = (done.old, touch.old) if first_old else (touch.old, done.old)
                done.old = {**last, **first}
        if done is not None:
            done.times |= dict.fromkeys(touch.new, touch.at)
    if done is not None and done.op is not Op.UPDATE:
        done.old = {}
    return done


def laid(
    key: Key, row: Values | None, op: Op, new: Mapping[str, Value], old: Mapping[str, Value]
) -> Values | None:
    """Return a row under one more write."""
    if op is Op.DELETE:
        return None
    table = TABLES[key[0]]
    if row is None:
        whole: Values = {c.name: c.default for c in table.columns} if op is Op.INSERT else {}
        return {**whole, **old, **new} if op is Op.UPDATE else {**whole, **new}
    laid_over = dict(row)
    for name, value in new.items():
        column = table.column(name)
        if op is Op.UPDATE and _policy(column.policy) in _ADDITIVE:
            laid_over[name] = merge_both(column, row.get(name), value, old.get(name))
        else:
            laid_over[name] = value
    return laid_over


def _policy(policy: Policy) -> str:
    return str(policy)


def in_parts(link: Link, size: int = 3) -> list[Link]:
    """Return a transaction as the messages that carry it."""
    count = max(1, -(-len(link.changes) // size))
    return [
        replace(link, changes=link.changes[k * size : (k + 1) * size], part=k, parts=count)
        for k in range(count)
    ]
