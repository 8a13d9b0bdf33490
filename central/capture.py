"""The text of the centre's capture: what makes any SQL client's write reach the sites.

Pure. Each two-way or central table gets three statement triggers with transition tables. In the
writer's own transaction they mint a version, move the head, note what was touched, hold the natural
keys and queue the rows for the feed. They belong to mes_owner and run with its rights; the role
mes_ingest, and no setting, keeps them silent.

The functions run without nested loops: PostgreSQL plans them once a session, for as many rows as
the first statement had, and a plan made for one row would take forever on a hundred thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from central.canonical import expression
from shared.catalog import SITE_ID, Column, Kind, Table

#: The role whose writes are not captured, since it does all this itself.
INGEST: Final = "mes_ingest"
CHANNEL: Final = "mes_feed"

_BY_CLIENT: Final = f"WHEN (current_user <> '{INGEST}')"
_PERSON: Final = "nullif(current_setting('app.person', true), '')"


def capture_statements(table: Table) -> list[str]:
    """Return the statements that make or renew the functions and triggers of a table."""
    if table.fact:
        return [*_never(table), *_refusal(table, "facts", "INSERT OR UPDATE OR DELETE", "fact")]
    captured = [*_captured(table, "insert", _insert_body(table))]
    if table.append_only:
        # Deleting is refused as well: a row that others already have can only be corrected.
        captured += _refusal(table, "corrections", "UPDATE OR DELETE", "correction")
    else:
        captured += _captured(table, "update", _update_body(table))
        captured += _captured(table, "delete", _delete_body(table))
    return [*_never(table), *captured]


def fingerprint(statements: list[str]) -> str:
    """Return the SHA-256 of statements, which tells whether what they made has to be made again."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


# --- what is never allowed -------------------------------------------------------------------


def _never(table: Table) -> list[str]:
    moved = "(old.id, old.site_id, old.created_at) IS DISTINCT FROM"
    return [
        *_trigger(
            table,
            "refuse_move",
            "BEFORE UPDATE OF id, site_id, created_at",
            f"FOR EACH ROW WHEN ({moved} (new.id, new.site_id, new.created_at))",
            "refuse_move",
        ),
        *_trigger(
            table, "refuse_truncate", "BEFORE TRUNCATE", "FOR EACH STATEMENT", "refuse_truncate"
        ),
    ]


def _refusal(table: Table, what: str, events: str, function: str) -> list[str]:
    each = f"FOR EACH STATEMENT {_BY_CLIENT}"
    return _trigger(table, f"refuse_{what}", f"BEFORE {events}", each, f"refuse_{function}")


def _trigger(table: Table, name: str, when: str, each: str, function: str) -> list[str]:
    return [
        f"DROP TRIGGER IF EXISTS {name} ON mes.{table.name}",
        f"CREATE TRIGGER {name} {when} ON mes.{table.name}\n"
        f"    {each} EXECUTE FUNCTION sync.{function}()",
    ]


# --- what is captured ------------------------------------------------------------------------

_TRANSITIONS: Final = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
}


def _captured(table: Table, op: str, body: str) -> list[str]:
    name = f"capture_{table.name}_{op}"
    # "replaced" holds instants as text, so the zone of the writer's session must not show in it.
    return [
        f"CREATE OR REPLACE FUNCTION sync.{name}() RETURNS trigger\n"
        "LANGUAGE plpgsql SECURITY DEFINER\n"
        "SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET timezone = 'UTC'\n"
        f"AS $capture$\n{body}$capture$",
        *_trigger(
            table,
            f"capture_{op}",
            f"AFTER {op.upper()}",
            f"{_TRANSITIONS[op]}\n    FOR EACH STATEMENT {_BY_CLIENT}",
            name,
        ),
    ]


def _declared(table: Table, *more: str) -> str:
    lines = "".join(f"    {line};\n" for line in more)
    return (
        "DECLARE\n"
        f"    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = '{table.name}');\n"
        "    _version CONSTANT uuid := uuidv7();\n"
        "    _at_ms CONSTANT bigint := sync.now_ms();\n"
        f"{lines}"
        "BEGIN\n"
    )


def _end() -> str:
    return f"    PERFORM pg_notify('{CHANNEL}', '');\n    RETURN NULL;\nEND "


#: The order is taken under the lock of the head's row, so it grows along each row.
_MOVE_HEAD: Final = (
    "        ON CONFLICT (site_id, table_no, id) DO UPDATE\n"
    "        SET version = excluded.version, ord = nextval('sync.version_order'),\n"
    "            deleted = {deleted}, created_at = excluded.created_at\n"
)
_HEAD: Final = (
    "        INSERT INTO sync.head AS h (site_id, table_no, id, created_at, version, ord, deleted)\n"
    "        SELECT {row}.site_id, _table, {row}.id, {row}.created_at, _version,\n"
    "            nextval('sync.version_order'), {deleted}\n"
    "        FROM {rows} AS {row} ORDER BY {row}.site_id, {row}.id\n"
) + _MOVE_HEAD
_VERSION: Final = (
    "        INSERT INTO sync.version (site_id, table_no, id, ord, version, op, mask, origin, writer,\n"
    "            at_ms, replaced)\n"
)
_TOUCHED: Final = "    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)\n"


