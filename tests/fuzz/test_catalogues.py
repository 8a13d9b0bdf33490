"""Whatever a plant writes into its catalogue is one, or is refused with the file's name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from central.capture import capture_statements
from central.schema import create_statements
from tests.fuzz.catalogues import CATALOGUES, loaded, written
from tests.fuzz.target import Target
from tests.integration.central_world import make_centre


@pytest.mark.slow
@pytest.mark.parametrize("target", CATALOGUES, ids=lambda target: target.name)
def test_whatever_a_plant_declares_can_be_made_or_is_refused(target, seed):
    target.run(seed)


@pytest.mark.slow
def test_postgresql_makes_the_tables_of_any_catalogue_that_is_taken(database, seed):
    asyncio.run(make_centre(database))
    made = 0
    with psycopg.connect(database) as connection:

        def check(content: bytes) -> None:
            nonlocal made
            with TemporaryDirectory() as folder:
                path = Path(folder) / "acme.toml"
                path.write_bytes(content)
                catalog, _ = loaded(path)
            if catalog is None or "acme_t" not in catalog:
                return
            table = catalog.table("acme_t")
            connection.execute("INSERT INTO sync.table_no (name) VALUES ('acme_t')")
            for statement in (*create_statements(table), *capture_statements(table)):
                connection.execute(statement.encode())
            connection.rollback()
            made += 1

        Target("made by PostgreSQL", check, written()).run(seed, 40)
    assert made > 5
