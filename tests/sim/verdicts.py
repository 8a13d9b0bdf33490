"""The policies, written a second time and plainly: what the oracle predicts by.

Made from protocol.md, sections 4 and 6, without a look at tables of functions or at what is fast.
It knows the catalogue and nothing else of the product; a property holds it equal to
``sync.resolve`` on whatever Hypothesis thinks of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.sim.cases import (
    CENTRE,
    By,
    CannotHold,
    Case,
    Note,
    Past,
    Values,
    Verdict,
    Wish,
    as_of,
    by_others,
    is_own,
    last_of,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.catalog import Table

__all__ = [
    "CENTRE", "By", "CannotHold", "Note", "Past", "Verdict", "Wish", "displaced", "give_way",
    "settle",
]  # fmt: skip


def settle(
    table: Table, row: Values | None, last: Values | None, since: Sequence[Past] | None, wish: Wish
) -> Verdict:
    """Decide. ``row`` stands or is None, ``last`` is what it held when it went."""
    if wish.op == "D":
        return _delete(table, row, since, wish)
    if row is None:
        return _onto_nothing(table, last, since, wish)
    if wish.op == "I" and all(same(row.get(c), v) for c, v in wish.new.items()):
        return Verdict(row)
    return _merge(table, row, since, wish)


# --- the row as a whole -----------------------------------------------------------------------


def _delete(table: Table, row: Values | None, since: Sequence[Past] | None, wish: Wish) -> Verdict:
    if row is None:
        return Verdict(None)
    changed = by_others(table, since, wish)
    if not changed:
        return Verdict(None, changed=True)
    stays = any(str(table.group_of(c).policy) == "review" for c in changed)
    note = Note(
        "*", "delete", "review" if stays else "here", table.names, wish.old or None, wish.new,
        row, row if stays else {}, last_of(since, wish), wish.by,
    )  # fmt: skip
    if stays:
        return Verdict(row, notes=[note], overruled=frozenset(table.names))
    return Verdict(None, changed=True, notes=[note])


def _onto_nothing(
    table: Table, last: Values | None, since: Sequence[Past] | None, wish: Wish
) -> Verdict:
    gone = [v for v in since or () if v.op == "D"]
    own_deletion = any(is_own(v, wish) for v in gone)
    unseen = since is None or (bool(gone) and not own_deletion)
    if wish.op == "I" and not unseen:
        return _new_row(table, last, wish)
    in_review = wish.op == "U" and any(str(table.group_of(c).policy) == "review" for c in wish.new)
    deleted_by = last_of(gone, wish)
    if in_review and last is not None:
        alive = None if since is None else [v for v in since if v.op != "D"]
        merged = _merge(table, last, alive, wish)
        assert merged.row is not None
        back = Note(
            "*", "delete", "review", tuple(wish.new), wish.old or None, wish.new, last,
            merged.row, deleted_by, wish.by,
        )  # fmt: skip
        return Verdict(merged.row, True, [back, *merged.notes], merged.overruled)
    note = Note(
        "*", "delete", "review" if in_review else "central", tuple(wish.new), wish.old or None,
        wish.new, last or {}, {}, deleted_by, wish.by,
    )  # fmt: skip
    return Verdict(None, notes=[note], overruled=frozenset(wish.new))


def _new_row(table: Table, last: Values | None, wish: Wish) -> Verdict:
    row = {c.name: wish.new.get(c.name, c.default) for c in table.columns}
    if not last or not any(c.order for c in table.columns):
        return Verdict(row, changed=True)
    # Somebody who saw the deleted row makes it anew: its states go on from where they were.
    states = {c: v for c, v in wish.new.items() if str(table.group_of(c).policy) == "lattice"}
    seen = replace(wish, op="U", new=states, old={c: last.get(c) for c in states})
    kept = _merge(table, last, (), seen)
    row |= {c: last.get(c) for c in kept.overruled}
    return Verdict(row, True, kept.notes, kept.overruled)


# --- column groups ----------------------------------------------------------------------------


def _merge(table: Table, row: Values, since: Sequence[Past] | None, wish: Wish) -> Verdict:
    others = by_others(table, since, wish)
    persons = {c.name for c in table.columns if c.writer}
    after, notes, overruled, any_contested = dict(row), [], set(), False
    for group in table.groups:
        touched = [c for c in group.columns if c in wish.new]
        if not touched or set(group.columns) <= persons:
            continue
        contested = wish.op == "I" or bool(others & set(group.columns))
        any_contested |= contested
        case = Case(table, group, row, since, wish)
        verdict, result = case.contested() if contested else case.alone()
        after |= result
        lost = [c for c in touched if not same(result[c], wish.new[c])]
        if verdict != "merged":
            overruled |= set(lost)
        if lost or (contested and case.takes_from_somebody(verdict)):
            notes.append(case.note(verdict, result))
    changed = any(not same(after.get(c), row.get(c)) for c in after)
    for person in persons & wish.new.keys():
        if changed or not (overruled or any_contested):
            changed |= not same(row.get(person), wish.new[person])
            after[person] = wish.new[person]
        elif not same(row.get(person), wish.new[person]):
            overruled.add(person)
    return Verdict(after, changed, notes, frozenset(overruled))


# --- beyond one write -------------------------------------------------------------------------


def displaced(table: Table, row: Values, since: Sequence[Past] | None, wish: Wish, made: Verdict):
    """Return a note of each value that goes though its writer saw another, where there is none."""
    covered = {c for note in made.notes for c in note.columns}
    after = made.row or {}

    def writer_of(column: str) -> By | None:
        wrote = [version for version in since or () if column in version.columns]
        return as_of(wrote[-1], {column}) if wrote else None

    return [
        Note(
            table.group_of(c).name, str(table.group_of(c).policy), "here", (c,),
            {c: wish.old[c]}, {c: wish.new.get(c)}, {c: row.get(c)}, {c: after[c]},
            writer_of(c), as_of(wish, {c}),
        )
        for c in table.names
        if c in after and c in wish.old and c not in covered and not table.column(c).writer
        and not same(row.get(c), after[c]) and not same(row.get(c), wish.old[c])
    ]  # fmt: skip


def give_way(
    table: Table, row: Values | None, later: Sequence[Past], wish: Wish
) -> tuple[Wish | None, list[Note]]:
    """Take out of a write that was parked what its own site wrote since.

    Not what both sides' writes add to: what each of them counted, put in and took out counts, and a
    state is as far along as either made it. There the two are strangers, as neither saw the other.
    """
    if not later:
        return wish, []
    author = later[-1].by
    if row is None or not wish.new:
        stands = row or {}
        return None, [
            Note("*", "delete", "central", tuple(wish.new), wish.old or None, wish.new, stands,
                 stands, author, wish.by)
        ]  # fmt: skip
    # Who deleted the row, or made another of its id, wrote all of it: none of it is added to.
    made_anew = {"I", "D"} & {version.op for version in later}
    left: dict[str, Any] = {}
    notes: list[Note] = []
    for group in table.groups:
        part = {c: wish.new[c] for c in group.columns if c in wish.new}
        wrote = [version for version in later if version.columns & set(group.columns)]
        policy = str(group.policy)
        both_stand = policy in ("sum", "add_remove_set", "lattice") and not made_anew
        if not wrote or both_stand:
            left |= part
        elif any(row.get(c) != v or policy == "sum" for c, v in part.items()):
            stands = {c: row.get(c) for c in group.columns}
            base = {c: wish.old[c] for c in part if c in wish.old} or None
            there = as_of(wrote[-1], wrote[-1].columns & set(group.columns))
            notes.append(
                Note(group.name, str(group.policy), "central", tuple(part), base, part, stands,
                     stands, there, as_of(wish, set(part)))
            )  # fmt: skip
    if not left:
        return None, notes
    return replace(wish, new=left, unseen=frozenset(later)), notes
