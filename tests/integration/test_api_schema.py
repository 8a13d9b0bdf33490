"""The API does what its description says, whatever schemathesis asks it by that description."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from central.api.app import build
from central.api.serve import listening, serve
from tests.integration.api_world import Api, api, link
from tests.integration.apply_world import world
from tests.integration.quarrel import quarrel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["api", "link", "world"]

# It is 45 s of work; beside other work on two cores it takes minutes.
pytestmark = [pytest.mark.postgres, pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 4711
EXAMPLES = 200
#: All that there are when this was written; a router more is asked, too.
OPERATIONS_MIN = 8
#: Checks that are left out, each with the reason.
EXCLUDED: dict[str, str] = {}


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    """Serve the API on a port of its own, and return its address."""
    listener = listening("127.0.0.1", 0)
    serving = asyncio.create_task(serve(build(api.reach), listener))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def schemathesis(address: str, key: str, path: Path) -> tuple[int, str]:
    """Ask an API by its description; return the exit code, and what was found."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{address}/v1/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--seed", str(SEED),
        "--max-examples", str(EXAMPLES), "--checks", "all",
        *(["--exclude-checks", ",".join(EXCLUDED)] if EXCLUDED else []),
        "--generation-database", "none", "--no-color", "--continue-on-failure",
        cwd=path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return await process.wait(), said.decode()


async def test_nothing_that_is_asked_by_the_description_is_answered_otherwise(api, world, tmp_path):
    await quarrel(world, world.site())
    async with served(api) as address:
        code, said = await schemathesis(address, await api.key("admin"), tmp_path)
    assert code == 0, said
    tested = re.search(r"Tested: +(\d+)", said)
    assert int(tested[1]) >= OPERATIONS_MIN, said
