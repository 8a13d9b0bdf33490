"""Lots and their genealogy as JSON, and as a list of what is where to work off a recall by."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from central.documents import cell
from central.reports.genealogy import Way
from central.reports.reading import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from central.reports.genealogy import Edge, Walk
    from central.reports.lots import Lot, Stock

#: Of a lot whose row is none of the asker's: no more is said, not even which of the three it is.
HIDDEN: Final = "not visible here: of a site that you don't reach, not arrived yet, or deleted"

_COLUMNS: Final = (
    "lot", "lot_site", "lot_no", "material_code", "supplier_lot", "quality_status", "holds",
    "level_up", "level_down", "site", "on_hand", "uom", "complete_through", "truncated",
    "archived_not_counted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """What lots are called in one answer: their ids, or numbers where they are not visible."""

    of: Mapping[UUID, str]

    @classmethod
    def given(cls, ids: Iterable[UUID], visible: Mapping[UUID, Lot]) -> Names:
        """Name lots; those that are not visible by numbers in the order in which they come."""
        names: dict[UUID, str] = {}
        hidden = 0
        for each in ids:
            if each not in visible:
                hidden += 1
            names[each] = str(each) if each in visible else f"hidden-{hidden}"
        return cls(names)


def listed(lots: Iterable[Lot], stock: Stock) -> list[dict[str, Any]]:
    """Return lots as JSON-ready values, with what is on hand and what blocks them."""
    return [asdict(lot) | _stock_of(lot.id, stock) for lot in lots]


def _stock_of(lot: UUID, stock: Stock) -> dict[str, Any]:
    return {
        "on_hand": stock.on_hand.get(lot, []), "archived_not_counted": stock.archived,
        "holds": stock.holds.get(lot, []),
    }  # fmt: skip


def ordered(walk: Walk, visible: Mapping[UUID, Lot]) -> list[UUID]:
    """Return the lots of a walk: the first one, then by distance and number."""

    def place(lot: UUID) -> tuple[int, bool, str, str]:
        nearest = min(levels[lot] for levels in walk.levels.values() if lot in levels)
        known = visible.get(lot)
        return nearest, known is None, known.lot_no if known else "", str(lot)

    return sorted(walk.lots, key=place)


def genealogy(walk: Walk, visible: Mapping[UUID, Lot], stock: Stock) -> dict[str, Any]:
    """Return lots and edges as JSON-ready values."""
    lots = ordered(walk, visible)
    names = Names.given(lots, visible)
    edges = sorted(walk.edges.values(), key=lambda edge: (edge.site, str(edge.id)))
    return {
        "truncated": bool(walk.truncated_by),
        "truncated_by": sorted(walk.truncated_by),
        "archived_not_counted": stock.archived,
        "lots": [_node(each, names, walk, visible) | _stock_of(each, stock) for each in lots],
        "edges": [_edge(each, names) for each in edges],
    }


def _node(lot: UUID, names: Names, walk: Walk, visible: Mapping[UUID, Lot]) -> dict[str, Any]:
    found = visible.get(lot)
    told: dict[str, Any] = {"lot": names.of[lot], "visible": found is not None}
    told |= {f"level_{way}": levels.get(lot) for way, levels in sorted(walk.levels.items())}
    return told | (asdict(found) if found else {"because": HIDDEN})


def _edge(edge: Edge, names: Names) -> dict[str, Any]:
    told = asdict(edge) | {"qty": number(edge.qty)}
    return told | {"parent": names.of[edge.parent], "child": names.of[edge.child]}


# --- as a table ----------------------------------------------------------------------------------


def to_csv(lots: Iterable[Mapping[str, Any]], through: Mapping[str, Any], *, cut: bool) -> str:
    """Return a line for each lot and site that ever had some of it (RFC 4180).

    ``lots`` are those of ``listed`` or ``genealogy``. That the list is cut, and what the sums lack,
    stands in every line: whoever works off a recall must not miss it.
    """
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(_COLUMNS)
    for lot in lots:
        for line in _lines(lot, through):
            more = ("yes" if cut else "no", lot["archived_not_counted"])
            lines.writerow([cell(each) for each in (*line, *more)])
    return text.getvalue()


def _lines(lot: Mapping[str, Any], through: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    name = lot.get("lot") or lot.get("id")
    about = [
        name, lot.get("site"), lot.get("lot_no"), lot.get("material_code"),
        lot.get("supplier_lot"), lot.get("quality_status"), len(lot["holds"]),
        lot.get(f"level_{Way.UP}"), lot.get(f"level_{Way.DOWN}"),
    ]  # fmt: skip
    if not lot["on_hand"]:
        yield (*about, None, None, None, through.get(lot.get("site") or ""))
    for each in lot["on_hand"]:
        yield (*about, each["site"], each["qty"], each["uom"], through.get(each["site"]))
