"""Bodies that were frozen under an earlier catalogue, read back in the names of now."""

from __future__ import annotations

from dataclasses import replace

from edge.store.frozen import read_back
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.changes import ChangeBlock, Op, PartBody
from sync import codec

MADE = Column("counted", ColumnType(Kind.INTEGER), policy=Policy.SUM)
TOOLS = Table("tools", Direction.BOTH, (Column("note", ColumnType(Kind.TEXT, length=40)), MADE))
ROW = ChangeBlock(
    "tools", Op.UPDATE, ("counted", "note"), ["S"], ["2026-11-01T00:00:00.000Z"], ["id"], at=[30],
    base=[None], after=[None], new=[[7], ["a"]], old=[[0], ["b"]], times=[((1, 10),)],
)  # fmt: skip


def frozen(*blocks: ChangeBlock, schema: int = 1) -> bytes:
    return codec.compress(codec.encode_body(PartBody(schema, 5, 9, blocks)))


def catalog(version: int, *made: str) -> Catalog:
    """Return a catalogue in which the count is called as the last of these, and was as the rest."""
    *earlier, name = made
    column = replace(MADE, name=name, renamed_from=tuple(earlier))
    return Catalog(version, (replace(TOOLS, columns=(TOOLS.columns[0], column)),))


def test_a_body_is_read_by_the_names_of_now_however_often_they_changed() -> None:
    for version, names in ((2, ("counted", "made")), (3, ("counted", "made", "pieces"))):
        body = read_back(frozen(ROW), catalog(version, *names))
        (block,) = body.blocks
        assert (body.schema, body.hlc, body.offset_ms) == (version, 5, 9)
        assert block == replace(ROW, columns=(names[-1], "note"))


def test_a_name_that_came_back_to_a_column_is_that_column() -> None:
    now = catalog(3, "made", "counted")  # made and counted in turn; counted again
    assert read_back(frozen(ROW), now).blocks == (ROW,)
    between = replace(ROW, columns=("made", "note"))
    assert read_back(frozen(between, schema=2), now).blocks == (ROW,)


def test_what_the_catalogue_never_had_is_read_as_it_stands() -> None:
    strange = replace(ROW, columns=("counted", "unheard"))
    elsewhere = replace(ROW, table="elsewhere")
    body = read_back(frozen(strange, elsewhere), catalog(2, "counted", "made"))
    assert body.blocks == (replace(strange, columns=("made", "unheard")), elsewhere)