def _insert_body(table: Table) -> str:
    writer = table.writer_column
    person = f", n.{writer.name}::text" if writer else ""
    every = (1 << len(table.columns)) - 1
    keys = "".join(_take_key(table, number, "") for number in range(len(table.natural_keys)))
    return (
        _declared(table, "_taken bigint", "_clash record")
        + "    WITH heads AS (\n"
        + _HEAD.format(row="n", rows="new_rows", deleted="false")
        + "        WHERE h.deleted\n"
        "        RETURNING h.site_id, h.id, h.ord\n"
        "    ), versions AS (\n"
        + _VERSION
        + f"        SELECT n.site_id, _table, n.id, h.ord, _version, 'I', {every}, '*',\n"
        f"            coalesce({_PERSON}{person}, session_user), _at_ms, NULL\n"
        "        FROM heads AS h JOIN new_rows AS n USING (site_id, id)\n"
        "    )\n"
        + _TOUCHED
        + f"    SELECT _table, n.site_id, n.id, n.created_at, {_scopes(table, 'n')}\n"
        "    FROM heads AS h JOIN new_rows AS n USING (site_id, id) ORDER BY n.site_id, n.id;\n"
        "    GET DIAGNOSTICS _taken = ROW_COUNT;\n"
        "    IF _taken < (SELECT count(*) FROM new_rows) THEN\n"
        "        SELECT n.id, n.site_id INTO _clash\n"
        "        FROM new_rows AS n JOIN sync.head AS h\n"
        "            ON (h.site_id, h.table_no, h.id) = (n.site_id, _table, n.id)\n"
        "        WHERE h.version <> _version LIMIT 1;\n"
        f"        RAISE EXCEPTION '{table.name}: id % of site % exists already',\n"
        "            _clash.id, _clash.site_id USING ERRCODE = 'unique_violation';\n"
        "    END IF;\n"
        "    IF _taken = 0 THEN\n"
        "        RETURN NULL;\n"
        "    END IF;\n" + keys + _end()
    )


def _update_body(table: Table) -> str:
    writer = table.writer_column
    person = ""
    if writer:
        # A person's name that stands there from an earlier write says nothing about this one.
        changed = f"o.{writer.name} IS DISTINCT FROM n.{writer.name}"
        person = f", CASE WHEN {changed} THEN n.{writer.name}::text END"
    bits = "\n                + ".join(_bit(table, column) for column in table.columns)
    return (
        _declared(table, "_clash record")
        + "    WITH changed AS MATERIALIZED (\n"
        "        SELECT * FROM (\n"
        "            SELECT n.site_id, n.id, n.created_at,\n"
        f"                coalesce({_PERSON}{person},\n                    session_user) AS writer,\n"
        f"                {_scopes(table, 'o', 'n')} AS scopes,\n"
        "                sync.replaced(to_jsonb(o), to_jsonb(n)) AS replaced,\n"
        f"                {bits} AS mask\n"
        "            FROM old_rows AS o JOIN new_rows AS n USING (site_id, created_at, id)\n"
        "        ) AS c WHERE c.mask <> 0\n"
        "    ), heads AS (\n"
        + _HEAD.format(row="c", rows="changed", deleted="false")
        + "        RETURNING h.site_id, h.id, h.ord\n"
        "    ), versions AS (\n"
        + _VERSION
        + "        SELECT c.site_id, _table, c.id, h.ord, _version, 'U', c.mask, '*', c.writer,\n"
        "            _at_ms, c.replaced\n"
        "        FROM heads AS h JOIN changed AS c USING (site_id, id)\n"
        "    )\n" + _TOUCHED + "    SELECT _table, c.site_id, c.id, c.created_at, c.scopes\n"
        "    FROM changed AS c ORDER BY c.site_id, c.id;\n"
        "    IF NOT FOUND THEN\n"
        "        RETURN NULL;\n"
        "    END IF;\n" + _changed_keys(table) + _end()
    )


def _delete_body(table: Table) -> str:
    return (
        _declared(table, *(["_gone record"] if table.natural_keys else []))
        + "    WITH heads AS (\n"
        + _HEAD.format(row="o", rows="old_rows", deleted="true")
        + "        RETURNING h.site_id, h.id, h.ord\n"
        "    ), versions AS (\n"
        + _VERSION
        + "        SELECT o.site_id, _table, o.id, h.ord, _version, 'D', 0, '*',\n"
        f"            coalesce({_PERSON}, session_user), _at_ms, to_jsonb(o)\n"
        "        FROM heads AS h JOIN old_rows AS o USING (site_id, id)\n"
        "    )\n"
        + _TOUCHED
        + f"    SELECT _table, o.site_id, o.id, o.created_at, {_scopes(table, 'o')}\n"
        "    FROM old_rows AS o ORDER BY o.site_id, o.id;\n"
        "    IF NOT FOUND THEN\n"
        "        RETURN NULL;\n"
        "    END IF;\n"
        + (_drop_keys() if table.natural_keys else "")
        + _end()
    )


