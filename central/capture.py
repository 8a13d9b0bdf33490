"""The text of the centre's capture: what makes any SQL client's write reach the sites.

Pure. Each two-way or central table gets statement triggers with transition tables. In the writer's
own transaction they mint a version, move the head, note what was touched, hold the natural keys
and queue the rows for the feed. The functions belong to mes_owner and run with its rights; being
mes_ingest, and no setting, keeps them silent.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from central.canonical import as_jsonb, expression
from shared.catalog import SITE_ID, Column, Kind, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The role whose writes are not captured, since it does all this itself.
INGEST: Final = "mes_ingest"

_BY_CLIENT: Final = f"WHEN (current_user <> '{INGEST}')"
_PERSON: Final = "nullif(current_setting('app.person', true), '')"


def capture_statements(table: Table) -> list[str]:
    """Return the statements that make or renew the functions and triggers of a table."""
    if table.fact:
        return [*_never(table), *_refused(table, "INSERT OR UPDATE OR DELETE", "refuse_fact")]
    statements = [*_never(table), *_captured(table, "insert", _insert(table))]
    if table.append_only:
        return [*statements, *_refused(table, "UPDATE OR DELETE", "refuse_correction")]
    return [
        *statements,
        *_captured(table, "update", _update(table)),
        *_captured(table, "delete", _delete(table)),
    ]


def decided_setting(table: Table) -> str:
    """Return the setting by which a client says what it writes though the values stay as they are.

    It holds the mask of these columns, and is of the rows that an UPDATE of the transaction names.
    """
    return f"app.decided_{table.name}"


def capture_text(table: Table) -> str:
    """Return all of a table's capture as one file for a reader."""
    head = f"-- Capture of mes.{table.name} at the centre, made by central/capture.py.\n"
    return head + "".join(f"\n{statement};\n" for statement in capture_statements(table))


def fingerprint(statements: Sequence[str]) -> str:
    """Return the SHA-256 of statements, which tells whether what they made has to be made again."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


# --- triggers --------------------------------------------------------------------------------

_TRANSITIONS: Final = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
}

# PostgreSQL plans a function's statements once a session, for as many rows as the first call and
# the tables have: a plan made for one row would take forever on a hundred thousand. So rows are
# joined by hash, and looked up by index (the OFFSET 0 below). UTC, since "replaced" holds instants.
_FUNCTION: Final = """\
CREATE OR REPLACE FUNCTION sync.{name}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET enable_nestloop = off SET enable_seqscan = off
AS $capture$
DECLARE
    _table CONSTANT smallint := (SELECT no FROM sync.table_no WHERE name = '{table}');
    _version CONSTANT uuid := uuidv7();
    _at_ms CONSTANT bigint := sync.now_ms();
    _row record;
BEGIN
{body}    PERFORM pg_notify('mes_feed', '');
    RETURN NULL;
END $capture$"""


def _captured(table: Table, op: str, body: str) -> list[str]:
    name = f"capture_{table.name}_{op}"
    each = f"{_TRANSITIONS[op]}\n    FOR EACH STATEMENT {_BY_CLIENT}"
    return [
        _FUNCTION.format(name=name, table=table.name, body=body),
        *_trigger(table, f"capture_{op}", f"AFTER {op.upper()}", each, name),
    ]


def _never(table: Table) -> list[str]:
    moved = (
        "FOR EACH ROW WHEN ((old.id, old.site_id, old.created_at)\n"
        "        IS DISTINCT FROM (new.id, new.site_id, new.created_at))"
    )
    columns = "BEFORE UPDATE OF id, site_id, created_at"
    truncated = ("BEFORE TRUNCATE", "FOR EACH STATEMENT")
    return [
        *_trigger(table, "refuse_move", columns, moved, "refuse_move"),
        *_trigger(table, "refuse_truncate", *truncated, "refuse_truncate"),
    ]


def _refused(table: Table, events: str, function: str) -> list[str]:
    each = f"FOR EACH STATEMENT {_BY_CLIENT}"
    return _trigger(table, function, f"BEFORE {events}", each, function)


def _trigger(table: Table, name: str, when: str, each: str, function: str) -> list[str]:
    return [
        f"DROP TRIGGER IF EXISTS {name} ON mes.{table.name}",
        f"CREATE TRIGGER {name} {when} ON mes.{table.name}\n"
        f"    {each}\n    EXECUTE FUNCTION sync.{function}()",
    ]


# --- what an insert, an update and a delete leave behind -------------------------------------

# The order of a version is taken under the lock of the head's row, so it grows along each row.
_MOVE_HEAD: Final = """\
        INSERT INTO sync.head AS h
            (site_id, table_no, id, created_at, version, ord, deleted)
        SELECT r.site_id, _table, r.id, r.created_at, _version,
            nextval('sync.version_order'), {deleted}
        FROM {rows} AS r ORDER BY r.site_id, r.id
        ON CONFLICT (site_id, table_no, id) DO UPDATE
        SET version = excluded.version, ord = nextval('sync.version_order'),
            deleted = excluded.deleted, created_at = excluded.created_at{where}
        RETURNING h.site_id, h.id, h.ord"""

_INSERT: Final = """\
    WITH heads AS (
{move_head}
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms)
        SELECT n.site_id, _table, n.id, h.ord, _version, 'I', {mask}, '*',
            coalesce({writer}), _at_ms
        FROM heads AS h JOIN new_rows AS n USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, n.site_id, n.id, n.created_at, {scopes}
    FROM heads AS h JOIN new_rows AS n USING (site_id, id) ORDER BY n.site_id, n.id;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;
    SELECT n.id, n.site_id INTO _row
    FROM new_rows AS n CROSS JOIN LATERAL (
        SELECT h.version FROM sync.head AS h
        WHERE h.site_id = n.site_id AND h.table_no = _table AND h.id = n.id OFFSET 0
    ) AS h
    WHERE h.version <> _version LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '{table}: id % of site % exists already', _row.id, _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = '{table}';
    END IF;
