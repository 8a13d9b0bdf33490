"""What plants and planners write, for the tests of faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.conftest import SITE

if TYPE_CHECKING:
    from tests.integration.whole_world import Edge

_ORDER = "INSERT INTO work_orders (order_no, source, qty_ordered, uom) VALUES"


def local_orders(*numbers: str) -> str:
    """Return the statement by which a program of the site makes orders."""
    return f"{_ORDER} " + ", ".join(f"('{no}', 'LOCAL', '10', 'pcs')" for no in numbers)


def planned_orders(*numbers: str, site: str = SITE) -> str:
    """Return the statement by which a planner at the centre makes orders."""
    values = ", ".join(f"(uuidv7(), '{site}', now(), '{no}', 'ERP', 10, 'pcs')" for no in numbers)
    return (
        "INSERT INTO mes.work_orders (id, site_id, created_at, order_no, source, qty_ordered, uom)"
        f" VALUES {values}"
    )


def state_events(count: int) -> str:
    """Return the statement by which a machine's states are reported."""
    return (
        f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count})"
        " INSERT INTO equipment_state_events (equipment_id, state, since, source)"
        " SELECT '018f4b7e-0000-7000-8000-000000000001', 'RUNNING',"
        " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'PLC' FROM k"
    )


def sign_ons(count: int) -> str:
    """Return the statement by which people sign on at terminals; no two rows pack together."""
    ident = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-7' ||" + (
        " substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' ||"
        " hex(randomblob(6)))"
    )
    return (
        f"WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < {count})"
        " INSERT INTO user_sessions (session_id, event, terminal)"
        f" SELECT {ident}, 'LOGIN', hex(randomblob(16)) FROM k"
    )


def note(number: str, text: str, schema: str = "") -> str:
    """Return the statement by which somebody notes something on an order."""
    return f"UPDATE {schema}work_orders SET notes = '{text}' WHERE order_no = '{number}'"


def notes(edge: Edge) -> dict[str, str]:
    """Return the notes at a site by order."""
    return dict(edge.read("SELECT order_no, notes FROM work_orders"))
