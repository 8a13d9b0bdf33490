"""The description of the API for programs (OpenAPI): what may go wrong is added to every operation.

A route tells what it answers; what any request may be refused for is told here for all of them, so
that a new route has it by itself: whatever is refused is a problem document. Only a 409 is told
by the route, as ``responses={409: {"description": …}}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from central.api.answers import ProblemTold
from central.api.problems import KINDS, Problem
from central.api.reach import V1

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastapi import FastAPI

_REF: Final = "#/components/schemas/"
#: What the framework would tell of a request that breaks a rule.
_NOT_OURS: Final = ("HTTPValidationError", "ValidationError")
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}},
    405: {"Allow": {"schema": {"type": "string"}, "required": True}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}},
}  # fmt: skip

_ABOUT: Final = """\
Factories and the centre hold the same truth. Every question below `/v1` wants a key or a token, is
answered of its sites only, and is noted in the audit log. What goes wrong is told as RFC 9457 has
it. Within v1 fields are only added: pass over those that you do not know."""


def describe(app: FastAPI, schemas_too: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an application, with schemas that its routes refer to."""
    found = get_openapi(
        title="mes-sync centre", version="1", description=_ABOUT, routes=app.routes,
        tags=app.openapi_tags,
    )  # fmt: skip
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas |= _problem_schemas() | dict(schemas_too)
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                _leave_nulls_out(operation)
                _add_problems(path, operation)
    return found


def _leave_nulls_out(operation: dict[str, Any]) -> None:
    """Describe a parameter that may be left out by what it may be: in an address no null is."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        left = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
        parameter["schema"] = schema | (
            left[0] if len(left) == 1 else {"anyOf": left} if left else {}
        )


def _problem_schemas() -> dict[str, Any]:
    schema = TypeAdapter(ProblemTold).json_schema(ref_template=f"{_REF}{{model}}")
    return {**schema.pop("$defs"), "ProblemTold": schema}


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status in {*_statuses(path, operation), *(int(each) for each in responses)}:
        if status >= 400:
            told = responses.setdefault(str(status), {})
            responses[str(status)] = _problem(status, told.get("description"))
    operation["responses"] = dict(sorted(responses.items()))


def _statuses(path: str, operation: dict[str, Any]) -> Iterator[int]:
    """Give what an operation may be refused with, whatever it does itself."""
    listed = operation.get("parameters", [])
    yield from (405, 500, 503)
    if any(each["in"] == "path" for each in listed):
        yield 404
    if listed or "requestBody" in operation:
        yield 422
    if "requestBody" in operation:
        yield from (400, 408, 413)
    if path.startswith(f"{V1}/"):
        yield from (401, 403, 429)


def _problem(status: int, description: str | None) -> dict[str, Any]:
    kinds = [kind for kind in KINDS.values() if kind.status == status]
    listed = "; ".join(f"`{kind.name}`: {kind.title}" for kind in kinds)
    own = description and description not in ("Validation Error", "Successful Response")
    example = {
        "type": f"/problems/{kinds[0].name}", "title": kinds[0].title, "status": status,
        "detail": kinds[0].title, "instance": f"{V1}/conflicts",
    }  # fmt: skip
    told = {
        "description": f"{description} {listed}" if own else listed,
        "content": {
            Problem.media_type: {"schema": {"$ref": f"{_REF}ProblemTold"}, "example": example}
        },
    }
    return told | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