"""

_UPDATE: Final = """\
    WITH changed AS MATERIALIZED (
        SELECT * FROM (
            SELECT n.site_id, n.id, n.created_at,
                coalesce({writer}) AS writer,
                {scopes} AS scopes,
                sync.replaced({old}, {new}) AS replaced,
                ({mask})
                | coalesce(nullif(current_setting('{decided}', true), '')::bigint, 0) AS mask
            FROM old_rows AS o JOIN new_rows AS n USING (site_id, created_at, id)
        ) AS c WHERE c.mask <> 0
    ), heads AS (
{move_head}
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms, replaced)
        SELECT c.site_id, _table, c.id, h.ord, _version, 'U', c.mask, '*',
            c.writer, _at_ms, c.replaced
        FROM heads AS h JOIN changed AS c USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, c.site_id, c.id, c.created_at, c.scopes
    FROM changed AS c ORDER BY c.site_id, c.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
"""

_DELETE: Final = """\
    WITH heads AS (
{move_head}
    ), versions AS (
        INSERT INTO sync.version
            (site_id, table_no, id, ord, version, op, mask, origin, writer, at_ms, replaced)
        SELECT o.site_id, _table, o.id, h.ord, _version, 'D', 0, '*',
            coalesce({writer}), _at_ms, {old}
        FROM heads AS h JOIN old_rows AS o USING (site_id, id)
    )
    INSERT INTO sync.touched (table_no, site_id, row_id, created_at, scopes)
    SELECT _table, o.site_id, o.id, o.created_at, {scopes}
    FROM old_rows AS o ORDER BY o.site_id, o.id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
