"""PostgreSQL's own logical replication, from a server of its own into the centre's tables.

The rival: a factory that runs PostgreSQL and publishes a table, and the centre that subscribes to
it. The publisher's table has the same columns and key, but no partitions and no other index: it
can't be cheaper.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from deploy.local.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.bench.rows import Row

PUBLISHER = {"wal_level": "logical", "max_wal_senders": "4", "max_replication_slots": "4"}


@dataclass(slots=True)
class Rival:
    """A publisher whose tables the centre is subscribed to."""

    server: PostgresServer
    centre_url: str
    table: str
    _runs: int = 0

    def copy_rows(self) -> None:
        """Give the publisher the rows that the centre has, without sending them back."""
        with (
            psycopg.connect(self.centre_url) as centre,
            psycopg.connect(self.server.url(), autocommit=True) as here,
            centre.cursor().copy(f"COPY (TABLE mes.{self.table}) TO STDOUT".encode()) as out,
        ):
            here.execute(b"ALTER PUBLICATION rival SET (publish = 'update')")
            with here.cursor().copy(f"COPY mes.{self.table} FROM STDIN".encode()) as into:
                for piece in out:
                    into.write(piece)
            here.execute(f"ANALYZE mes.{self.table}".encode())

    def lay_ready(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Put rows into a table of the publisher that is not published."""
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS ready")
            names = ", ".join(columns)
            connection.execute(
                f"CREATE UNLOGGED TABLE ready AS SELECT 0::bigint AS no, {names}"
                f" FROM mes.{self.table} WITH NO DATA".encode()
            )
            with connection.cursor().copy(f"COPY ready (no, {names}) FROM STDIN".encode()) as into:
                for number, row in enumerate(rows):
                    into.write_row((number, *row))
            connection.execute("CREATE INDEX ON ready (no)")
            connection.execute("ANALYZE ready")

    def write(self, statement: str, count: int, batch: int) -> None:
        """Move the rows that lie ready, ``batch`` in a transaction, as a program of the factory."""
        with psycopg.connect(self.server.url(), autocommit=True) as connection:
            for start in range(0, count, batch):
                connection.execute(
                    f"{statement} r.no >= {start} AND r.no < {start + batch}".encode()
                )


@contextmanager
def replicated(root: Path, centre_url: str, table: str) -> Iterator[Rival]:
    """Run a publisher of a table, and subscribe the centre to it."""
    with PostgresServer(root, parameters=PUBLISHER) as server:
        _make_table(server.url(), centre_url, table)
        with psycopg.connect(centre_url, autocommit=True) as centre:
            address = server.url().replace("'", "''")
            centre.execute(
                f"CREATE SUBSCRIPTION rival CONNECTION '{address}' PUBLICATION rival"
                " WITH (copy_data = false, run_as_owner = true)".encode()
            )
            try:
                yield Rival(server, centre_url, table)
            finally:
                centre.execute("DROP SUBSCRIPTION rival")


def _make_table(url: str, centre_url: str, table: str) -> None:
    with psycopg.connect(centre_url) as centre:
        columns: list[tuple[Any, ...]] = centre.execute(
            """SELECT attname, format_type(atttypid, atttypmod), pg_get_expr(d.adbin, d.adrelid)
               FROM pg_attribute a
               LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
               WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
            [f"mes.{table}"],
        ).fetchall()
    listed = ", ".join(
        f"{name} {kind}{f' DEFAULT {default}' if default else ''}"
        for name, kind, default in columns
    )
    with psycopg.connect(url, autocommit=True) as publisher:
        publisher.execute("CREATE SCHEMA mes")
        publisher.execute(
            f"CREATE TABLE mes.{table} ({listed}, PRIMARY KEY (site_id, created_at, id))".encode()
        )
        publisher.execute(f"CREATE PUBLICATION rival FOR TABLE mes.{table}".encode())


def timed(rival: Rival, statement: str, count: int, batch: int, there: Any) -> float:
    """Write, wait until ``there()``, and return the seconds since the first statement."""
    started = time.perf_counter()
    rival.write(statement, count, batch)
    there()
    return time.perf_counter() - started
