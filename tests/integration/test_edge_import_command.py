"""Parts of a file, what stops an import, and its command."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge.csv_import import Part
from shared.errors import BadImport, StoreBusy
from tests.integration.import_world import (  # noqa: F401, the fixtures among them
    LINE,
    ROOT,
    SMALL_MAP,
    Site,
    file_of,
    plan,
    rejects,
    site,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- parts ---------------------------------------------------------------------------------------


def test_parts_share_out_every_line_and_the_first_takes_those_of_none(tmp_path: Path):
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    lines = [LINE.replace("A-1", f"A-{n}") for n in range(1, 31)]
    lines += ["bad", LINE.replace("A-1", "none"), LINE.replace("A-1", "A-1-2")]
    found, rejected = [], 0
    for part in (1, 2, 3):
        site = Site.new(tmp_path, f"F{part}")
        outcome = site.load(
            file_of(site, *lines), tmp_path / "map.toml", part=Part("Order", 3, part)
        )
        assert outcome.taken == 10
        rejected += outcome.rejected
        found += [row[0] for row in site.rows("SELECT order_no FROM work_orders")]
        wanted = {f"A-{n}" for n in range(1, 31) if (n - 1) % 3 == part - 1}
        assert set(found[-10:]) == wanted
    assert len(found) == 30
    assert rejected == 3


# --- what stops an import ------------------------------------------------------------------------


def test_a_file_without_a_column_of_the_map_is_refused_before_anything_is_taken(
    site: Site, plan: Path
):
    path = file_of(site, LINE)
    path.write_text(path.read_text().replace("Good", "Goods"))
    with pytest.raises(BadImport, match=r"no column 'Good' \(rows report, column qty_good\)"):
        site.load(path, plan)


def test_a_file_with_a_column_twice_is_refused(site: Site, plan: Path):
    path = file_of(site, LINE)
    path.write_text(path.read_text().replace("Note", "Good"))
    with pytest.raises(BadImport, match="column"):
        site.load(path, plan)


def test_a_folder_that_takes_no_rejects_is_told_before_anything_is_taken(site: Site, plan: Path):
    with pytest.raises(BadImport, match="--rejects"):
        site.load(file_of(site, LINE), plan, rejects=site.store.parent / "none" / "r.csv")
    assert site.content() == {}


@pytest.mark.parametrize("dry_run", [False, True])
def test_rejects_never_take_the_place_of_the_imported_file(site: Site, plan: Path, dry_run: bool):
    path = file_of(site, LINE, "bad")
    before, link = path.read_bytes(), path.with_name("link.csv")
    link.hardlink_to(path)
    for place in (path, link):
        with pytest.raises(BadImport, match="the very file that is imported"):
            site.load(path, plan, rejects=place, dry_run=dry_run)
    assert path.read_bytes() == before
    assert site.content() == {}


def test_rejects_never_take_the_place_of_a_foreign_file(site: Site, plan: Path):
    path, before = file_of(site, LINE, "bad"), plan.read_bytes()
    with pytest.raises(BadImport, match="holds something else"):
        site.load(path, plan, rejects=plan)
    assert plan.read_bytes() == before
    with pytest.raises(BadImport, match="no ordinary file"):
        site.load(path, plan, rejects=plan.parent)


def test_rejects_of_an_earlier_map_are_replaced(site: Site, plan: Path):
    path = file_of(site, LINE, "bad", LINE.replace(",D,", ",X,"))
    site.load(path, plan)
    assert [row[1] for row in rejects(site)] == ["row", "2", "3"]
    plan.write_text(plan.read_text().replace('S = "SETUP"', 'S = "SETUP", X = "PRODUCTION"'))
    site.load(path, plan)
    assert [row[1] for row in rejects(site)] == ["row", "2"]


def test_a_file_that_grows_while_it_is_read_stops_the_import_and_keeps_what_was_taken(
    site: Site, plan: Path
):
    path = file_of(site, *[LINE] * 10)

    def grow(_: object) -> None:
        with path.open("a") as file:
            file.write(LINE + "\n")

    with pytest.raises(BadImport, match="changed while it was read"):
        site.load(path, plan, batch_rows=4, watch=grow)
    assert site.rows("SELECT count(*) FROM job_responses") == [(4,)]


def test_two_imports_of_one_file_at_once_do_not_double(site: Site, plan: Path):
    path = file_of(site, *[LINE] * 10)

    def another(_: object) -> None:
        site.load(path, plan, batch_rows=4)

    with pytest.raises(BadImport, match="another import of the same file"):
        site.load(path, plan, batch_rows=4, watch=another)
    assert site.rows("SELECT count(*), count(DISTINCT source_row) FROM job_responses") == [(10, 10)]


def test_a_store_that_stays_locked_ends_the_import_which_goes_on_later(site: Site, plan: Path):
    path, batches = file_of(site, *[LINE] * 10, "bad"), []
    with closing(sqlite3.connect(site.store, isolation_level=None)) as program:

        def hold(_: object) -> None:
            batches.append(1)
            if len(batches) == 2:
                program.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreBusy):
            site.load(path, plan, batch_rows=4, busy_tries=2, busy_ms=20, watch=hold)
        program.execute("ROLLBACK")
    assert site.rows("SELECT count(*) FROM job_responses") == [(8,)]
    outcome = site.load(path, plan, batch_rows=4)
    assert (outcome.rows_before, outcome.taken, outcome.rejected) == (8, 2, 1)
    assert len(rejects(site)) == 2


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 7])
def test_the_size_of_batches_changes_nothing_but_the_speed(tmp_path: Path, batch_rows: int):
    (tmp_path / "map.toml").write_text(SMALL_MAP)
    lines = [
        LINE.replace("A-1", f"A-{n % 5}").replace("01-02", f"01-{n % 9 + 10}") for n in range(40)
    ]
    lines[3:3] = ["bad", LINE.replace(",D,", ",X,"), '"' + LINE]
    found = []
    for folder, size in ((tmp_path / "one", 1000), (tmp_path / "other", batch_rows)):
        folder.mkdir()
        site = Site.new(folder)
        site.load(file_of(site, *lines), tmp_path / "map.toml", batch_rows=size)
        found.append((site.content(), rejects(site)))
    assert found[0] == found[1]


# --- the command ---------------------------------------------------------------------------------


def test_the_command_tells_what_it_took_and_what_not(site: Site, plan: Path):
    path = file_of(site, LINE, "bad")
    done = site.run("import", path, "--map", plan)
    assert done.returncode == 65, done.stderr
    assert "took 1 lines" in done.stdout
    assert "line 3: 1 fields, the header has 8" in done.stdout
    assert path.with_name("log.csv.rejects.csv").is_file()
    again = site.run("import", path, "--map", plan)
    assert "nothing to do" in again.stdout


def test_the_command_answers_programs_in_json(site: Site, plan: Path):
    done = site.run("import", file_of(site, LINE), "--map", plan, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "mes-edge.import/v1"
    assert document["tables"]["new"] == {"work_orders": 1, "persons": 1, "job_responses": 1}


def test_a_terminal_sees_how_far_it_is(site: Site, plan: Path):
    path = file_of(site, *[LINE] * 3000)
    ours, theirs = pty.openpty()
    with (
        open(ours, "rb", buffering=0) as screen,
        subprocess.Popen(
            site.command("import", path, "--map", plan),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        ) as process,
    ):
        os.close(theirs)
        seen = screen.read(4096)
        process.wait(60)
    assert b"% " in seen
    assert b"rows" in seen


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--part", "2"], 64, "go together"),
        (["--parts", "2", "--part", "3"], 64, "beyond --parts 2"),
        (["--parts", "2", "--part", "1", "--split-by", "Nothing"], 1, "no column 'Nothing'"),
        (["--colour"], 64, "No such option"),
    ],
)
def test_a_wrong_command_line_is_told(
    site: Site, plan: Path, arguments: list[str], code: int, said: str
):
    done = site.run("import", file_of(site, LINE), "--map", plan, *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert site.content() == {}
