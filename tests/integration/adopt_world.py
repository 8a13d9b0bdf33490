"""A plant's own tables, to be adopted, and the sites that are opened on them."""

from __future__ import annotations

import sqlite3

import pytest

from edge.adopt import adopt
from edge.store.setup import Owner
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from tests.integration.edge_drain_world import SITE, Site

OWNER = Owner(SITE, "here", 1_700_000_000_000)
GAUGES = """
    CREATE TABLE gauges (
        number INTEGER PRIMARY KEY,
        serial VARCHAR(20) COLLATE NOCASE UNIQUE,
        reading REAL,
        made DATETIME,
        own_use BLOB
    )
"""
OLD_PARTS = "CREATE TABLE old_parts (gauge INTEGER REFERENCES gauges ON DELETE CASCADE, name TEXT)"


def column(name, kind, **more):
    digits = {"precision": 18, "scale": 6} if kind is Kind.DECIMAL else {}
    return Column(name, ColumnType(kind, **digits), **more)


TWO_WAY = Table(
    "gauges",
    Direction.BOTH,
    (
        column("number", Kind.INTEGER),
        column("serial", Kind.TEXT),
        column("reading", Kind.DECIMAL),
        column("made", Kind.TIMESTAMP),
        column("state", Kind.TEXT, default="GOOD", nullable=False, values=("GOOD", "BAD")),
    ),
)
PARTS = Table(
    "old_parts", Direction.BOTH, (column("gauge", Kind.INTEGER), column("name", Kind.TEXT))
)
FACT = Table(
    "gauges",
    Direction.UP,
    tuple(column(c.name, c.type.kind, policy=Policy.APPEND_ONLY) for c in TWO_WAY.columns[:-1]),
    append_only=True,
)
CATALOG = Catalog(1, (TWO_WAY, PARTS))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "plant.db"
    plant = sqlite3.connect(path)
    plant.execute(GAUGES)
    plant.execute(OLD_PARTS)
    plant.executemany(
        "INSERT INTO gauges (number, serial, reading, made) VALUES (?, ?, ?, ?)",
        [(1, "A-1", 12.5, "2011-01-01T00:00:00Z"), (2, "A-2", None, "2011-01-02T00:00:00Z")],
    )
    plant.execute("INSERT INTO old_parts VALUES (1, 'spring'), (1, 'dial'), (2, 'case')")
    plant.commit()
    plant.close()
    return path


@pytest.fixture
def opened():
    """Open sites that are closed in the end."""
    sites = []

    def open_site(path, catalog=CATALOG):
        site = Site(path, catalog)
        sites.append(site)
        return site

    yield open_site
    for site in sites:
        site.close()


def adopted(path, opened, **more):
    adopt(path, "gauges", CATALOG, OWNER, **more)
    adopt(path, "old_parts", CATALOG, OWNER)
    site = opened(path)
    site.decided()
    return site


def unchanged(path, fails):
    plant = sqlite3.connect(path)
    before = [line for line in plant.iterdump() if "_sync_" not in line]
    fails()
    assert [line for line in plant.iterdump() if "_sync_" not in line] == before
    plant.close()
