"""The ack: the site's own writes that the centre has decided on, and what then stands in the rows.

Where the centre's result is not what the site wrote, the row's head comes with the ack or, for rows
that all sites share, before it. So a write that is settled without a head was taken *as the site
wrote it*, on the version that it had seen: the row that is shown stands, and its version is the
site's own transaction. A head in the shadow of such a row is that same version, come once more
(with a snapshot). Where the shadow holds any other version, that one is the centre's result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgpack

from edge.store import removals
from edge.store.heads import Head, own_writes, settle_row
from edge.store.overlay import shown
from edge.store.puts import put_all
from shared.changes import Fate, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge.store.applying import Applying
    from edge.store.overlay import OwnWrite
    from edge.store.target import Target

_SOME: Final = 1_000

_OWN_VERSIONS: Final = """
    INSERT INTO _sync_row (table_no, id, version, ord, gone)
    SELECT p.table_no, p.id, o.tx_id, 0, CASE WHEN p.op = 'D' THEN :now_ms ELSE 0 END
    FROM (SELECT table_no, id, op, max(n) AS n FROM _sync_pending WHERE n <= :n
          GROUP BY table_no, id) p
    JOIN _sync_out o ON o.epoch = :epoch AND o.n = p.n AND o.part = 0
    WHERE true
    ON CONFLICT (table_no, id) DO UPDATE SET version = excluded.version, gone = excluded.gone"""

#: Shadows of rows on which nothing is undecided any more.
_SPENT_SHADOWS: Final = """
    DELETE FROM _sync_shadow WHERE (table_no, id) IN
        (SELECT table_no, id FROM _sync_pending GROUP BY table_no, id HAVING max(n) <= :n)"""

_SHADOWS: Final = """
    SELECT s.table_no, s.id, s.fate, s.version, s.ord, s.head FROM _sync_shadow s
    WHERE (s.table_no, s.id) > (:table_no, :id)
      AND EXISTS (SELECT 1 FROM _sync_pending p
                  WHERE p.table_no = s.table_no AND p.id = s.id AND p.n <= :n)
    ORDER BY s.table_no, s.id LIMIT :some"""


def settle_own(applying: Applying) -> None:
    """Clear the site's own writes that are decided by now from over the heads."""
    given = {"epoch": applying.epoch, "n": applying.decided_n, "now_ms": applying.now_ms}
    for target, head in _shadows(applying):
        writes = own_writes(applying, target, head.id)
        decided = [write for write in writes if write.n <= applying.decided_n]
        # An update can't have been taken on a row that a snapshot no longer held.
        lost = head.fate is not Fate.PUT and all(w.op is not Op.INSERT for w in decided)
        if lost or head.version != decided[0].base:
            put = settle_row(applying, target, head)
            put_all(applying, target, [put] if put is not None else [])
        elif len(decided) < len(writes):
            _take_in(applying, target, head, decided)
    removals.forget_overtaken(applying)
    applying.connection.execute(_OWN_VERSIONS, given)
    applying.connection.execute(_SPENT_SHADOWS, given)
    applying.connection.execute("DELETE FROM _sync_pending WHERE n <= :n", given)


def _shadows(applying: Applying) -> Iterator[tuple[Target, Head]]:
    """Give the heads in the shadow of rows with decided writes, a few in memory at a time."""
    given: dict[str, object] = {"table_no": -1, "id": "", "n": applying.decided_n, "some": _SOME}
    while rows := applying.connection.execute(_SHADOWS, given).fetchall():
        for table_no, row_id, fate, version, order, packed in rows:
            target = applying.target_of(table_no)
            if target is not None:
                yield target, Head(row_id, Fate(fate), msgpack.unpackb(packed), version, order)
        given |= {"table_no": rows[-1][0], "id": rows[-1][1]}


def _take_in(applying: Applying, target: Target, head: Head, decided: Sequence[OwnWrite]) -> None:
    """Let the head in the shadow take in the writes that were taken, and be the last one's."""
    own = "(SELECT tx_id FROM _sync_out WHERE epoch = :epoch AND n = :n AND part = 0)"
    local = target.read(applying.connection, head.id)
    row = shown(target.table, head.fate, head.row, local=local, undecided=decided)
    given = {
        "fate": Fate.GONE if row is None else Fate.PUT,
        "head": msgpack.packb(row or {}),
        "epoch": applying.epoch,
        "n": decided[-1].n,
        "table_no": target.no,
        "id": head.id,
    }
    for statement in (
        f"UPDATE _sync_shadow SET fate = :fate, head = :head, version = {own}"
        " WHERE table_no = :table_no AND id = :id",
        f"UPDATE _sync_pending SET base = {own} WHERE table_no = :table_no AND id = :id AND n > :n",
    ):
        applying.connection.execute(statement, given)
