"""Brings the centre's database to this release: bookkeeping, business tables, roles, partitions.

The bookkeeping by the numbered files of ``central/migrations``, each applied once; the business
tables by the difference between the catalogue they were last migrated to and the one given. Both
in one transaction, so that programs see all of it or nothing. Run a second time it does nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from central import (
    archive_hash,
    capture,
    extra,
    partitions,
    public_rights,
    roles,
    rollups,
    schema,
    unions,
)
from shared.catalog import Catalog, from_json, to_json
from shared.catalog_steps import AddColumn, AddTable, Change, RenameColumn, WidenType, differences
from shared.errors import SchemaMismatch, ServerTooOld, StoreBusy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from psycopg import AsyncConnection

FOLDER: Final = Path(__file__).parent / "migrations"
SERVER_MIN: Final = 180000
#: A table that is busy is waited for this long and then tried again: whoever comes after us in the
#: queue of its lock waits as well.
LOCK_WAIT_S: Final = 3
LOCK_TRIES: Final = 20
_ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of the migration: what it does, in words for the operator, and its statements."""

    what: str
    statements: tuple[str, ...]
    #: Who does it: the owner, or whoever migrates, or at the end the ingest, which sees all rows.
    by: str = roles.OWNER


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered file."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Return the hash that tells whether an applied file was changed."""
        return hashlib.sha256(self.text.encode()).hexdigest()


async def migrate(
    url: str,
    catalog: Catalog,
    sites: Collection[str],
    *,
    dry_run: bool = False,
    passwords: Mapping[str, str] | None = None,
    folder: Path = FOLDER,
) -> list[str]:
    """Bring the database to this release and catalogue; return the steps done, or to be done.

    ``url`` is that of a superuser, or of a role that may create roles and belongs to mes_owner.
    ``sites`` are registered where they are not yet. An empty list means that nothing was to do.
    Raise ServerTooOld, CatalogError where the catalogue lost something, SchemaMismatch where an
    applied file was changed or the database is of a later release, and StoreBusy where a table
    stayed locked; the database is then as it was.
    """
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        _check_server(connection)
        if dry_run:
            return [step.what for step in await plan(connection, catalog, sites, folder=folder)]
        done = [f"role {name} created" for name in await roles.create_roles(connection)]
        await roles.set_passwords(connection, passwords or {})
        done += await _migrate_in_one(connection, catalog, sites, folder)
        made = await _partitions_ahead(connection, catalog)
        return done + ([f"{len(made)} partitions made"] if made else [])


def _check_server(connection: AsyncConnection[Any]) -> None:
    found = connection.info.server_version
    if found < SERVER_MIN:
        raise ServerTooOld(
            f"PostgreSQL {found // 10000} is too old: {SERVER_MIN // 10000} is needed. Upgrade the"
            " server with pg_upgrade, or name another one in MES_DATABASE_URL"
        )


async def _migrate_in_one(
    connection: AsyncConnection[Any], catalog: Catalog, sites: Collection[str], folder: Path
) -> list[str]:
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            async with connection.transaction():
                return await _steps_done(connection, catalog, sites, folder)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == LOCK_TRIES:
                raise StoreBusy(
                    f"a table stayed locked: {error}. See pg_stat_activity for who holds it, and"
                    " migrate again; nothing was changed"
                ) from error
        await asyncio.sleep(LOCK_WAIT_S / 3)
    raise AssertionError


async def _steps_done(
    connection: AsyncConnection[Any], catalog: Catalog, sites: Collection[str], folder: Path
) -> list[str]:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'")
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('mes.migrate', 0))")
    steps = await plan(connection, catalog, sites, folder=folder)
    if steps:
        await connection.execute(roles.database_statement(connection.info.dbname))
        await _run(connection, steps, _ADMIN)
        # What is made belongs to the owner, whoever runs this.
        await connection.execute(f"SET LOCAL ROLE {roles.OWNER}")
        await _run(connection, steps, roles.OWNER)
    await connection.execute(f"SET LOCAL ROLE {capture.INGEST}")
    await _run(connection, steps, capture.INGEST)
    moved = await extra.materialise(connection, catalog)
    if steps:
        await extra.tell_of_parked(connection, catalog)
        await connection.execute("SELECT sync.count_change('*', 'kept')")
    return [step.what for step in steps] + moved


