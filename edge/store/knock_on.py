"""What triggers of the plant's write along with what the agent puts: it is the site's own writing.

Our capture is silent while the agent applies, and so it would be for what a trigger of the plant's
does to other rows meanwhile. Those writes are caught by temporary copies of the capture triggers,
which live in the agent's connection alone and cost the plant's programs nothing. They log every
row but the one that is being put; of that one, what stands afterwards is compared with what was
put. Only where the plant has triggers on our tables, and only for those tables, is any of it done.

A trigger may also undo what is put. A row that it passes over was not put, and is refused like one
that SQLite does not take. One that it takes away again was there, and its end is the site's own
writing; of facts nobody is told what such a trigger does. A row that it keeps from being taken away
is listed (``edge.store.removals``), also where it makes the row anew at once: as a write of the
site's that could go round for ever. What it writes on one that only ought to make way is sent.

What was logged is drained before the next heads are put: so it is based on what the trigger saw,
and is laid over a later head of its row like any other write of the site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import capture
from edge.sql_text import of_row, quoted
from edge.store import aside, uncaptured
from edge.store.drain import drain_within, waiting
from edge.store.lasts import differs
from edge.store.open import lenient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge.store.applying import Applying
    from edge.store.open import KnockOn
    from edge.store.target import Target
    from shared.changes import Value

# --- putting ------------------------------------------------------------------------------------


def put_row(
    applying: Applying, target: Target, row_id: str, statement: str, given: Sequence[Value]
) -> int:
    """Run a statement that puts or takes away one row; return the number of rows it found."""
    state = applying.opened.knock_on
    state.putting = row_id if target.stirred else None
    try:
        return applying.connection.execute(statement, given).rowcount
    finally:
        state.putting = None


def put_rows(
    applying: Applying, target: Target, statement: str, rows: Iterable[Sequence[Value]]
) -> None:
    """Run such a statement for each of these rows, whose first value is the id."""
    state = applying.opened.knock_on
    try:
        applying.connection.executemany(statement, _noted(state, rows) if target.stirred else rows)
    finally:
        state.putting = None


def _noted(state: KnockOn, rows: Iterable[Sequence[Value]]) -> Iterator[Sequence[Value]]:
    # SQLite asks for the next row when it is done with the one before, triggers and all.
    for row in rows:
        state.putting = str(row[0])
        yield row


def take_away(applying: Applying, target: Target, row_id: str) -> str | None:
    """Take a row away where it stands; return why it stands there still, where it does."""
    stood = uncaptured.standing(applying, target, row_id)
    reason = None
    try:
        put_row(applying, target, row_id, target.delete, (row_id,))
    except aside.REFUSALS as error:
        reason = aside.reason_of(applying, target, error)
    if (reason or target.stirred) and exists(applying, target, row_id):
        return reason or f"a trigger on {target.name} keeps it"
    uncaptured.keep(applying, target, stood)
    return None


def clear(applying: Applying, target: Target, row_id: str) -> bool:
    """Take a row out of another's way; return whether it went.

    Where it stays, what a trigger wrote on it instead is the site's own writing: the row stands,
    here and at the centre, and nothing is listed of it.
    """
    before = standing(applying, target, [row_id])
    if take_away(applying, target, row_id) is None:
        return True
    log_own(applying, target, before, {row_id: {}})
    return False


def exists(applying: Applying, target: Target, row_id: str) -> bool:
    """Return whether a row stands in the table."""
    query = f"SELECT 1 FROM {target.quoted} WHERE id = ?"
    return applying.connection.execute(query, (row_id,)).fetchone() is not None


def check_stands(applying: Applying, target: Target, row_id: str) -> None:
    """Raise RowIgnored where a row that was put does not stand: a trigger passed over it."""
    if target.stirred and not exists(applying, target, row_id):
        raise ignored(target)


def ignored(target: Target) -> aside.RowIgnored:
    """Return what is raised where a trigger passes over a row."""
    return aside.RowIgnored(f"a trigger on {target.name} passes over it")


def standing(applying: Applying, target: Target, ids: Sequence[str]) -> dict[str, dict[str, Value]]:
    """Return the site's own rows of these as they stand, where triggers may change them.

    Facts are left out: they are never changed, by whomever.
    """
    table = target.table
    if not target.stirred or table.fact or not target.has_log:
        return {}
    listed = ", ".join(map(of_row, table.names))
    query = f"SELECT {listed} FROM {target.quoted} d WHERE id = ? AND site_id = ?"
    found = {}
    with lenient(applying.connection):
        for row_id in ids:
            row = applying.connection.execute(query, (row_id, applying.opened.site)).fetchone()
            if row is not None:
                found[row_id] = dict(zip(table.names, row, strict=True))
    return found


def log_own(
    applying: Applying, target: Target, before: Mapping[str, Mapping[str, Value]],
    rows: Mapping[str, Mapping[str, Value]],
) -> None:  # fmt: skip
    """Log what triggers made of the very rows that were put, by id; ``before`` as they stood."""
    for row_id, now in standing(applying, target, list(rows)).items():
        put = {**now, **before.get(row_id, {}), **rows[row_id]}
        old = {name: put[name] for name in now if differs(put[name], now[name])}
        if old:
            columns = "".join(f", {quoted('o_' + name)}" for name in old)
            applying.connection.execute(
                f"INSERT INTO {quoted(capture.log_name(target.table))}"
                f" (op, id, mask, at_ms{columns}) VALUES ('U', ?, ?, ?{', ?' * len(old)})",
                (row_id, target.table.mask(old), applying.now_ms, *old.values()),
            )


def log_gone(applying: Applying, target: Target, row: Mapping[str, Value]) -> None:
    """Log that a trigger took away the very row that was put, as the site's own deletion.

    Raises RowIgnored where the site may not write the row: nobody would hear of its end.
    """
    if not target.has_log or target.table.fact or row["site_id"] != applying.opened.site:
        raise aside.RowIgnored(f"a trigger on {target.name} takes it away again")
    applying.connection.execute(
        f"INSERT INTO {quoted(capture.log_name(target.table))}"
        " (op, id, site_id, created_at, mask, at_ms) VALUES ('D', ?, ?, ?, 0, ?)",
        (row["id"], row["site_id"], row["created_at"], applying.now_ms),
    )


# --- draining -----------------------------------------------------------------------------------


def drain(applying: Applying) -> None:
    """Drain what was written along so far, before heads come that it has not seen."""
    if applying.opened.knock_on.tables and waiting(applying.opened):
        drain_within(applying.opened, applying.now_ms, whole=True)


def made_facts(applying: Applying, target: Target, put: Sequence[str]) -> bool:
    """Return whether triggers added facts beside those that were put: they are not drained yet."""
    if not target.stirred:
        return False
    (mark,) = applying.connection.execute(
        "SELECT journal_mark FROM _sync_table WHERE no = ?", (target.no,)
    ).fetchone()
    rows = applying.connection.execute(
        f"SELECT id FROM {target.quoted} WHERE {capture.JOURNAL} > ?", (mark,)
    )
    return not {row_id for (row_id,) in rows} <= set(put)
