"""Reads the catalogue from TOML files: the packaged ones and those of a plant.

All mistakes of all files are collected into one CatalogError; each line names the file, the table,
the column, the rule and what to do. ``docs/catalogue.md`` tells how to write a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from shared.catalog import Catalog, Column, ColumnType, Direction, Group, Kind, Policy, Table
from shared.catalog_rules import TableFile, broken_rules
from shared.errors import CatalogError, InvalidValue
from shared.toml_text import parse_toml
from shared.values import canonical

#: Mistakes that one message lists.
SHOWN_MAX: Final = 50
PACKAGED: Final = Path(__file__).parent / "catalog"

_TYPE = re.compile(r"([a-z]+)(?:\(([0-9]{1,9})(?: *, *([0-9]{1,9}))?\))?", re.ASCII)
#: Messages carry the sum of all files' versions, which has to stay below 2^31.
_VERSION_MAX: Final = 1_000_000
#: Digits of a limit, before and after the point: a float has no more.
_LIMIT_DIGITS_MAX: Final = 350
#: Marks of the shape check: a list of texts, and a list of such lists.
TEXTS: Final = object()
KEYS: Final = object()
_FILE_KEYS: Final[dict[str, Any]] = {"version": int, "tables": dict}
_TABLE_KEYS: Final[dict[str, Any]] = {
    "direction": str,
    "append_only": bool,
    "share": TEXTS,
    "partitioned": bool,
    "natural_keys": KEYS,
    "columns": list,
    "groups": list,
    "since": int,
    "relax_by": str,
    "shared_only": bool,
    "help": str,
}
_COLUMN_KEYS: Final[dict[str, Any]] = {
    "name": str,
    "type": str,
    "required": bool,
    "default": (str, int, float, bool, list),
    "policy": str,
    "since": int,
    "renamed_from": TEXTS,
    "references": str,
    "enforced": bool,
    "values": TEXTS,
    "order": TEXTS,
    "safe": str,
    "writer": bool,
    "unit": str,
    "low": (int, str, float),
    "high": (int, str, float),
    "help": str,
}
_GROUP_KEYS: Final[dict[str, Any]] = {"name": str, "columns": TEXTS, "policy": str}

Choice = TypeVar("Choice", bound=StrEnum)
#: Takes a mistake; the place it was made at is known to it.
Report = Callable[[str], None]


def load_catalog(*extra_dirs: Path) -> Catalog:
    """Return the packaged catalogue with the tables that a plant declares in its own folders.

    Raise CatalogError with every mistake of every file.
    """
    errors: list[str] = []
    found: list[TableFile] = []
    # The sum of what the files have grown by, so that it grows whichever of them does. A plant's
    # file counts from 0: to add it is to grow.
    version = 1
    for path in _files(extra_dirs, errors):
        file_version, tables = _read_file(path, errors)
        found += [TableFile(path.name, file_version, table) for table in tables]
        version += file_version - (path.parent == PACKAGED)
    errors += broken_rules(found)
    if errors:
        raise CatalogError(_message(errors))
    return Catalog(version, tuple(item.table for item in found))


def _message(errors: list[str]) -> str:
    lines = [f"- {error}" for error in errors[:SHOWN_MAX]]
    if len(errors) > SHOWN_MAX:
        lines.append(f"- and {len(errors) - SHOWN_MAX} more; mend these first")
    return "the catalogue is not valid:\n" + "\n".join(lines)


def _files(extra_dirs: Sequence[Path], errors: list[str]) -> list[Path]:
    files: list[Path] = []
    for folder in (PACKAGED, *extra_dirs):
        if folder.is_dir():
            files += sorted(folder.glob("*.toml"))
        else:
            errors.append(f"{folder}: no such folder; name the folder that holds the *.toml files")
    return files


def _read_file(path: Path, errors: list[str]) -> tuple[int, list[Table]]:
    report = _reporter(errors, path.name)
    try:
        document = parse_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        report(f"can't be read as TOML: {error}; mend that line")
        return 1, []
    if not _shape_holds(document, _FILE_KEYS, ("version", "tables"), report):
        return 1, []
    if not 1 <= document["version"] <= _VERSION_MAX:
        report(f"version is {document['version']}; it counts the file's releases, from 1 on")
    return document["version"], [
        table
        for name, raw in document["tables"].items()
        if (table := _read_table(path.name, name, raw, errors))
    ]


def _reporter(errors: list[str], place: str) -> Report:
    def report(mistake: str) -> None:
        errors.append(f"{place}: {mistake}")

    return report


def _read_table(file: str, name: str, raw: Any, errors: list[str]) -> Table | None:
    place = f"{file}: table {name}"
    report, before = _reporter(errors, place), len(errors)
    if not _shape_holds(raw, _TABLE_KEYS, ("direction", "columns"), report):
        return None
    direction = _choice(Direction, raw["direction"], "direction", report)
    groups = tuple(_read_group(group, report) for group in raw.get("groups", ()))
    implied = _implied_policy(direction, append_only=raw.get("append_only", False))
    grouped = {column: g.policy for g in groups if g for column in g.columns}
    columns = []
    for place_, column in enumerate(raw["columns"]):
        label = column.get("name", place_) if isinstance(column, dict) else place_
        mistakes = _reporter(errors, f"{place}, column {label}")
        columns.append(_read_column(column, grouped, implied, mistakes))
    if len(errors) > before or direction is None:
        return None
    return Table(
        name=name,
        direction=direction,
        columns=tuple(column for column in columns if column),
        append_only=raw.get("append_only", False),
        share=tuple(raw.get("share", ("site_id",))),
        partitioned=raw.get("partitioned", False),
        natural_keys=tuple(tuple(key) for key in raw.get("natural_keys", ())),
        groups=tuple(group for group in groups if group),
        since=raw.get("since", 1),
        relax_by=raw.get("relax_by"),
        shared_only=raw.get("shared_only", False),
        help=raw.get("help", ""),
    )


def _implied_policy(direction: Direction | None, *, append_only: bool) -> Policy | None:
    """Return the policy of the columns that name none; two-way tables leave nothing to guess."""
    if append_only:
        return Policy.APPEND_ONLY
    return Policy.CENTRAL if direction is Direction.DOWN else None


def _read_group(raw: Any, report: Report) -> Group | None:
    if not _shape_holds(raw, _GROUP_KEYS, tuple(_GROUP_KEYS), report):
        return None
    policy = _choice(Policy, raw["policy"], f"group {raw['name']}: policy", report)
    return Group(raw["name"], tuple(raw["columns"]), policy) if policy else None


def _read_column(
    raw: Any, grouped: dict[str, Policy], implied: Policy | None, report: Report
) -> Column | None:
    if not _shape_holds(raw, _COLUMN_KEYS, ("name",), report):
        return None
    type_ = _read_type(raw, report)
    policy = _column_policy(raw, grouped, implied, report)
    if type_ is None or policy is None:
        return None
    order = raw.get("order", ())
    if policy is Policy.LATTICE and type_.kind is Kind.BOOLEAN:
        order = ("0", "1")
    try:
        default = canonical(type_, raw.get("default"))
    except InvalidValue as error:
        report(f"the default {raw['default']!r} is not a value of the column: {error}")
        return None
    return Column(
        name=raw["name"],
        type=type_,
        nullable=not raw.get("required", False),
        default=default,
        policy=policy,
        since=raw.get("since", 1),
        renamed_from=tuple(raw.get("renamed_from", ())),
        references=raw.get("references"),
        enforced=raw.get("enforced", False),
        values=tuple(raw.get("values", ())),
        order=tuple(order),
        safe=raw.get("safe", "keep_site") if policy is Policy.REVIEW else raw.get("safe"),
        writer=raw.get("writer", False),
        unit=raw.get("unit"),
        help=raw.get("help", ""),
    )


def _column_policy(
    raw: dict[str, Any], grouped: dict[str, Policy], implied: Policy | None, report: Report
) -> Policy | None:
    own = raw.get("policy")
    group = grouped.get(raw["name"])
    if own is not None:
        policy = _choice(Policy, own, "policy", report)
        if policy and group and policy is not group:
            report(f"policy is {policy} but its group's is {group}; leave the column's out")
        return policy
    if group or implied:
        return group or implied
    if raw.get("writer"):
        return Policy.LAST_WRITE
    report(f"a two-way column needs a policy, one of {', '.join(Policy)}")
    return None


def _read_type(raw: dict[str, Any], report: Report) -> ColumnType | None:
    text = raw.get("type", "uuid" if "references" in raw else None)
    if text is None:
        report('a type is needed, such as type = "text(40)"')
        return None
    match = _TYPE.fullmatch(text)
    kind = _choice(Kind, match[1] if match else text, "type", report)
    if not match or kind is None:
        return None
    first, second = match[2], match[3]
    fits = {Kind.DECIMAL: second is not None, Kind.TEXT: second is None}.get(kind, first is None)
    if not fits:
        report(f"type {text!r}: write text, text(40), decimal(18,6) or a kind without brackets")
        return None
    low, high = _limit(raw, "low", report), _limit(raw, "high", report)
    if kind is Kind.DECIMAL:
        return ColumnType(kind, None, int(first), int(second), low, high)
    return ColumnType(kind, int(first) if first else None, None, None, low, high)


def _limit(raw: dict[str, Any], end: str, report: Report) -> Decimal | None:
    if end not in raw:
        return None
    try:
        limit = Decimal(str(raw[end]))
    except ArithmeticError:
        limit = Decimal("nan")
    if limit.is_finite() and len(f"{limit:e}") + abs(limit.adjusted()) <= _LIMIT_DIGITS_MAX:
        return limit
    report(f'{end} is {raw[end]!r}; a number such as 0 or "0.5" is expected')
    return None


def _choice(kind: type[Choice], value: str, what: str, report: Report) -> Choice | None:
    try:
        return kind(value)
    except ValueError:
        report(f"{what} is {value!r}; one of {', '.join(kind)} is expected")
        return None


def _shape_holds(
    raw: Any, keys: Mapping[str, Any], required: Collection[str], report: Report
) -> bool:
    """Return whether a table of TOML has the keys that are expected, of the types expected."""
    if not isinstance(raw, dict):
        report(f"{{ key = value, ... }} is expected, not {raw!r}")
        return False
    mistakes = [f"{key!r} is missing; add it" for key in required if key not in raw]
    for key, value in raw.items():
        if key not in keys:
            mistakes.append(f"{key!r} is not known; one of {', '.join(keys)} is expected")
        elif not _is_a(value, keys[key]):
            mistakes.append(f"{key} = {value!r} is of the wrong type; see docs/catalogue.md")
    for mistake in mistakes:
        report(mistake)
    return not mistakes


def _is_a(value: object, kinds: Any) -> bool:
    if kinds is int and isinstance(value, bool):
        return False
    if kinds is TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kinds is KEYS:
        return isinstance(value, list) and all(_is_a(item, TEXTS) for item in value)
    return isinstance(value, kinds)
