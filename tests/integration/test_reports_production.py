from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from central.migrate import migrate
from central.reports.production import QUESTIONS, q01, q02, q03
from central.roles import as_role
from shared.catalog_file import load_catalog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SITES = ("SITE_001", "SITE_002")


@asynccontextmanager
async def analyst(url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(
        as_role(url, "mes_analyst"), autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
async def centre(database: str) -> str:
    """A centre with two sites; site 1 has reported four times on machine M-4, site 2 once."""
    await migrate(database, load_catalog(), SITES)
    with psycopg.connect(as_role(database, "mes_ingest")) as connection:
        for site in SITES:
            connection.execute(
                "SELECT sync.make_partition('work_orders', %s, '2012-01-01')", [site]
            )
            for month in ("2012-01-01", "2012-02-01"):
                connection.execute(
                    "SELECT sync.make_partition('job_responses', %s, %s)", [site, month]
                )
            enter(connection, site)
        report(connection, "SITE_001", "2012-01-31T23:00Z", "2012-01-31T23:30Z", good=8, scrap=1)
        report(
            connection, "SITE_001", "2012-01-31T23:30Z", "2012-02-01T00:30Z", good="1.5", span=60
        )
        report(connection, "SITE_001", "2012-01-31T08:00Z", "2012-01-31T09:15Z", known=False)
        report(connection, "SITE_001", "2012-01-31T09:00Z", "2012-01-31T09:10Z", kind="SETUP")
        report(connection, "SITE_002", "2012-01-31T09:00Z", "2012-01-31T10:00Z", good=2, mrb=3)
    return database


def enter(connection: psycopg.Connection[Any], site: str) -> None:
    at = "2012-01-02T00:00Z"
    connection.execute(
        "INSERT INTO mes.work_orders (site_id, created_at, order_no, material_code, qty_ordered)"
        " VALUES (%s, %s, 'Case 1', 'Hub', 10)",
        [site, at],
    )
    connection.execute(
        "INSERT INTO mes.equipment (site_id, created_at, equipment_code) VALUES (%s, %s, 'M-4')",
        [site, at],
    )


def report(
    connection: psycopg.Connection[Any], site: str, start: str, end: str, *,
    kind: str = "PRODUCTION", good: float | str = 0, scrap: int = 0, mrb: int = 0,
    span: int = 30, known: bool = True,
) -> None:  # fmt: skip
    connection.execute(
        """INSERT INTO mes.job_responses (site_id, created_at, work_order_id, equipment_id,
               report_type, segment_code, started_at, ended_at, duration_s, duration_known,
               qty_good, qty_scrap, qty_mrb)
           SELECT o.site_id, %(end)s, o.id, e.id, %(kind)s, 'TURN', %(start)s, %(end)s,
                  %(span)s * 60, %(known)s, %(good)s, %(scrap)s, %(mrb)s
           FROM mes.work_orders o JOIN mes.equipment e USING (site_id)
           WHERE o.site_id = %(site)s""",
        {
            "site": site, "start": start, "end": end, "kind": kind, "good": good,
            "scrap": scrap, "mrb": mrb, "span": span, "known": known,
        },
    )  # fmt: skip


async def test_a_code_names_one_thing_at_all_sites_and_quantities_add_up(centre):
    async with analyst(centre) as connection:
        found = await q01(connection)
    assert found == {
        "rows": 5, "cases": 1, "resources": 1, "activities": 1, "workers": 0, "parts": 1,
        "min_start": "2012-01-31T08:00:00", "max_start": "2012-01-31T23:30:00",
        "min_complete": "2012-01-31T09:10:00", "max_complete": "2012-02-01T00:30:00",
        "qty_completed": 11.5, "qty_rejected": 1, "qty_mrb": 3, "produced": 15.5,
        "wo_qty_sum_over_cases": 20, "elapsed_min": 235, "span_min": 180, "recorded_min": 160,
    }  # fmt: skip


async def test_the_made_up_end_of_a_report_is_no_recorded_time(centre):
    async with analyst(centre) as connection:
        found = await q02(connection)
    assert found == [["D", 4, 11.5, 1, 3, 225, 150, 150], ["S", 1, 0, 0, 0, 10, 10, 30]]


async def test_a_report_belongs_wholly_to_the_month_in_which_it_ended(centre):
    async with analyst(centre) as connection:
        found = await q03(connection)
    assert found == [["M-4", "2012-01", 10, 1, 3], ["M-4", "2012-02", 1.5, 0, 0]]


async def test_every_question_has_an_answer_where_nothing_was_reported(database):
    await migrate(database, load_catalog(), SITES)
    async with analyst(database) as connection:
        answers = {name: await question(connection) for name, question in QUESTIONS.items()}
    assert answers["Q01"]["rows"] == answers["Q01"]["produced"] == 0
    assert answers["Q01"]["min_start"] is None
    assert answers["Q02"] == answers["Q03"] == []
