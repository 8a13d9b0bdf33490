"""Copies of all that the centre's database holds, kept beside it in the same server.

A real backup is a copy of files; ``tests/faults`` takes real ones. Here rows and sequences are
copied, which takes a few milliseconds: what the product sees of a restore is that its rows are of
long ago, that unlogged tables are empty, and that the server was started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

_LOGGED = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('mes', 'sync') AND c.relkind = 'r' AND c.relpersistence = 'p'
ORDER BY 1"""
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value),
       last_value IS NOT NULL
FROM pg_sequences WHERE schemaname IN ('mes', 'sync')"""


@dataclass(frozen=True)
class Backup:
    """One copy."""

    name: str
    schema: str
    sequences: tuple[tuple[str, int, bool], ...]
    #: Ends of the feeds in it.
    ends: dict[str, int]


async def take(admin: psycopg.AsyncConnection[Any], name: str, place: int) -> Backup:
    """Copy all, into a place that may hold an older copy."""
    schema = f"sim_copy_{place}"
    statements = [f"CREATE SCHEMA IF NOT EXISTS {schema}"]
    for table in await _tables(admin):
        copy = f'{schema}."{table}"'
        statements += [
            f"CREATE TABLE IF NOT EXISTS {copy} (LIKE {table})", f"DELETE FROM {copy}",
            f"INSERT INTO {copy} SELECT * FROM {table}",
        ]  # fmt: skip
    await admin.execute("; ".join(statements).encode())
    sequences = await (await admin.execute(_SEQUENCES)).fetchall()
    ends = await (await admin.execute("SELECT scope, pos FROM sync.feed_head")).fetchall()
    return Backup(name, schema, tuple(sequences), dict(ends))


async def put_back(admin: psycopg.AsyncConnection[Any], backup: Backup) -> None:
    """Have the database hold what the copy holds, and nothing else."""
    statements = []
    for table in await _tables(admin):
        statements += [
            f"DELETE FROM {table}",
            f'INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {backup.schema}."{table}"',
        ]
    statements += [
        f"SELECT setval('{name}', {value}, {used})" for name, value, used in backup.sequences
    ]
    await admin.execute("; ".join(statements).encode())


async def _tables(admin: psycopg.AsyncConnection[Any]) -> list[str]:
    # All that a run may change; what tells how the database is built is the same in every copy.
    return [name for (name,) in await (await admin.execute(_LOGGED)).fetchall()]
