from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import RFC_4122, UUID

import pytest

from edge.csv_import.run import BATCH_ROWS
from tests.integration.import_world import (  # noqa: F401, the fixtures among them
    LINE,
    SMALL_MAP,
    Site,
    file_of,
    plan,
    rejects,
    site,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_becomes_a_row_of_every_table_that_the_map_names(site: Site, plan: Path):
    outcome = site.load(file_of(site, LINE), plan)
    assert outcome.taken == 1
    assert site.rows(
        "SELECT o.order_no, o.qty_ordered, p.person_no, p.home_site_id, r.report_type, r.qty_good,"
        " r.created_at, r.site_id, r.source_row FROM job_responses r"
        " JOIN work_orders o ON o.id = r.work_order_id JOIN persons p ON p.id = r.person_id"
    ) == [("A-1", "10", "W1", "F07", "PRODUCTION", "4", "2012-01-02T07:00:00.000Z", "F07", 1)]


def test_lines_that_repeat_each_other_are_rows_of_their_own(site: Site, plan: Path):
    site.load(file_of(site, LINE, LINE, LINE), plan)
    assert site.rows("SELECT count(*), count(DISTINCT id) FROM job_responses") == [(3, 3)]
    assert site.rows("SELECT count(*) FROM work_orders") == [(1,)]


def test_columns_that_several_lines_name_are_kept_as_the_map_says(site: Site, plan: Path):
    lines = [
        "A-1,10,2012-01-02 06:00,2012-01-02 07:00,W1,D,4,first",
        "A-1,99,2012-01-01 06:00,2012-01-05 07:00,W1,D,4,second",
        "A-1,10,2012-01-03 06:00,2012-01-03 07:00,W1,D,4,",
    ]
    site.load(file_of(site, *lines), plan)
    site.load(file_of(site, lines[1].replace("second", "third"), name="more.csv"), plan)
    assert site.rows("SELECT qty_ordered, actual_start, actual_end, notes FROM work_orders") == [
        ("10", "2012-01-01T06:00:00.000Z", "2012-01-05T07:00:00.000Z", "third")
    ]


def test_an_order_that_stands_is_found_and_not_made_again(site: Site, plan: Path):
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute("INSERT INTO work_orders (order_no, notes) VALUES ('A-1', 'by hand')")
    outcome = site.load(file_of(site, LINE), plan)
    assert outcome.tables.made["work_orders"] == 0
    assert site.rows("SELECT count(*), max(notes), max(actual_end) FROM work_orders") == [
        (1, "by hand", "2012-01-02T07:00:00.000Z")
    ]


def test_a_person_of_the_centre_is_found_and_left_as_it_is(site: Site, plan: Path):
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute("UPDATE _sync_applying SET flag = 1")
        connection.execute(
            "INSERT INTO persons (id, site_id, person_no, home_site_id)"
            " VALUES ('00000000-0000-7000-8000-00000000000a', '*', 'W1', 'F07')"
        )
        connection.execute("UPDATE _sync_applying SET flag = 0")
    site.load(file_of(site, LINE), plan)
    assert site.rows("SELECT DISTINCT person_id FROM job_responses") == [
        ("00000000-0000-7000-8000-00000000000a",)
    ]


def test_a_line_may_go_without_an_optional_row(site: Site, plan: Path):
    site.load(file_of(site, LINE.replace("W1", "")), plan)
    assert site.rows("SELECT person_id FROM job_responses") == [(None,)]


def test_a_block_takes_only_the_lines_for_which_it_holds(site: Site, plan: Path):
    site.load(file_of(site, LINE, LINE.replace(",D,", ",S,")), plan)
    assert site.rows("SELECT count(*) FROM user_sessions") == [(1,)]


def test_every_import_is_captured_like_any_write(site: Site, plan: Path):
    site.load(file_of(site, LINE), plan)
    assert site.rows("SELECT op FROM _sync_log_work_orders") == [("I",)]
    site.load(file_of(site, LINE.replace("01-02", "01-03"), name="more.csv"), plan)
    assert ("U",) in site.rows("SELECT op FROM _sync_log_work_orders")


# --- bad lines -----------------------------------------------------------------------------------

BAD = {
    "A-1,10": "2 fields, the header has 8",
    LINE + ",extra": "9 fields, the header has 8",
    LINE.replace(",4,", ",four,"): "Good = 'four': a decimal number such as 12.5 is expected",
    LINE.replace("2012-01-02 07:00", "2012-01-32 07:00"): "End = '2012-01-32 07:00': not a date",
    LINE.replace(",D,", ",X,"): "Type = 'X': the map has no meaning for it (known: 'D', 'S')",
    LINE.replace("A-1", ""): "Order: empty, and the column needs a value",
    LINE.replace("A-1", "x" * 61): "61 characters, at most 60 are allowed",
    LINE.replace(",10,", ",-10,"): "Ordered = '-10': below the least value allowed, 0",
    '"' + LINE: "a quote is opened and not closed",
    LINE.replace("W1", '"W"1'): "not CSV",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_line_is_rejected_with_its_reason_and_nothing_else_is_lost(
    site: Site, plan: Path, bad: str
):
    outcome = site.load(file_of(site, LINE, bad, LINE), plan)
    assert (outcome.taken, outcome.rejected) == (2, 1)
    header, (line, row, reason, original) = rejects(site)
    assert header == ["line", "row", "reason", "original"]
    assert (line, row, original) == ("3", "2", bad)
    assert BAD[bad] in reason
    assert site.rows("SELECT source_row FROM job_responses ORDER BY 1") == [(1,), (3,)]


def test_a_line_of_another_encoding_is_rejected_and_shown(site: Site, plan: Path):
    path = file_of(site, LINE, LINE.replace("W1", "W\N{LATIN SMALL LETTER O WITH DIAERESIS}"))
    path.write_bytes(path.read_text().encode("latin-1"))
    site.load(path, plan)
    assert "not utf-8: byte 43 is 0xf6" in rejects(site)[1]
    assert "W\\xf6" in rejects(site)[1][3]


def test_a_rejected_line_leaves_nothing_in_any_table(site: Site, plan: Path):
    site.load(file_of(site, LINE.replace(",4,", ",four,")), plan)
    assert site.content() == {}


def test_all_that_is_wrong_with_a_line_is_told_at_once(site: Site, plan: Path):
    site.load(file_of(site, LINE.replace(",4,", ",four,").replace(",D,", ",X,")), plan)
    reason = rejects(site)[1][2]
    assert "Type" in reason
    assert "Good" in reason


def test_a_row_that_the_store_refuses_is_rejected_and_its_batch_goes_on(site: Site, plan: Path):
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER plant BEFORE INSERT ON job_responses WHEN NEW.qty_good = '13'"
            " BEGIN SELECT RAISE(ABORT, 'unlucky'); END"
        )
    lines = [LINE.replace(",4,", f",{good},").replace("A-1", f"A-{good}") for good in range(20)]
    outcome = site.load(file_of(site, *lines), plan)
    assert (outcome.taken, outcome.rejected) == (19, 1)
    assert rejects(site)[1][:3] == ["15", "14", "unlucky"]
    assert site.rows("SELECT count(*) FROM work_orders WHERE order_no = 'A-13'") == [(0,)]


def test_a_file_of_bad_lines_only_is_read_to_its_end(site: Site, plan: Path):
    outcome = site.load(file_of(site, *["nonsense"] * (2 * BATCH_ROWS + 7)), plan)
    assert outcome.rejected == len(rejects(site)) - 1 == 2 * BATCH_ROWS + 7


# --- exactly once --------------------------------------------------------------------------------


def test_a_second_run_does_nothing(site: Site, plan: Path):
    path = file_of(site, LINE, "bad", LINE)
    site.load(path, plan)
    before = site.content()
    outcome = site.load(path, plan)
    assert outcome.done_before
    assert (outcome.progress.rows, outcome.progress.rejected) == (3, 1)
    assert site.content() == before


def test_even_without_its_progress_a_second_run_doubles_nothing(site: Site, plan: Path):
    path = file_of(site, LINE, LINE, LINE.replace(",D,", ",S,"))
    site.load(path, plan)
    before = site.content()
    with closing(sqlite3.connect(site.store)) as connection, connection:
        connection.execute("DELETE FROM _sync_import")
    outcome = site.load(path, plan)
    assert outcome.tables.stood["job_responses"] == 3
    assert site.content() == before


def test_a_mended_map_takes_what_the_first_had_rejected_and_doubles_nothing(site: Site, plan: Path):
    path = file_of(site, LINE, LINE.replace(",D,", ",X,"), LINE)
    assert site.load(path, plan).rejected == 1
    plan.write_text(SMALL_MAP.replace('S = "SETUP"', 'S = "SETUP", X = "PRODUCTION"'))
    outcome = site.load(path, plan)
    assert (outcome.tables.made["job_responses"], outcome.tables.stood["job_responses"]) == (1, 2)
    assert site.rows("SELECT count(*) FROM job_responses") == [(3,)]


def test_an_identity_tells_rows_of_a_file_that_grows(site: Site, plan: Path):
    plan.write_text(
        SMALL_MAP.replace(
            'name = "report"', 'name = "report"\nidentity = ["created_at", "qty_good"]'
        )
    )
    site.load(file_of(site, LINE), plan)
    site.load(file_of(site, LINE, LINE.replace(",4,", ",5,"), name="grown.csv"), plan)
    assert site.rows("SELECT qty_good FROM job_responses ORDER BY 1") == [("4",), ("5",)]


def test_ids_tell_the_time_of_the_row_and_differ_between_sites(tmp_path: Path):
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    ids = []
    for name in ("F07", "F08"):
        site = Site.new(tmp_path, name)
        site.load(file_of(site, LINE), tmp_path / "map.toml")
        ids += [row[0] for row in site.rows("SELECT id FROM job_responses")]
    assert ids[0] != ids[1]
    made_at = datetime(2012, 1, 2, 7, tzinfo=UTC)
    assert {UUID(i).int >> 80 for i in ids} == {int(made_at.timestamp() * 1000)}
    assert [(UUID(i).version, UUID(i).variant) for i in ids] == [(7, RFC_4122)] * 2


def test_a_dry_run_counts_and_writes_nothing(site: Site, plan: Path):
    lines = [LINE.replace("A-1", f"A-{n % 3}") for n in range(BATCH_ROWS + 5)]
    outcome = site.load(file_of(site, *lines, "bad"), plan, dry_run=True)
    assert outcome.tables.made["work_orders"] == 3
    assert outcome.tables.made["job_responses"] == BATCH_ROWS + 5
    assert outcome.first_rejects[0][0] == BATCH_ROWS + 7
    assert site.content() == {}
    assert not site.store.with_suffix(".rejects.csv").exists()
    assert site.rows("SELECT count(*) FROM _sync_import") == [(0,)]
