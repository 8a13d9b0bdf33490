"""The description of the API tells of every operation what may go wrong, by construction."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import TypeAdapter

from central.access import Scope
from central.api import answers, answers_of_rows, examples, exports
from central.api.app import build
from central.api.asking import Guard, asks
from central.api.reach import V1, Reach
from central.api.routes import V1Route, include, v1_router
from shared.catalog_file import load_catalog

NOTHING: Any = None
REACH = Reach(
    pool=NOTHING, reading=NOTHING, reading_url="", watching=NOTHING, guard=Guard(NOTHING),
    audit=NOTHING, catalog=load_catalog(), link=NOTHING,
)  # fmt: skip
FOUND = build(REACH).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in FOUND["paths"].items()
    for method, operation in operations.items()
}
ASKED = [name for name in OPERATIONS if f" {V1}/" in name]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_refusal_is_described_as_a_problem_document(name):
    told = OPERATIONS[name]["responses"]
    refused = {code: each for code, each in told.items() if code >= "400"}
    assert {"405", "500", "503"} <= set(refused)
    for each in refused.values():
        assert list(each["content"]) == ["application/problem+json"]
        schema = each["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemTold"}
        assert each["description"]
    assert "Retry-After" in refused["429"]["headers"] if "429" in refused else True


@pytest.mark.parametrize("name", ASKED)
def test_every_question_tells_of_the_key_it_wants_and_of_what_that_may_be_refused(name):
    assert OPERATIONS[name]["security"] == [{"bearer": []}]
    assert {"401", "403", "422", "429"} <= set(OPERATIONS[name]["responses"])


def test_an_operation_with_a_body_tells_how_a_body_may_be_refused():
    with_body = [each for each in OPERATIONS.values() if "requestBody" in each]
    assert with_body
    for each in with_body:
        assert {"400", "408", "413", "422"} <= set(each["responses"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_name_a_tag_a_sentence_and_a_schema_of_its_answer(name):
    operation = OPERATIONS[name]
    assert operation["tags"][0] in {each["name"] for each in FOUND["tags"]}
    assert operation["description"]
    (done,) = {"200", "201", "202", "204"} & set(operation["responses"])
    forms = operation["responses"][done].get("content", {})
    assert forms or done == "204"
    assert all(form["schema"] for form in forms.values())


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (answers.Health, examples.HEALTH), (answers.ProblemKind, examples.KIND),
        (answers.ConflictsTold, examples.CONFLICTS), (answers.OneConflict, examples.CONFLICT),
        (answers.Resolution, examples.RESOLUTION), (answers_of_rows.OneRow, answers_of_rows.ROW),
        (answers_of_rows.RowsTold, answers_of_rows.ROWS),
        (answers_of_rows.DeletedRow, answers_of_rows.DELETED),
        (exports.OneExport, examples.EXPORT), (exports.ExportsTold, examples.EXPORTS),
    ],
)  # fmt: skip
def test_an_example_has_just_the_fields_of_what_it_is_an_example_of(kind, example):
    made = TypeAdapter(kind).validate_python(example)
    assert set(asdict(made)) == set(example)


def test_no_two_operations_have_one_name():
    names = Counter(each["operationId"] for each in OPERATIONS.values())
    assert set(names.values()) == {1}


def test_what_is_referred_to_is_described():
    named = set()

    def look(part: Any) -> None:
        if isinstance(part, dict):
            named.update([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
            for each in part.values():
                look(each)
        elif isinstance(part, list):
            for each in part:
                look(each)

    look(FOUND)
    schemas = {f"#/components/schemas/{name}" for name in FOUND["components"]["schemas"]}
    assert named <= schemas
    assert "#/components/schemas/HTTPValidationError" not in schemas


def _unguarded() -> APIRouter:
    routes = APIRouter(prefix=V1)
    routes.get("/open")(lambda: None)
    return routes


def _without_sites() -> APIRouter:
    routes = v1_router("x")
    routes.get("/open")(lambda: None)
    return routes


@pytest.mark.parametrize("made", [_unguarded, _without_sites])
def test_a_route_that_asks_nobody_who_they_are_is_not_taken_into_the_application(made):
    with pytest.raises(TypeError, match="not guarded"):
        include(FastAPI(), made())


def test_a_guarded_dependency_alone_does_not_make_a_route_ours():
    routes, reads = APIRouter(prefix=V1), Depends(asks(Guard(NOTHING), Scope.READ))
    routes.get("/open", dependencies=[reads])(lambda: None)
    with pytest.raises(TypeError, match="not guarded"):
        include(FastAPI(), routes)


def test_a_router_of_ours_makes_guarded_routes():
    routes = _without_sites()
    assert all(isinstance(each, V1Route) for each in routes.routes)
