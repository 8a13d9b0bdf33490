"""Runs ``mes-central`` in this process, on a centre with three sites and without a broker."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.cli.command import run
from central.roles import as_role
from tests.integration.apply_world import open_world

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.apply_world import World

#: Nothing listens there, and the system says so at once.
NOBODY = "nats://127.0.0.1:1"


class Ran:
    """A command that was run: its exit code, and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class MesCentral:
    """The command; its settings are those of the environment, as in life."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
    ) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.works_on(url)

    def works_on(self, url: str) -> None:
        self.url = url
        self._monkeypatch.setenv("MES_DATABASE_URL", as_role(url, "mes_ingest"))
        self._monkeypatch.setenv("MES_ADMIN_URL", url)
        self._monkeypatch.setenv("MES_NATS_SERVERS", NOBODY)
        for name in ("MES_KEYS_DIR", "MES_NATS_CREDS", "NO_COLOR", "MES_CATALOGUE_DIRS"):
            self._monkeypatch.delenv(name, raising=False)

    def __call__(self, *arguments: object, **environment: object) -> Ran:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, str(value))
        self._capsys.readouterr()
        code = run([str(each) for each in arguments])
        captured = self._capsys.readouterr()
        return Ran(code, captured.out, captured.err)


@pytest.fixture
def mes_central(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], centre: str
) -> MesCentral:
    """The command, working on a migrated centre."""
    return MesCentral(monkeypatch, capsys, centre)


def at_the_centre(url: str, work: Callable[[World], Awaitable[Any]]) -> Any:
    """Do the work in a world on that database."""

    async def do() -> Any:
        async with open_world(url) as world:
            return await work(world)

    return asyncio.run(do())


def fetch(url: str, query: str, *given: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query, given or None)
        return cursor.fetchall() if cursor.description else []