async def _run(connection: AsyncConnection[Any], steps: Sequence[Step], by: str) -> None:
    for step in (each for each in steps if each.by == by):
        for statement in step.statements:
            await connection.execute(statement.encode())


async def _partitions_ahead(
    connection: AsyncConnection[Any], catalog: Catalog
) -> list[partitions.Partition]:
    cursor = await connection.execute("SELECT sync.now_ms()")
    row = await cursor.fetchone()
    assert row is not None
    registered = await partitions.site_names(connection)
    return await partitions.make_ahead(connection, catalog, registered, row[0])


# --- the plan --------------------------------------------------------------------------------


async def plan(
    connection: AsyncConnection[Any],
    catalog: Catalog,
    sites: Collection[str],
    *,
    folder: Path = FOLDER,
) -> list[Step]:
    """Return the steps from what the database holds to this release and catalogue."""
    files = migrations(folder)
    applied = await _applied(connection)
    steps = [_file_step(file) for file in pending(files, applied)]
    old = await _last_catalogue(connection) if applied else None
    if old is None or old.digest != catalog.digest:
        steps += catalogue_steps(old, catalog)
    made = await _generated(connection) if applied else {}
    renewed = [
        *generated_steps(catalog, made), *index_steps(catalog, made), *hash_steps(catalog, made),
        *rollup_steps(catalog, made),
    ]  # fmt: skip
    if renewed or len(steps) > 0:
        steps.append(Step("grants on the schemas renewed", roles.SCHEMA_GRANTS))
    steps += renewed
    registered = set(await partitions.site_names(connection)) if applied else set[str]()
    steps += [_site_step(site) for site in sorted(set(sites) - registered)]
    # What the connection may not do, `mes-central readers add` tells.
    found = await public_rights.withdrawals(connection)
    if withdrawn := tuple(each.statement for each in found if each.allowed):
        steps.append(Step("rights that everybody had withdrawn", withdrawn, by=_ADMIN))
    return steps


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """Return the numbered files of a folder, in order."""
    return [
        Migration(int(path.name[:4]), path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    ]


def pending(files: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> list[Migration]:
    """Return the files that are still to be applied.

    ``applied`` holds name and SHA-256 of each number that was. Raise SchemaMismatch where one of
    them is not what it was, or is not known to this release at all.
    """
    by_number = {file.number: file for file in files}
    for number, (name, sha256) in applied.items():
        file = by_number.get(number)
        if file is None:
            raise SchemaMismatch(
                f"the database was migrated by a later release ({name}); upgrade this program"
            )
        if file.sha256 != sha256:
            raise SchemaMismatch(
                f"{file.name}.sql was changed after it had been applied; put it back, and write"
                " what is to change into a file with the next number"
            )
    return [file for file in files if file.number not in applied]


def _file_step(file: Migration) -> Step:
    note = (
        "INSERT INTO sync.migration (number, name, sha256) VALUES"
        f" ({file.number}, {schema.quoted(file.name)}, '{file.sha256}')"
    )
    return Step(f"{file.name} applied", (file.text, note))


def catalogue_steps(old: Catalog | None, new: Catalog) -> Iterator[Step]:
    """Give the steps from one catalogue, or none, to another, and note the new one."""
    old = old or Catalog(0, ())
    for change in differences(old, new):
        yield _change_step(old, new, change)
    note = (
        "INSERT INTO sync.catalogue (version, digest, content) VALUES"
        f" ({new.version}, '{new.digest}', {schema.quoted(to_json(new))})"
        " ON CONFLICT (version, digest) DO UPDATE SET applied_at = now()"
    )
    yield Step(f"catalogue {new.version} recorded", (note,))


def _change_step(old: Catalog, catalog: Catalog, change: Change) -> Step:
    match change:
        case AddTable(table):
            number = f"INSERT INTO sync.table_no (name) VALUES ('{table.name}')"
            made = (*schema.create_statements(table), number)
            return Step(f"table {table.name} created", made)
        case AddColumn(table=name, column=column):
            added = schema.column_statement(catalog.table(name), column)
            return Step(f"{name}.{column.name} added", (added,))
        case RenameColumn(table=name, before=before, after=after):
            renamed = schema.rename_statements(old.table(name), before, after)
            return Step(f"{name}.{before} renamed to {after}", tuple(renamed))
        case WidenType(table=name, before=before_column, after=column):
            widened = schema.widen_statement(catalog.table(name), before_column, column)
            return Step(f"{name}.{column.name} widened to {column.type}", (widened,))


def generated_steps(catalog: Catalog, made: Mapping[str, str]) -> Iterator[Step]:
    """Give the steps that renew triggers, policies and grants whose text is not what it was.

    ``made`` holds the SHA-256 of each table's text as it was made last.
    """
    for table in catalog.tables:
        statements = [*capture.capture_statements(table), *roles.table_statements(table)]
        sha256 = capture.fingerprint(statements)
        if made.get(table.name) != sha256:
            yield Step(
                f"capture, policies and grants of {table.name} made",
                (*statements, _generated_note(table.name, sha256)),
            )


def index_steps(catalog: Catalog, made: Mapping[str, str]) -> Iterator[Step]:
    """Give the steps that have facts found by id since others wait for them, a plant's as well.

    Also where the table was there long before: building the index holds up who writes it.
    """
    for table in schema.waited_for(catalog):
        statement = schema.id_index_statement(table)
        sha256 = capture.fingerprint([statement])
        name = f"index by id of {table}"
        if made.get(name) != sha256:
            yield Step(f"{name} made", (statement, _generated_note(name, sha256)))


def hash_steps(catalog: Catalog, made: Mapping[str, str]) -> Iterator[Step]:
    """Give the steps that renew the functions by which rows of archived months are known again."""
    for table in filter(archive_hash.archivable, catalog.tables):
        statement = archive_hash.function_statement(table)
        sha256 = capture.fingerprint([statement])
        name = f"row hash of {table.name}"
        if made.get(name) != sha256:
            yield Step(f"{name} made", (statement, _generated_note(name, sha256)))


def rollup_steps(catalog: Catalog, made: Mapping[str, str]) -> Iterator[Step]:
    """Give the steps that make rollups anew out of the facts, where their text is not what it was.

    The triggers lock the facts against writers until the commit, so none is missed or added twice.
    Where only their own text is another, all sums stay: those of archived months, too, whose facts
    are not in the table. Sums that were made anew are due to be held against all facts at once.
    """
    for name in filter(catalog.__contains__, rollups.ROLLED):
        tables = [*unions.table_statements(name), *roles.rollup_statements(name)]
        triggers = list(rollups.trigger_statements(name))
        what, how = f"rollups of {name}", f"triggers of rollups of {name}"
        of_tables, of_triggers = capture.fingerprint(tables), capture.fingerprint(triggers)
        noted = [_generated_note(how, of_triggers)]
        if made.get(what) != of_tables:
            noted.append(_generated_note(what, of_tables))
            yield Step(f"{what} made", (*tables, *triggers, *noted))
            sums = unions.fill_statements(name, f"mes.{name}")
            due = "DELETE FROM sync.rollup_check"
            yield Step(f"{what} filled", (*sums, due), by=capture.INGEST)
        elif made.get(how) != of_triggers:
            yield Step(f"{how} made", (*triggers, *noted))


def _generated_note(name: str, sha256: str) -> str:
    return (
        f"INSERT INTO sync.generated (table_name, sha256) VALUES ('{name}', '{sha256}')"
        " ON CONFLICT (table_name) DO UPDATE SET sha256 = excluded.sha256"
    )


def _site_step(site: str) -> Step:
    return Step(
        f"site {site} registered",
        (f"INSERT INTO sync.site (site) VALUES ({schema.quoted(site)}) ON CONFLICT DO NOTHING",),
    )


# --- what the database holds -----------------------------------------------------------------


async def _applied(connection: AsyncConnection[Any]) -> dict[int, tuple[str, str]]:
    cursor = await connection.execute("SELECT to_regclass('sync.migration') IS NOT NULL")
    row = await cursor.fetchone()
    if not (row and row[0]):
        return {}
    cursor = await connection.execute("SELECT number, name, sha256 FROM sync.migration")
    return {number: (name, sha256) for number, name, sha256 in await cursor.fetchall()}


async def _last_catalogue(connection: AsyncConnection[Any]) -> Catalog | None:
    cursor = await connection.execute(
        "SELECT content FROM sync.catalogue ORDER BY applied_at DESC, version DESC LIMIT 1"
    )
    row = await cursor.fetchone()
    return from_json(row[0]) if row else None


async def _generated(connection: AsyncConnection[Any]) -> dict[str, str]:
    cursor = await connection.execute("SELECT table_name, sha256 FROM sync.generated")
    return dict(await cursor.fetchall())
