"""``mes-central catalogue``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from central.cli import exits
from central.cli import given as environment
from central.cli.look import as_json, say, say_json, table

if TYPE_CHECKING:
    from shared.catalog import Column, Table


@click.group()
def catalogue() -> None:
    """Check the catalogue's files (the packaged ones and MES_CATALOGUE_DIRS), show its tables."""


@catalogue.command()
@as_json
def check(*, json_wanted: bool) -> int:
    """Read all files; every mistake is told, with file, table, column and what to do."""
    read = environment.settings(needs_database=False)
    catalog = environment.catalogue(read)
    if json_wanted:
        say_json({
            "schema": "mes-central.catalogue-check/v1", "version": catalog.version,
            "digest": catalog.digest, "tables": len(catalog.tables),
        })  # fmt: skip
        return exits.OK
    say(f"valid: version {catalog.version}, {len(catalog.tables)} tables, {catalog.digest[:12]}")
    say("next: mes-central migrate --dry-run")
    return exits.OK


@catalogue.command()
@click.argument("name", required=False, metavar="[TABLE]")
@as_json
def show(name: str | None, *, json_wanted: bool) -> int:
    """List the tables, or the columns of one with their policies."""
    catalog = environment.catalogue(environment.settings(needs_database=False))
    tables = [catalog.table(name)] if name else list(catalog.tables)
    if json_wanted:
        say_json({"schema": "mes-central.catalogue/v1", "tables": [_document(t) for t in tables]})
        return exits.OK
    for line in _columns(tables[0]) if name else _overview(tables):
        say(line)
    return exits.OK


def _overview(tables: list[Table]) -> list[str]:
    rows = [
        (
            each.name, each.direction.value, "facts" if each.fact else None,
            "site, month" if each.partitioned else None, len(each.columns), each.help,
        )
        for each in tables
    ]  # fmt: skip
    return table(("TABLE", "WAY", "KIND", "PARTED BY", "COLUMNS", ""), rows)


def _columns(each: Table) -> list[str]:
    rows = [
        (
            column.name, column.type, None if column.nullable else "yes",
            each.group_of(column.name).policy.value, _group(each, column), column.references,
            column.help,
        )
        for column in each.columns
    ]  # fmt: skip
    titles = ("COLUMN", "TYPE", "REQUIRED", "POLICY", "GROUP", "REFERS TO", "")
    return [f"{each.name}: {each.help}", *table(titles, rows)]


def _group(each: Table, column: Column) -> str | None:
    group = each.group_of(column.name)
    return group.name if len(group.columns) > 1 else None


def _document(each: Table) -> dict[str, Any]:
    return {
        "name": each.name,
        "direction": each.direction.value,
        "append_only": each.append_only,
        "partitioned": each.partitioned,
        "natural_keys": each.natural_keys,
        "help": each.help,
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "required": not column.nullable,
                "policy": each.group_of(column.name).policy.value,
                "group": each.group_of(column.name).name,
                "references": column.references,
                "help": column.help,
            }
            for column in each.columns
        ],
    }
