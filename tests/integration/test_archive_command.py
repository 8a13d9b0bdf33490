"""``mes-central partitions detach, archive, verify, drop, attach``, as an operator uses them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from click.shell_completion import ShellComplete

from central.archive import detach
from central.cli.command import mes_central as command
from tests.integration.archive_world import MONTH, OLD, TABLE, Archive, archive_of
from tests.integration.central_world import appears
from tests.integration.command_world import at_the_centre, mes_central

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["mes_central"]

pytestmark = pytest.mark.postgres

ONE = (TABLE, "--site", "SITE_001", "--month", MONTH)


@pytest.fixture
def filled(mes_central, tmp_path, monkeypatch):
    """A centre with three months of 2024 of a site, and a folder for its archive."""
    monkeypatch.setenv("MES_ARCHIVE_DIR", str(tmp_path))

    async def fill(old: Archive) -> None:
        for number, month in enumerate(("2024-01", MONTH, "2024-03"), 1):
            await old.sends(*old.reports(10, start=number), day=f"{month}-10")

    on(mes_central.url, tmp_path, fill)
    return mes_central


def on(url: str, root, work: Callable[[Archive], Awaitable[Any]]) -> Any:
    async def do(world) -> Any:
        async with archive_of(world, root) as old:
            return await work(old)

    return at_the_centre(url, do)


def states(ran) -> list[tuple[str, str, bool]]:
    return [(each["month"], each["state"], each["done"]) for each in ran.document["months"]]


def test_a_month_goes_and_comes_back_by_commands(filled):
    for step, state in (("detach", "detached"), ("archive", "archived"), ("verify", "archived")):
        ran = filled("partitions", step, *ONE, "--json")
        assert (ran.code, states(ran)) == (0, [(MONTH, state, True)]), ran.err
    assert states(filled("partitions", "drop", *ONE, "--yes", "--json")) == [
        (MONTH, "dropped", True)
    ]
    assert states(filled("partitions", "drop", *ONE, "--yes", "--json")) == [
        (MONTH, "dropped", False)
    ]
    assert "as before" in filled("partitions", "archive", *ONE).out
    assert states(filled("partitions", "attach", *ONE, "--json")) == [(MONTH, "attached", True)]
    assert filled("rollups", "verify").out.splitlines()[-1].startswith("EQUAL")


def test_archive_detaches_first_and_takes_all_before_a_month(filled):
    ran = filled("partitions", "archive", TABLE, "--before", "2024-03", "--json")
    assert states(ran) == [("2024-01", "archived", True), (MONTH, "archived", True)]
    dropped = filled("partitions", "drop", TABLE, "--before", "2024-02", "--yes", "--json")
    assert states(dropped) == [("2024-01", "dropped", True)]
    shown = filled("partitions", "status").out
    assert [line.split()[1] for line in shown.splitlines()[-2:]] == ["archived", "dropped"]
    by_site = filled("partitions", "status", "--table", TABLE).out
    assert f"{TABLE}/SITE_001/{MONTH}.1.parquet" in by_site
    archived = filled("partitions", "status", "--json").document["archived"]
    assert [(each["month"], each["state"], each["rows"]) for each in archived] == [
        ("2024-01", "dropped", 10), (MONTH, "archived", 10),
    ]  # fmt: skip
    again = filled("partitions", "archive", TABLE, "--before", "2024-03", "--json")
    assert states(again) == []


def test_sums_count_archived_months_and_a_list_says_how_many_it_lacks(filled):
    counted = ("report", "output", "--measure", "reports", "--json")
    listed = ("report", "log", "--from", "2024-01-01", "--to", "2024-03-01")
    before = filled(*listed, "--json")
    assert before.err == ""
    filled("partitions", "archive", TABLE, "--before", "2024-03")
    filled("partitions", "drop", TABLE, "--before", "2024-03", "--yes")
    assert filled(*counted).document["rows"] == [{"reports": 30}]
    assert "archive" not in filled("report", "output").out
    ran = filled(*listed)
    assert ran.out.splitlines()[-1] == "not counted: 2 months of sites in the archive"
    assert "not counted: 2 months" in filled(*listed, "--csv").err
    ran = filled(*listed, "--json")
    assert (ran.document["archived_not_counted"], ran.err) == (2, "")
    assert len(ran.document["rows"]) < len(before.document["rows"])
    assert "archive" not in filled("report", "log", "--from", "2024-03-05").out


def test_nothing_is_dropped_without_a_yes(filled):
    filled("partitions", "archive", *ONE)
    ran = filled("partitions", "drop", *ONE)
    assert ran.code != 0
    assert "Drop 2024-02 of job_responses of SITE_001 from PostgreSQL?" in ran.err
    assert filled("partitions", "status", "--json").document["archived"][0]["state"] == "archived"


def test_sums_are_not_compared_without_the_files(filled, monkeypatch):
    filled("partitions", "archive", *ONE)
    filled("partitions", "drop", *ONE, "--yes")
    assert filled("rollups", "verify").code == 0
    monkeypatch.delenv("MES_ARCHIVE_DIR")
    ran = filled("rollups", "verify", "--repair")
    assert (ran.code, "MES_ARCHIVE_DIR" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("asked", "code", "why"),
    [
        (("archive", TABLE, "--site", "SITE_001"), 64, "name one --month, or all --before one"),
        (("archive", TABLE, "--month", MONTH), 64, "--month needs a --site"),
        (("drop", *ONE, "--before", MONTH, "--yes"), 64, "name one --month"),
        (("detach", TABLE, "--site", "SITE_001", "--month", "2024-13"), 64, "is no month such as"),
        (("detach", TABLE, "--site", "SITE_099", "--month", MONTH), 1, "is not registered"),
        (("detach", "nothing", "--site", "SITE_001", "--month", MONTH), 64, "has no table nothing"),
        (("detach", "work_orders", "--site", "SITE_001", "--month", MONTH), 1, "rows change"),
        (("detach", TABLE, "--site", "SITE_001", "--month", "2036-01"), 64, "MES_FACT_DAYS=31"),
        (("drop", *ONE, "--yes"), 1, "archive it first, nothing was dropped"),
        (("attach", *ONE), 1, "was never detached"),
    ],
)
def test_what_can_not_be_done_is_told_with_the_next_step(filled, asked, code, why):
    ran = filled("partitions", *asked)
    assert (ran.code, why in ran.err) == (code, True), ran.err


def test_without_a_folder_nothing_is_written(filled, monkeypatch):
    monkeypatch.delenv("MES_ARCHIVE_DIR")
    ran = filled("partitions", "archive", *ONE)
    assert (ran.code, "MES_ARCHIVE_DIR is not set" in ran.err) == (1, True)
    assert filled("partitions", "status", "--json").document["archived"] == []


def test_a_role_that_may_not_migrate_is_told_so(filled, monkeypatch):
    with psycopg.connect(filled.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE mes_plain LOGIN PASSWORD 'plain-words'")
    plain = urlsplit(filled.url)
    address = plain._replace(netloc=f"mes_plain:plain-words@{plain.hostname}:{plain.port}")
    monkeypatch.setenv("MES_ADMIN_URL", urlunsplit(address))
    ran = filled("partitions", "detach", *ONE)
    with psycopg.connect(filled.url, autocommit=True) as owner:
        owner.execute("DROP ROLE mes_plain")
    assert (ran.code, "MES_ADMIN_URL" in ran.err) == (77, True)


def test_a_detaching_that_was_cut_off_is_shown_and_goes_on(filled, tmp_path):
    def cut_off() -> None:
        report = psycopg.connect(filled.url)
        report.execute(f"SELECT count(*) FROM mes.{TABLE}".encode())

        async def begin(old: Archive) -> None:
            going = asyncio.create_task(detach(old.bench, OLD))
            await appears(old.world.url, "SELECT 1 FROM pg_inherits WHERE inhdetachpending")
            await old.bench.connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await going

        on(filled.url, tmp_path, begin)
        report.close()

    cut_off()
    shown = filled("partitions", "status", "--table", TABLE).out
    assert "detaching" in shown
    ran = filled("partitions", "detach", *ONE, "--json")
    assert states(ran) == [(MONTH, "detached", True)]


def test_a_shell_completes_tables_and_sites(filled):
    completion = ShellComplete(command, {}, "mes-central", "_MES_CENTRAL_COMPLETE")
    tables = [c.value for c in completion.get_completions(["partitions", "drop"], "job_")]
    assert tables == ["job_responses"]
    orders = completion.get_completions(["partitions", "drop"], "work_")
    assert [c.value for c in orders] == []
    asked = ["partitions", "attach", TABLE, "--site"]
    sites = [c.value for c in completion.get_completions(asked, "SITE_00")]
    assert sites == ["SITE_001", "SITE_002", "SITE_003"]
