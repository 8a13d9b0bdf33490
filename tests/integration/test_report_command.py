"""``mes-central report``: the engine of ``/v1/reports``, as the operator of the centre asks it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.shell_completion import ShellComplete

from central.cli import exits
from central.cli.command import mes_central as command
from central.reports.named import REPORTS
from central.roles import as_role
from tests.integration.central_world import SITES
from tests.integration.command_world import mes_central

if TYPE_CHECKING:
    from tests.integration.command_world import MesCentral, Ran

__all__ = ["mes_central"]

pytestmark = pytest.mark.postgres


@pytest.fixture
def report(mes_central: MesCentral) -> MesCentral:
    """The command; site 1 has reported four times on machine M-4, site 2 once."""
    with psycopg.connect(as_role(mes_central.url, "mes_ingest")) as connection:
        for site in SITES[:2]:
            connection.execute(
                "SELECT sync.make_partition('work_orders', %s, '2012-01-01')", [site]
            )
            for month in ("2012-01-01", "2012-02-01"):
                connection.execute(
                    "SELECT sync.make_partition('job_responses', %s, %s)", [site, month]
                )
            enter(connection, site)
        add(connection, "SITE_001", "2012-01-31T23:00Z", "2012-01-31T23:30Z", good=8, scrap=1)
        add(connection, "SITE_001", "2012-01-31T23:30Z", "2012-02-01T00:30Z", good="1.5", span=60)
        add(connection, "SITE_001", "2012-01-31T08:00Z", "2012-01-31T09:15Z", known=False)
        add(connection, "SITE_001", "2012-01-31T09:00Z", "2012-01-31T09:10Z", kind="SETUP")
        add(connection, "SITE_002", "2012-01-31T09:00Z", "2012-01-31T10:00Z", good=2, mrb=3)
    return mes_central


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


def add(
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


def rows(ran: Ran) -> list[list[Any]]:
    assert ran.code == 0, ran.err
    return [list(row.values()) for row in ran.document["rows"]]


# --- what it answers ------------------------------------------------------------------------------


def test_a_code_names_one_thing_at_all_sites_and_quantities_add_up(report):
    names = "reports,orders,machines,segments,persons,materials"
    (found,) = rows(report("report", "output", "--measure", names, "--json"))
    assert found == [5, 1, 1, 1, 0, 1]
    names = "qty_good,qty_scrap,qty_mrb,qty_produced,qty_ordered,elapsed_min,span_min,recorded_min"
    (found,) = rows(report("report", "output", "--measure", names, "--json"))
    assert found == [11.5, 1, 3, 15.5, 20, 235, 180, 160]
    (found,) = rows(report("report", "output", "--measure", "first_start,last_end", "--json"))
    assert found == ["2012-01-31T08:00:00.000Z", "2012-02-01T00:30:00.000Z"]


def test_the_made_up_end_of_a_report_is_no_recorded_time(report):
    asked = ("--group-by", "report_type", "--measure", "elapsed_min", "--measure", "recorded_min")
    found = rows(report("report", "output", *asked, "--json"))
    assert found == [["PRODUCTION", 225, 150], ["SETUP", 10, 10]]


def test_a_report_belongs_wholly_to_the_month_in_which_it_ended(report):
    asked = ("--group-by", "machine", "--bucket", "month", "--measure", "qty_good,qty_scrap")
    found = rows(report("report", "output", *asked, "--json"))
    assert found == [["2012-01", "M-4", 10, 1], ["2012-02", "M-4", 1.5, 0]]


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_has_an_answer_where_nothing_was_reported(mes_central, name):
    window = ("--from", "2012-01-01", "--to", "2012-01-05")
    ran = mes_central("report", name, *window)
    assert ran.code == 0, ran.err
    assert "complete_through - (nothing came from SITE_001 and 2 more)" in ran.out
    told = mes_central("report", name, *window, "--json").document
    assert told["schema"] == "mes-central.report/v1"
    assert told["complete_through"] == dict.fromkeys(SITES)


def test_rows_can_be_filtered_by_site_and_by_everything_that_has_a_name(report):
    def good(*asked: str) -> Any:
        ran = report("report", "output", "--measure", "qty_good,qty_mrb", *asked, "--json")
        return rows(ran)

    assert good("--site", "SITE_002") == [[2, 3]]
    assert good("--where", "site=SITE_001", "--where", "site=SITE_002") == [[11.5, 3]]
    assert good("--where", "site.not=SITE_001", "--where", "machine.contains=-4") == [[2, 3]]
    assert good("--where", "machine=a=b") == [[0, 0]]
    assert good("--to", "2012-02-01", "--site", "SITE_001") == [[8, 0]]
    assert good("--from", "2012-02-01T00:00:00Z", "--to", "2012-02-01T01:00:00Z") == [[1.5, 0]]


def test_an_answer_goes_on_after_its_limit(report):
    asked = ("report", "output", "--group-by", "site", "--measure", "reports", "--sort", "-reports")
    first = report(*asked, "--limit", "1", "--json")
    assert rows(first) == [["SITE_001", 4]]
    assert "there are more rows" in report(*asked, "--limit", "1").out.splitlines()[-1]
    more = report(*asked, "--limit", "1", "--cursor", first.document["next"], "--json")
    assert rows(more) == [["SITE_002", 1]]
    assert more.document["next"] is None


# --- how it looks ---------------------------------------------------------------------------------


def test_numbers_stand_at_the_right_and_one_line_below_tells_how_fresh_they_are(report):
    asked = (
        "--group-by",
        "report_type",
        "--measure",
        "qty_good,scrap_ratio",
        "--sort",
        "-qty_good",
    )
    ran = report("report", "output", *asked)
    *lines, fresh = ran.out.splitlines()
    assert lines == [
        "report_type  qty_good  scrap_ratio",
        "PRODUCTION       11.5       0.0645",
        "SETUP             0.0            -",
    ]
    assert fresh.startswith("as_of 20")
    assert fresh.endswith("  provisional")


def test_reports_come_as_csv(report):
    ran = report("report", "output", "--group-by", "site", "--measure", "qty_good", "--csv")
    assert list(csv.reader(io.StringIO(ran.out))) == [
        ["site", "qty_good"], ["SITE_001", "9.5"], ["SITE_002", "2"],
    ]  # fmt: skip
    assert ran.err == ""
    ran = report("report", "log", "--limit", "2", "--csv")
    assert len(list(csv.reader(io.StringIO(ran.out)))) == 3
    assert "there are more rows" in ran.err


def test_all_reports_are_listed(report):
    lines = report("report").out.splitlines()
    assert [line.split()[0] for line in lines] == ["REPORT", *REPORTS]
    assert max(map(len, lines)) <= 100
    listed = report("report", "--json").document
    assert listed["schema"] == "mes-central.reports/v1"
    assert list(listed["reports"]) == list(REPORTS)


def test_a_shell_completes_reports_and_sites(report):
    completion = ShellComplete(command, {}, "mes-central", "_MES_CENTRAL_COMPLETE")
    found = completion.get_completions(["report"], "machine-")
    assert [each.value for each in found] == ["machine-states", "machine-timeline"]
    found = completion.get_completions(["report", "output", "--site"], "SITE_")
    assert [each.value for each in found] == list(SITES)


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "option", "rule"),
    [
        ("output --group-by colour", "--group-by", "one of site, region"),
        ("output --group-by site,order,machine,person,shift,segment", "--group-by", "at most 5"),
        ("output --bucket fortnight", "--bucket", "one of hour"),
        ("output --measure qty_good;DROP", "--measure", "one of reports"),
        ("output --sort -secret", "--sort", "one of reports"),
        ("output --from 2026-11-02 --to 2026-11-01", "--to", "later than from"),
        ("output --from yesterday", "--from", "a day such as"),
        ("output --limit 10001", "--limit", "less than or equal to 10000"),
        ("output --by name", "--by", "'code' or 'id'"),
        ("output --cursor bm90IG9uZQ", "--cursor", "as an answer's `next` gave it"),
        ("output --as-known-at 2026-11-01", "--as-known-at", "an instant such as"),
        ("output --as-known-at 2026-11-01T00:00Z", "--to", "where as_known_at is asked for"),
        ("output --where colour=red", "--where colour", "one of site, region"),
        ("output --where limit=5", "--where limit", "one of site, region"),
        ("output --where machine", "--where", "DIM=VALUE"),
        ("output --where machine=", "--where machine.0", "at least 1 character"),
        ("orders --group-by machine", "--group-by", "of orders: one of site"),
        ("orders --as-known-at 2026-11-01T00:00Z", "--as-known-at", "no parameter of this report"),
        ("wip --at 2026-11-01", "--at", "and no day"),
        ("machine-states", "--from", ""),
        ("log --measure qty_good", "--measure", "no parameter of this report"),
    ],
)
def test_a_broken_rule_is_told_with_the_option_that_breaks_it(mes_central, asked, option, rule):
    ran = mes_central("report", *asked.split())
    assert (ran.code, ran.out) == (exits.USAGE, "")
    assert f"Invalid value for {option}: " in ran.err
    assert rule in ran.err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Q01", "no report Q01; there are output, quality"),
        ("--from 2026-11-01", "name a report"),
        ("--csv", "name a report"),
        ("output --json --csv", "not both"),
        ("output --colour red", "No such option"),
    ],
)
def test_a_command_that_makes_no_sense_is_told_why(mes_central, asked, said):
    ran = mes_central("report", *asked.split())
    assert (ran.code, ran.out, said in ran.err) == (exits.USAGE, "", True)


def test_a_site_that_is_not_registered_is_refused(mes_central):
    ran = mes_central("report", "output", "--site", "SITE_009")
    assert (ran.code, ran.out) == (exits.FAILED, "")
    assert "site SITE_009 is not registered" in ran.err
