"""Removals that were refused here: rows that the centre took away and that stand here still.

A trigger of the plant's may refuse any deletion, or none of its programs' functions be at hand for
an index. The feed does not stop for that. The row stays, under its old version and with whatever
such a trigger wrote on it instead, as if the removal had not come yet: what a program writes on it
is based on what it saw, and the centre decides on it like on a write that was under way when the
row went. The removal stands aside, listed with its version and order, and no older head takes its
place. It ends when the rule is lifted and it is tried again, when a later head comes, or when the
centre takes what the site wrote since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.store import aside, extra, knock_on
from edge.store.puts import end_removal, is_undecided, mark_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.puts import Put
    from edge.store.target import Target
    from shared.changes import HeadBlock, Value


_REASONS: Final = {
    aside.LEFT: "it left this site's share before the centre decided on the site's writes",
    aside.PARKED: "the centre has not accepted the site's insert",
    aside.GONE: "it was deleted; the site's own writes on it are in the conflict history",
}


def lose(
    applying: Applying, target: Target, local: Mapping[str, Value], code: str | None, put: Put
) -> bool:
    """Take a row out of sight; return whether it went.

    It is kept whole where the site's own writes go with it, also where it does not go.
    """
    if code is not None:
        aside.keep(applying, target, local, aside.Why(code, _REASONS[code]))
    reason = knock_on.take_away(applying, target, put.id)
    if reason is None:
        extra.forget(applying, target.name, [put.id])
    else:
        keep(applying, target, put.id, reason, put.version, put.order)
    return reason is None


def take_all(applying: Applying, target: Target, block: HeadBlock) -> set[str]:
    """Take the rows of a block away; return those that stand still, each of them listed."""
    kept = take_away(applying, target, block.ids)
    if kept:
        for row_id, version, order in zip(block.ids, block.version, block.order, strict=True):
            if row_id in kept:
                keep(applying, target, row_id, kept[row_id], version, order)
    return set(kept)


def take_away(applying: Applying, target: Target, ids: Sequence[str]) -> dict[str, str]:
    """Take rows away; return why those stand that do, by id.

    At once where nobody has triggers on the table, and all of it was captured; else one by one:
    one that is refused takes nothing with it.
    """
    if not target.one_by_one:
        try:
            knock_on.put_rows(applying, target, target.delete, zip(ids))
        except aside.REFUSALS as error:
            aside.reason_of(applying, target, error)
        else:
            return {}
    found = ((row_id, knock_on.take_away(applying, target, row_id)) for row_id in ids)
    return {row_id: reason for row_id, reason in found if reason is not None}


def keep(
    applying: Applying, target: Target, row_id: str, reason: str,
    version: str | None = None, order: int = 0,
) -> None:  # fmt: skip
    """List a removal that was refused; the row stays as it was, under its old version.

    One without a version, as where a snapshot lacks the row, leaves what is known of one that has.
    """
    named = (version, order) if version and order else aside.removal(applying, target, row_id)
    aside.drop(applying, target, row_id, aside.UNIQUE, aside.REFUSED)  # older than this one
    why = aside.Why(aside.REFUSED, f"it was taken away at the centre, and stays here: {reason}")
    aside.keep_removal(applying, target, row_id, why, named or ("", 0))
    mark_seen(applying, target, [row_id])


def try_again(applying: Applying, target: Target, row_id: str, version: tuple[str, int]) -> None:
    """Take a row away whose removal was refused; it stays where that is refused again.

    Also where the centre has still to decide on what the site wrote on it since.
    """
    if is_undecided(applying, target, row_id):
        return
    if knock_on.take_away(applying, target, row_id) is None:
        end_removal(applying, target, row_id, version)


_OVERTAKEN: Final = """
    SELECT a.table_name, a.id, a.ord FROM _sync_aside a JOIN _sync_table t ON t.name = a.table_name
    WHERE a.code = ? AND a.content = ? AND EXISTS
        (SELECT 1 FROM _sync_pending p WHERE p.table_no = t.no AND p.id = a.id AND p.n <= ?)"""


def forget_overtaken(applying: Applying) -> None:
    """Forget the removals of rows on which the centre took what the site wrote since, as it is.

    Whether such a row stands is the site's own word now. The order of the removal stays known: no
    head from before it comes back.
    """
    rows = applying.connection.execute(
        _OVERTAKEN, (aside.REFUSED, aside.NO_ROW, applying.decided_n)
    ).fetchall()
    for name, row_id, order in rows:
        target = applying.target(name)
        if target is not None:
            aside.drop(applying, target, row_id, aside.REFUSED)
            applying.connection.execute(
                "UPDATE _sync_row SET ord = max(ord, ?) WHERE table_no = ? AND id = ?",
                (order, target.no, row_id),
            )