"""


def _insert(table: Table) -> str:
    # A head that stands is the same id under another created_at, which no primary key refuses.
    move = _MOVE_HEAD.format(rows="new_rows", deleted="false", where="\n        WHERE h.deleted")
    writer = table.writer_column
    named = [f"n.{writer.name}::text"] if writer else []
    body = _INSERT.format(
        table=table.name,
        move_head=move,
        mask=(1 << len(table.columns)) - 1,
        writer=", ".join([_PERSON, *named, "session_user"]),
        scopes=_scopes(table, "n"),
    )
    taken = (_take_key(table, number, "new_rows AS n") for number in _key_numbers(table))
    return body + "".join(taken)


def _update(table: Table) -> str:
    writer = table.writer_column
    # A name that stands there from an earlier write says nothing about who wrote this one.
    named = (
        f"CASE WHEN {_differs(writer)} THEN n.{writer.name}::text END,\n                    "
        if writer
        else ""
    )
    body = _UPDATE.format(
        move_head=_MOVE_HEAD.format(rows="changed", deleted="false", where=""),
        writer=f"{_PERSON}, {named}session_user",
        scopes=_scopes(table, "o", "n"),
        decided=decided_setting(table),
        old=as_jsonb(table, "o"),
        new=as_jsonb(table, "n"),
        mask="\n                + ".join(_bit(table, column) for column in table.columns),
    )
    # All old keys are let go before any new one is taken, so that rows may swap theirs.
    return body + "".join(_change_key(table, number) for number in _key_numbers(table))


def _delete(table: Table) -> str:
    body = _DELETE.format(
        move_head=_MOVE_HEAD.format(rows="old_rows", deleted="true", where=""),
        writer=f"{_PERSON}, session_user",
        scopes=_scopes(table, "o"),
        old=as_jsonb(table, "o"),
    )
    return body + (_DROP_KEYS if table.natural_keys else "")


def _bit(table: Table, column: Column) -> str:
    return f"CASE WHEN {_differs(column)} THEN {1 << table.bit(column.name)} ELSE 0 END"


def _differs(column: Column) -> str:
    # The type json has no equality; its text is what travels, anyway.
    cast = "::text" if column.type.kind is Kind.JSON else ""
    return f"o.{column.name}{cast} IS DISTINCT FROM n.{column.name}{cast}"


def _scopes(table: Table, *rows: str) -> str:
    """Return the sites whose share the row is in, in any of its states given."""
    if table.share == (SITE_ID.name,):
        return f"ARRAY[{rows[0]}.site_id::text]"
    shares = ", ".join(f"{row}.{name}::text" for row in rows for name in table.share)
    return f"sync.scopes({shares})"


# --- natural keys ----------------------------------------------------------------------------

_TAKE_KEY: Final = """\
    INSERT INTO sync.row_key (site_id, table_no, key, id)
    SELECT k.site_id, _table, k.key, k.id
    FROM (SELECT n.site_id, n.id, {key} AS key
        FROM {rows}) AS k
    WHERE k.key IS NOT NULL ORDER BY k.site_id, k.key
    ON CONFLICT DO NOTHING;
    SELECT k.site_id, k.key, k.id, r.id AS other INTO _row
    FROM (SELECT n.site_id, n.id, {key} AS key
        FROM {rows}) AS k
    JOIN LATERAL (
        SELECT r.id FROM sync.row_key AS r
        WHERE r.site_id = k.site_id AND r.table_no = _table AND r.key = k.key OFFSET 0
    ) AS r ON r.id <> k.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '{table}: {names} = % of site % is another row\'\'s already',
            trim(LEADING '{number},' FROM trim(BOTH '[]' FROM _row.key)), _row.site_id
            USING ERRCODE = 'unique_violation', SCHEMA = 'mes', TABLE = '{table}',
                CONSTRAINT = '{table}_natural_key_{number}',
                DETAIL = format('It is that of %s; the row refused is %s.', _row.other, _row.id);
    END IF;
"""

_LET_GO_KEY: Final = """\
    FOR _row IN
        SELECT n.site_id, n.id, {old} AS key
        FROM {rows}
    LOOP
        DELETE FROM sync.row_key AS r WHERE r.site_id = _row.site_id
            AND r.table_no = _table AND r.key = _row.key AND r.id = _row.id;
    END LOOP;
"""

_DROP_KEYS: Final = """\
    FOR _row IN SELECT o.site_id, o.id FROM old_rows AS o LOOP
        DELETE FROM sync.row_key AS r WHERE r.site_id = _row.site_id
            AND r.table_no = _table AND r.id = _row.id;
    END LOOP;
"""


def key_expression(table: Table, number: int, row: str) -> str:
    """Return the SQL that makes the text of ``central.schema.natural_key`` from a row's columns."""
    kinds = {SITE_ID.name: SITE_ID.type.kind} | {c.name: c.type.kind for c in table.columns}
    values = [
        f"to_json(({expression(kinds[name], f'{row}.{name}')})::text)::text"
        for name in table.natural_keys[number]
    ]
    return " || ".join([f"'[{number},'", " || ',' || ".join(values), "']'"])


def _key_numbers(table: Table) -> range:
    return range(len(table.natural_keys))


def _take_key(table: Table, number: int, rows: str) -> str:
    return _TAKE_KEY.format(
        table=table.name,
        number=number,
        names=", ".join(table.natural_keys[number]),
        key=key_expression(table, number, "n"),
        rows=rows,
    )


def _change_key(table: Table, number: int) -> str:
    columns = [table.column(name) for name in table.natural_keys[number] if name in table.names]
    differs = "\n            OR ".join(_differs(column) for column in columns)
    rows = (
        "new_rows AS n JOIN old_rows AS o USING (site_id, created_at, id)\n"
        f"        WHERE {differs or 'false'}"
    )
    let_go = _LET_GO_KEY.format(old=key_expression(table, number, "o"), rows=rows)
    return let_go + _take_key(table, number, rows)
