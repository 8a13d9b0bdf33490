"""What reports answer, by their fields: for the description that programs are written from.

Which columns a row has follows from what was asked, so rows are described as what any may hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import Any, Final

from central.api.answers import Plain  # noqa: TC001 - pydantic reads it

#: An object whose fields docs/reports-quality.md tells.
Told = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """How fresh an answer is."""

    schema: str
    as_of: datetime
    #: Until when all that a site committed is in the answer; null of one that was never heard.
    complete_through: dict[str, datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTold(Fresh):
    """Rows in the order that was asked for."""

    #: A site may still send what belongs into the window.
    provisional: bool
    #: When what is known of the window changed two days after its end, or later; else null.
    restated_at: datetime | None
    #: The moment whose knowledge it is, where one was asked for.
    as_known_at: datetime | None
    #: Months of sites that are in the archive, and not in an answer that is made of single reports.
    archived_not_counted: int
    columns: list[str]
    rows: list[dict[str, Plain]]
    #: What to ask with for the rest.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defined:
    """What a name of reports stands for."""

    name: str
    about: str
    unit: str | None = None
    formula: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What reports count, group by and show."""

    schema: str
    measures: list[Defined]
    kpis: list[Defined]
    dimensions: list[Defined]
    buckets: list[Defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class CharacteristicsTold(Fresh):
    """What is inspected, each with its plan and its limits."""

    characteristics: list[Told]
    #: There are more: ask for less by `text`.
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LotsTold(Fresh):
    """Lots with what is on hand of them."""

    lots: list[Told]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenealogyTold(Fresh):
    """Lots and the edges between them."""

    lot: str
    direction: str
    depth: int
    truncated: bool
    truncated_by: list[str]
    lots: list[Told]
    edges: list[Told]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTold:
    """Facts by time."""

    schema: str
    table: str
    rows: list[dict[str, Plain]]
    next: str | None


#: The other forms that an answer comes in.
AS_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}
#: The same, where the header Accept is heeded.
AS_JSON_OR_CSV: Final = AS_CSV | {
    406: {"description": "The answer comes in neither of its forms, and no other is accepted."}
}
IN_FORMS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            **{
                f"application/vnd.apache.{name}": {"schema": {"type": "string", "format": "binary"}}
                for name in ("arrow.stream", "parquet")
            },
        }
    },
    406: {"description": "The answer comes in none of the forms that are accepted."},
}
