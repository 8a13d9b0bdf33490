"""Values of columns that a site's newer schema has and the centre's has not yet.

They wait until a migration brings the column (``central.extra``). One that gives way to another
whose writer had not seen it is kept in the conflict history, as a value of the row would be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from central.store.fixed import fixed
from central.store.literals import array
from central.store.parking import plain
from central.store.records import Item, conflict_row, record_conflicts
from shared.catalog import Kind, Policy
from shared.changes import Op
from shared.clock import touch_ms, wall_ms
from sync.decisions import Author, Conflict, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from central.store.applying import Applying
    from central.store.changeset import Extra, Refusal, Rows, Source
    from shared.changes import Value


class Waited(NamedTuple):
    """A value that waits for its column already."""

    packed: bytes
    #: Clock of the drain that it came in.
    hlc: int
    #: The store that wrote it has gone back since. It came down to no one, so nobody has seen it.
    is_lost: bool


#: A row and a column of it.
Place = tuple[tuple[str, str], str]
#: A new value, what it met, and whether that stays.
Met = tuple["Extra", Waited, bool]


async def keep_extras(
    applying: Applying, extras: Sequence[Extra], refused: Collection[Refusal] = ()
) -> None:
    """Keep the values of applied rows aside; the migration that brings the column moves them in."""
    gone = {(id(each.source.block), each.source.place) for each in refused}
    came = [
        each
        for each in extras
        if not gone or (id(each.source.block), each.source.place) not in gone
    ]
    if not came:
        return
    first = {_place(each): each for each in reversed(came)}
    kept, met = settled(came, await _waiting(applying, list(first.values())))
    await record_conflicts(
        applying,
        [
            _record(applying, each.source, each.column, each.value, waited, stays=stays)
            for each, waited, stays in met
        ],
    )
    await applying.plan(indexed=True)
    await applying.connection.execute(fixed("insert_extra"), _lists(applying, kept))


def _place(extra: Extra) -> Place:
    return extra.source.key, extra.column


async def _waiting(applying: Applying, extras: Sequence[Extra]) -> dict[Place, Waited]:
    if not applying.has_extras:
        return {}
    await applying.plan(indexed=True)
    cursor = await applying.connection.execute(fixed("read_extra"), _lists(applying, extras))
    return {_place(extras[at]): Waited(*found) for at, *found in await cursor.fetchall()}


def settled(
    extras: Iterable[Extra], waiting: Mapping[Place, Waited]
) -> tuple[list[Extra], list[Met]]:
    """Return the values that are to wait, and what met unseen what waited. Pure.

    The later one by the clock of its drain waits on, as it would stand in the row; a row that was
    parked meanwhile does not bring back what was before.
    """
    waits = dict(waiting)
    kept: dict[Place, Extra] = {}
    met: list[Met] = []
    for each in extras:
        place, hlc, packed = _place(each), each.source.origin.hlc, msgpack.packb(each.value)
        old = waits.get(place)
        stays = old is not None and old.hlc > hlc
        if old is not None and old.packed != packed and (stays or old.is_lost):
            met.append((each, old, stays))
        if not stays:
            waits[place], kept[place] = Waited(packed, hlc, is_lost=False), each
    return list(kept.values()), met


def _lists(applying: Applying, kept: Sequence[Extra]) -> dict[str, str]:
    sources, numbers = [each.source for each in kept], applying.table_nos
    lists: dict[str, tuple[Kind, list[Any]]] = {
        "table_name": (Kind.TEXT, [each.block.table for each in sources]),
        "table_no": (Kind.INTEGER, [numbers[each.block.table] for each in sources]),
        "id": (Kind.UUID, [each.id for each in sources]),
        "created_at": (Kind.TIMESTAMP, [each.block.created[each.place] for each in sources]),
        "column_name": (Kind.TEXT, [plain(each.column, 63) for each in kept]),
        "value": (Kind.BYTES, [msgpack.packb(each.value) for each in kept]),
        "schema": (Kind.INTEGER, [each.origin.schema for each in sources]),
        "hlc": (Kind.INTEGER, [each.origin.hlc for each in sources]),
    }
    given = {name: array(kind, values) for name, (kind, values) in lists.items()}
    return given | {"site": applying.site}


async def forget_extras(applying: Applying, pieces: Iterable[Rows]) -> None:
    """Forget values that wait for columns which these rows have been given since.

    A column that has come may still have values waiting: those that broke the rule that it had.
    """
    if not applying.has_extras:
        return
    for rows in pieces:
        if rows.op is Op.DELETE:
            continue  # with the row goes what waits for it
        ours = {
            name: place
            for place, c in enumerate(rows.columns)
            for name in (c.name, *c.renamed_from)
        }
        given = {
            "site": applying.site,
            "table_name": rows.table.name,
            "table_no": applying.no(rows.table),
            "names": array(Kind.TEXT, list(ours)),
            "id": array(Kind.UUID, rows.ids),
            "hlc": array(Kind.INTEGER, rows.hlc),
        }
        await applying.plan(indexed=True)
        cursor = await applying.connection.execute(fixed("delete_extra"), given)
        records = [
            _record(applying, rows.source(row), name, rows.new[ours[name]][row], Waited(*waited))
            for row, name, *waited in await cursor.fetchall()
        ]
        await record_conflicts(applying, records)


def _record(
    applying: Applying, source: Source, column: str, new: Value, waited: Waited,
    *, stays: bool = False,
) -> Item:  # fmt: skip
    """Return the record of a value that came and of one that waited, which had not seen another."""
    origin, name = source.origin, plain(column, 63)
    writer = applying.catalog.table(source.block.table).writer_column
    person = source.new().get(writer.name) if writer else None
    here, central = {name: new}, {name: msgpack.unpackb(waited.packed)}
    touched = source.block.at[source.place] if source.block.at else wall_ms(origin.hlc)
    conflict = Conflict(
        columns=(name,),
        group=plain(column, 40),
        policy=Policy.LAST_WRITE,  # that of the column is not known here yet
        outcome=Outcome.CENTRAL if stays else Outcome.HERE,
        base=None,
        here=here,
        central=central,
        result=central if stays else here,
        central_author=Author(origin.site, None, wall_ms(waited.hlc), clamped=False),
        here_author=Author(
            origin.site,
            None if person is None else str(person),
            *touch_ms(touched, origin.offset_ms, origin.stored_at_ms),
        ),
    )
    base = source.block.base[source.place] if source.block.base else None
    return conflict_row(applying, source, conflict, tx_id=origin.tx_id, base=base)