# --- columns ---------------------------------------------------------------------------------


def _bit(table: Table, column: Column) -> str:
    old, new = (_comparable(column, row) for row in "on")
    return f"CASE WHEN {old} IS DISTINCT FROM {new} THEN {1 << table.bit(column.name)} ELSE 0 END"


def _comparable(column: Column, row: str) -> str:
    """Return the column as something that has an equality, which the type json has not."""
    return f"{row}.{column.name}" + ("::text" if column.type.kind is Kind.JSON else "")


def _scopes(table: Table, *rows: str) -> str:
    """Return the sites whose share the row is in, in any of its states given."""
    if table.share == ("site_id",):
        return f"ARRAY[{rows[0]}.site_id::text]"
    shares = ", ".join(f"{row}.{name}::text" for row in rows for name in table.share)
    return f"sync.scopes({shares})"


# --- natural keys ----------------------------------------------------------------------------


def key_expression(table: Table, number: int, row: str) -> str:
    """Return the SQL that makes the text of ``central.schema.natural_key`` from a row's columns."""
    kinds = {SITE_ID.name: SITE_ID.type.kind} | {c.name: c.type.kind for c in table.columns}
    parts = [
        f"to_json(({expression(kinds[name], f'{row}.{name}')})::text)::text"
        for name in table.natural_keys[number]
    ]
    return " || ".join([f"'[{number},'", " || ',' || ".join(parts), "']'"])


def _take_key(table: Table, number: int, joined: str) -> str:
    """Return what holds a natural key for new rows, or tells the writer whose it is."""
    names = ", ".join(table.natural_keys[number])
    rows = (
        f"(SELECT n.site_id, n.id, {key_expression(table, number, 'n')} AS key\n"
        f"        FROM new_rows AS n{joined})"
    )
    return (
        "    INSERT INTO sync.row_key (site_id, table_no, key, id)\n"
        f"    SELECT k.site_id, _table, k.key, k.id\n    FROM {rows} AS k\n"
        "    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key ON CONFLICT DO NOTHING;\n"
        "    SELECT k.site_id, k.key, k.id, r.id AS other INTO _clash\n"
        f"    FROM {rows} AS k\n"
        "    JOIN LATERAL (SELECT r.id FROM sync.row_key AS r WHERE r.site_id = k.site_id\n"
        "        AND r.table_no = _table AND r.key = k.key OFFSET 0) AS r ON r.id <> k.id\n"
        "    LIMIT 1;\n"
        "    IF FOUND THEN\n"
        f"        RAISE EXCEPTION '{table.name}: {names} % of site % is taken by row %',\n"
        f"            substr(_clash.key, {len(str(number)) + 3}, length(_clash.key)"
        f" - {len(str(number)) + 3}), _clash.site_id, _clash.other\n"
        f"            USING ERRCODE = 'unique_violation', TABLE = '{table.name}', SCHEMA = 'mes',\n"
        f"                CONSTRAINT = '{table.name}_natural_key_{number}',\n"
        "                DETAIL = format('The new row is %s.', _clash.id);\n"
        "    END IF;\n"
    )


def _changed_keys(table: Table) -> str:
    """Return what moves natural keys: all old ones are let go before the new ones are taken."""
    join = " JOIN old_rows AS o USING (site_id, created_at, id)\n        WHERE "
    blocks = ""
    for number in range(len(table.natural_keys)):
        old, new = (key_expression(table, number, row) for row in "on")
        differs = f"{old}\n            IS DISTINCT FROM {new}"
        blocks += (
            f"    FOR _clash IN\n        SELECT n.site_id, n.id, {old} AS key\n"
            f"        FROM new_rows AS n{join}{differs}\n    LOOP\n"
            "        DELETE FROM sync.row_key AS r WHERE r.site_id = _clash.site_id\n"
            "            AND r.table_no = _table AND r.key = _clash.key AND r.id = _clash.id;\n"
            "    END LOOP;\n" + _take_key(table, number, join + differs)
        )
    return blocks


def _drop_keys() -> str:
    return (
        "    FOR _gone IN SELECT o.site_id, o.id FROM old_rows AS o LOOP\n"
        "        DELETE FROM sync.row_key AS r WHERE r.site_id = _gone.site_id\n"
        "            AND r.table_no = _table AND r.id = _gone.id;\n"
        "    END LOOP;\n"
    )


def capture_text(table: Table) -> str:
    """Return all of a table's capture as one readable file."""
    return "".join(f"{statement};\n\n" for statement in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    yield f"-- Capture of mes.{table.name} at the centre, made by central/capture.py"
    yield from capture_statements(table)
