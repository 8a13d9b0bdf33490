"""Logins for plain SQL, made by the command and taken away after the test."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def new_name() -> str:
    """A name that no other test uses: logins belong to the server, which tests share."""
    return f"reader_{secrets.token_hex(6)}"


@pytest.fixture
def logins(mes_central, tmp_path) -> Iterator[Callable[..., str]]:
    """Makes logins for plain SQL; gives the address of each."""
    made: list[str] = []

    def make(*sites: str, name: str = "", **environment: object) -> str:
        name = name or new_name()
        made.append(name)
        path = tmp_path / name
        of = [word for site in sites for word in ("--site", site)] or ["--all-sites"]
        ran = mes_central("readers", "add", name, *of, "--password-file", path, **environment)
        assert ran.code == 0, ran.err
        return make_conninfo(
            mes_central.url, user=name, password=path.read_text().strip(), options=""
        )

    yield make
    for name in made:
        mes_central("readers", "remove", name, MES_ADMIN_URL=mes_central.url)
