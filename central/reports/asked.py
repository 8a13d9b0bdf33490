"""What every report can be asked with: the parameters, as programs are told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from central.reports.dimensions import DIMENSIONS
from central.reports.question import ROWS_MAX, ROWS_USUAL, VALUE_CHARS_MAX, VALUES_MAX, By

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from central.reports.dimensions import Dimension

_CHARS_MAX: Final = 1_000
#: Of a cursor, which may tell of each site until when it is complete.
_CURSOR_MAX: Final = 8_000
Text = Annotated[str, Field(max_length=_CHARS_MAX, pattern=r"^[^\x00]*$")]
Value = Annotated[str, Field(min_length=1, max_length=VALUE_CHARS_MAX, pattern=r"^[^\x00]*$")]
Values = Annotated[list[Value], Field(max_length=VALUES_MAX)]


class Asked(BaseModel):
    """What every report can be asked with."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: Text | None = Field(
        None, alias="from", examples=["2026-11-01"],
        description="First business day of each site, or an instant; inclusive.",
    )  # fmt: skip
    end: Text | None = Field(
        None, alias="to", examples=["2026-12-01"], description="The same; exclusive."
    )
    group_by: Text = Field("", description=f"Of {', '.join(DIMENSIONS)}; parted by commas.")
    by: By = Field(By.CODE, description="`id` tells things of one code at two sites apart.")
    limit: int = Field(ROWS_USUAL, ge=1, le=ROWS_MAX)
    cursor: Annotated[str, Field(max_length=_CURSOR_MAX, pattern=r"^[^\x00]*$")] | None = Field(
        None, description="`next` of the answer before."
    )
    format: Literal["json", "csv", "ndjson", "arrow", "parquet"] | None = Field(
        None, description="Goes before the Accept header."
    )
    whole: bool = Field(
        default=False,
        description="All rows as a stream: of csv or ndjson, as arrow and parquet always are.",
    )


def with_filters(
    base: type[Asked], known: Iterable[str], dimensions: Mapping[str, Dimension] = DIMENSIONS
) -> type[Asked]:
    """Return the parameters of a report with three for each thing that it can be filtered by."""
    fields: dict[str, Any] = {}
    for name in known:
        about = dimensions[name].about
        for end, how in (("", "is one of"), (".not", "is none of"), (".contains", "contains any")):
            fields[f"f_{name}{end.replace('.', '_')}"] = (
                Values,
                Field(default_factory=list, alias=f"{name}{end}", description=f"{about}: {how}."),
            )
    return create_model(f"{base.__name__}With{len(fields) // 3}Filters", __base__=base, **fields)


def filter_names(asked: type[Asked]) -> tuple[str, ...]:
    """Return what a report can be filtered by, as in ``machine``, ``machine.not``."""
    fields = asked.model_fields.items()
    return tuple(info.alias for name, info in fields if name.startswith("f_") and info.alias)


def given_filters(asked: Asked) -> dict[str, list[str]]:
    """Return the filters that were given, as ``question.filters`` reads them."""
    return {
        info.alias: values
        for name, info in type(asked).model_fields.items()
        if name.startswith("f_") and info.alias and (values := getattr(asked, name))
    }
