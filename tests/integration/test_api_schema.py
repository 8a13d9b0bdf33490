"""The API does what its description says, whatever schemathesis asks it by that description."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from central.api.app import build
from central.api.cache import Cached
from central.api.serve import listening, serve
from central.backups import Mark, set_mark
from tests.integration.api_world import Api, api, client, link
from tests.integration.apply_world import world
from tests.integration.planner_world import ORDERS, changed, made_order, order, seen
from tests.integration.quarrel import quarrel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

__all__ = ["api", "client", "link", "world"]

# Minutes of work, and beside other work on two cores three times as many.
pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(2700)]

SEED = 4711
EXAMPLES = 200
#: All that there are when this was written; a router more is asked, too.
OPERATIONS_MIN = 8
CHAINS = 40
#: All that schemathesis can check.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
    "positive_data_acceptance", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "use_after_free", "ensure_resource_availability", "ignored_auth",
    "object_level_authorization",
)  # fmt: skip
#: Reports that are the same operation as others, with another beginning: they are left out.
TWINS = (
    "^/v1/reports/(quality|rework|fpy|downtime|reliability|setup|workers|fulfilment|benchmark"
    "|on-time)$"
)
#: A stream has no end: each question would wait until schemathesis has had enough of it. What it
#: tells is read in test_web_live.py.
STREAM = "^/v1/events$"
#: Checks that are left out, of the operations below a path, each with the reason.
EXCLUDED: dict[tuple[str, str], str] = {
    (
        "^/v1/(reports|archive)/",
        "positive_data_acceptance",
    ): "which columns can be sorted by or shared out"
    " follows from the measures that are asked for, that `to` is after `from`, and that a day goes"
    " with a day: no schema of single parameters can tell; test_reports.py, test_reports_spc.py and"
    " test_archive_reading.py hold each rule",
    (
        "^/v1/conflicts$",
        "positive_data_acceptance",
    ): "a cursor is what a page ended with; test_central_api.py holds that pages are the list",
    (
        "^/v1/exports$",
        "positive_data_acceptance",
    ): "what a report can be asked with follows from its name; test_api_exports.py holds each rule",
    (
        "^/v1/tables/",
        "positive_data_acceptance",
    ): "which columns a row has, and by which rules, follows from the table in the address, and"
    " what a write builds on from the row that stands: /v1/tables tells, and no schema of a body"
    " can; test_planner_writes.py and test_planner_access.py hold each rule",
}


# What schemathesis does not look for: fields that are answered and described nowhere.


def undescribed(found: dict, schema: dict, value: object, where: str = "") -> list[str]:
    """Return the fields of an answer that its schema does not name."""
    while "$ref" in schema:
        schema = found["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        return min((undescribed(found, one, value, where) for one in schema["anyOf"]), key=len)
    if isinstance(value, list):
        return [
            a for each in value for a in undescribed(found, schema.get("items", {}), each, where)
        ]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    known = schema.get("properties", {})
    below = (
        undescribed(found, known[n], v, f"{where}.{n}") for n, v in value.items() if n in known
    )
    return [
        *(f"{where}.{name}" for name in value if name not in known),
        *(a for b in below for a in b),
    ]


async def test_no_field_is_answered_that_is_described_nowhere(client, world):
    quarrelled = await quarrel(world, world.site())
    for mark in (Mark.BEGUN, Mark.FINISHED):
        await set_mark(world.admin, "mon", mark)
    found = (await client.get("/v1/openapi.json")).json()
    here = f"/v1/conflicts/{quarrelled.conflict_id}"
    made = {"take": "here", "reason": "r", "by": "b", "seen": await world.head(quarrelled.row_id)}
    for path, asked in (
        ("/healthz", client.get("/healthz")), ("/v1/sites", client.get("/v1/sites")),
        ("/v1/sites/{site}", client.get("/v1/sites/SITE_001")),
        ("/v1/conflicts", client.get("/v1/conflicts")),
        ("/v1/conflicts/{name}", client.get(here)),
        ("/v1/conflicts/{name}/resolve", client.post(f"{here}/resolve", json=made)),
    ):  # fmt: skip
        check_described(found, path, await asked)


async def test_no_field_of_exports_is_answered_that_is_described_nowhere(api, tmp_path):
    reach = replace(api.reach, export_dir=tmp_path)
    async with await replace(api, reach=reach).asked_by("admin") as client:
        found = (await client.get("/v1/openapi.json")).json()
        made = await client.post("/v1/exports", json={"report": "log"})
        check_described(found, "/v1/exports", made)
        check_described(found, "/v1/exports", await client.get("/v1/exports"))
        one = await client.get(made.headers["location"])
        check_described(found, "/v1/exports/{export_id}", one)


async def test_no_field_of_rows_is_answered_that_is_described_nowhere(client):
    found = (await client.get("/v1/openapi.json")).json()
    at, one = "/v1/tables/{table}/rows", "/v1/tables/{table}/rows/{row_id}"
    row = await made_order(client)
    here = f"{ORDERS}/{row['id']}"
    check_described(found, "/v1/tables", await client.get("/v1/tables"))
    check_described(found, at, await client.get(ORDERS))
    check_described(found, one, await client.get(here))
    check_described(found, one, await changed(client, row, priority=1))
    row = (await client.get(here)).json()
    check_described(found, one, await client.delete(here, headers=seen(row)))
    check_described(
        found, at, await client.post(ORDERS, json={"site": "SITE_001", "values": order()})
    )


def check_described(found: dict, path: str, answer: httpx.Response) -> None:
    operation = found["paths"][path][answer.request.method.lower()]
    told = operation["responses"][str(answer.status_code)]
    schema = told["content"]["application/json"]["schema"]
    assert answer.is_success
    assert undescribed(found, schema, answer.json()) == [], path


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    """Serve the API on a port of its own, and return its address."""
    listener, live = listening("127.0.0.1", 0), api.reach.live
    # As the process does it: behind what keeps answers, which follows what changes.
    following = asyncio.create_task(live.follow(api.reach.reading_url))
    front = Cached(build(api.reach), api.reach)
    serving = asyncio.create_task(serve(front, listener, ends=live.end))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for each in (serving, following):
            each.cancel()
        await asyncio.gather(serving, following, return_exceptions=True)


async def schemathesis(address: str, key: str, path: Path) -> tuple[int, str]:
    """Ask an API by its description; return the exit code, and what was found."""
    # So many chains of questions, each of several; EXAMPLES are of each operation by itself.
    left_out = "".join(
        f'[[operations]]\ninclude-path-regex = "{below}"\nchecks.{check}.enabled = false\n'
        for below, check in EXCLUDED
    )
    every = "".join(f"{name}.enabled = true\n" for name in CHECKS)
    (path / "schemathesis.toml").write_text(
        f"[checks]\n{every}[phases.stateful.generation]\nmax-examples = {CHAINS}\n{left_out}"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{address}/v1/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--seed", str(SEED),
        "--max-examples", str(EXAMPLES), "--exclude-path-regex", f"{TWINS}|{STREAM}",
        "--generation-database", "none", "--no-color", "--continue-on-failure",
        cwd=path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return await process.wait(), said.decode()


async def test_nothing_that_is_asked_by_the_description_is_answered_otherwise(api, world, tmp_path):
    await quarrel(world, world.site())
    reach = replace(api.reach, export_dir=tmp_path / "exports")
    async with served(replace(api, reach=reach)) as address:
        code, said = await schemathesis(address, await api.key("admin"), tmp_path)
    assert code == 0, said
    tested = re.search(r"Tested: +(\d+)", said)
    assert int(tested[1]) >= OPERATIONS_MIN, said
