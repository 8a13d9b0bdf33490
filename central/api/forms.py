"""An answer in the form that was asked for: JSON, CSV, a line of JSON for each row, or Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from central.api.reach import Json
from central.documents import as_csv, plain, to_json
from central.reports.answer import document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from starlette.requests import Request

    from central.reports.answer import Answer

#: What can be asked for, by its short name; the first is what everybody gets who does not care.
TYPES: Final = {
    "json": "application/json",
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
#: Those that only a whole answer comes in.
WHOLE: Final = ("arrow", "parquet")


def form_of(request: Request, asked: str | None) -> str:
    """Return the form that was asked for; raise HTTPException 406 where it is none of ours."""
    return asked or accepted(request.headers.get("accept", ""), tuple(TYPES))


def answered(request: Request, answer: Answer, form: str) -> Response:
    """Return a page of an answer in a form."""
    match form:
        case "csv":
            made: Response = Response(
                as_csv(answer.columns, answer.rows), media_type="text/csv; charset=utf-8"
            )
        case "ndjson":
            lines = "".join(f"{to_json(row)}\n" for row in answer.rows)
            made = Response(lines, media_type=TYPES["ndjson"])
        case _:
            made = Json(document(answer))
    if answer.cursor:
        url = request.url.include_query_params(cursor=answer.cursor)
        made.headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    told = about(
        answer.as_of, provisional=answer.provisional,
        archived_not_counted=answer.archived_not_counted,
    )  # fmt: skip
    made.headers.update(told)
    return made


def about(as_of: datetime, *, provisional: bool, archived_not_counted: int) -> dict[str, str]:
    """Return what is told of an answer beside it."""
    return {
        "x-data-as-of": str(plain(as_of)),
        "x-provisional": str(provisional).lower(),
        "x-archived-not-counted": str(archived_not_counted),
        "vary": "accept, authorization, cookie, x-site-id",
    }


def accepted(header: str, forms: Sequence[str]) -> str:
    """Return the first of some forms of which the header likes none better.

    Raise HTTPException 406 where it likes none of them.
    """
    asked: dict[str, float] = {}
    for part in filter(None, (each.strip() for each in header.split(","))):
        kind, *options = (each.strip() for each in part.split(";"))
        weight = next((each[2:] for each in options if each.startswith("q=")), "1")
        try:
            asked[kind.lower()] = float(weight)
        except ValueError:
            asked[kind.lower()] = 0.0
    if not asked:
        return forms[0]
    liked = {
        name: max(asked.get(of, -1.0), asked.get(f"{of.split('/')[0]}/*", -1.0))
        for name, of in ((each, TYPES[each]) for each in forms)
    }
    liked = {
        name: weight if weight >= 0 else asked.get("*/*", 0.0) for name, weight in liked.items()
    }
    best = max(liked, key=lambda name: liked[name])
    if liked[best] <= 0:
        raise HTTPException(406, f"one of {', '.join(TYPES[each] for each in forms)}")
    return best
