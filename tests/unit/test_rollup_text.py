"""The text of the rollups, as it was read."""

from __future__ import annotations

from pathlib import Path

from central.rollups import ROLLUPS, trigger_statements
from central.unions import (
    KEPT,
    UNIONS,
    compare_statement,
    fold_statement,
    mend_statement,
    table_statements,
)
from tests.integration.central_world import CATALOG

GOLDEN = Path(__file__).parent.parent / "golden" / "rollups_job_responses.sql"


def test_the_rollups_of_production_reports_are_those_that_were_read():
    made = [
        *table_statements("job_responses"),
        *trigger_statements("job_responses"),
        fold_statement("job_responses"),
        *(compare_statement(each, "mes.job_responses") for each in KEPT),
        *(mend_statement(each, "mes.job_responses") for each in UNIONS),
    ]
    assert ";\n\n".join(made) + ";\n" == GOLDEN.read_text()


def test_every_rollup_is_of_facts_that_the_catalogue_has():
    for rollup in KEPT:
        assert CATALOG.table(rollup.table).fact, rollup.name


def test_no_rollup_adds_up_what_drifts():
    for rollup in (*ROLLUPS, *UNIONS):
        assert {each.type for each in rollup.sums} <= {"bigint", "numeric"}, rollup.name
