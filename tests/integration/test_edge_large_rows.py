"""A row that no message can carry stays, is told, and holds up nothing; nothing of it is lost."""

from __future__ import annotations

import json

import pytest

from edge.status import read_picture
from edge.verdict import judge
from shared.catalog import Catalog, Column, ColumnType, Direction, Kind, Policy, Table
from shared.changes import Fate
from sync import codec
from tests.integration.edge_drain_world import Site, uid
from tests.integration.edge_world import away, put

LIMIT = 1_000_000  # for speed; the real one is 64 MiB
LONG = "x" * (LIMIT + 1)


def column(name, policy=Policy.LAST_WRITE):
    return Column(name, ColumnType(Kind.TEXT), policy=policy)


NOTES = Table("notes", Direction.BOTH, (column("long"), column("short")))
FACTS = Table(
    "reports", Direction.UP, (column("long", Policy.APPEND_ONLY),), append_only=True
)  # fmt: skip


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(codec, "BODY_BYTES_MAX", LIMIT)
    site = Site(tmp_path / "store.db", Catalog(1, (NOTES, FACTS)))
    yield site
    site.close()


@pytest.mark.parametrize("table", ["notes", "reports"])
def test_a_row_that_no_message_can_carry_stays_here_and_is_counted(site, table):
    site.insert(table, id=uid(1), long=LONG)
    site.insert(table, id=uid(2), long="y")
    assert [row.id for row in site.sent()] == [uid(2)]
    assert site.row(table, uid(1))["long"] == LONG
    assert site.asides() == [(table, uid(1), "too_large")]
    assert site.events() == ["MES-ROW-TOO-LARGE"]
    assert site.value("SELECT count(*) FROM _sync_pending WHERE id = ?", uid(1)) == 0
    picture = read_picture(site.path, 0)
    assert picture.unapplied.aside == {"too_large": 1}
    assert "MES-ASIDE" in {reason.code for reason in judge(picture).reasons}


def test_a_write_too_large_is_kept_where_the_centre_overwrites_it(site):
    site.take(put("notes", {"id": uid(1), "long": "a", "short": "b"}, order=1))
    site.update("notes", uid(1), long=LONG)
    assert site.sent() == []
    site.take(put("notes", {"id": uid(1), "long": "c", "short": "d"}, order=2))
    assert site.row("notes", uid(1))["long"] == "c"
    (kept,) = site.rows("SELECT code, content FROM _sync_aside")
    assert (kept["code"], json.loads(kept["content"])) == ("too_large", {"long": LONG})


def test_a_new_row_too_large_is_sent_whole_once_it_is_shorter(site):
    site.insert("notes", id=uid(1), long=LONG, short="s")
    assert site.sent() == []
    site.update("notes", uid(1), long="x")
    (row,) = site.sent()
    assert (row.op, row.new) == ("I", {"long": "x", "short": "s"})
    assert site.asides() == []


def test_a_write_too_large_is_settled_by_a_later_one_on_the_same_columns_only(site):
    site.take(put("notes", {"id": uid(1), "long": "a", "short": "b"}, order=1))
    site.update("notes", uid(1), long=LONG)
    site.sent()
    site.update("notes", uid(1), short="c")
    assert [row.what for row in site.sent()] == [("U", "short")]
    assert site.asides() == [("notes", uid(1), "too_large")]
    site.update("notes", uid(1), long="d")
    (row,) = site.sent()  # what is replaced is too large, too: the new value comes first
    assert (row.old, row.new) == ({"long": None}, {"long": "d"})
    assert site.asides() == []


def test_a_long_text_that_replaces_a_long_one_is_sent_without_the_old(site):
    long = LONG[: LIMIT * 2 // 3]
    site.take(put("notes", {"id": uid(1), "long": long, "short": "b"}, order=1))
    site.update("notes", uid(1), long=long.upper(), short="c")
    (row,) = site.sent()
    assert row.new == {"long": long.upper(), "short": "c"}
    assert row.old == {"long": None, "short": "b"}
    assert site.asides() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_write_too_large_is_settled_by_deleting_the_row(site, known):
    if known:
        site.take(put("notes", {"id": uid(1), "long": "a", "short": "b"}, order=1))
        site.update("notes", uid(1), long=LONG)
    else:
        site.insert("notes", id=uid(1), long=LONG)
    site.sent()
    site.delete("notes", uid(1))
    assert [row.op for row in site.sent()] == ["D"] * known
    assert site.asides() == []


def test_a_write_too_large_is_kept_where_the_centre_deletes_the_row(site):
    site.take(put("notes", {"id": uid(1), "long": "a", "short": "b"}, order=1))
    site.update("notes", uid(1), long=LONG)
    site.sent()
    site.take(away("notes", uid(1), order=2, fate=Fate.GONE))
    site.insert("notes", id=uid(2), long="y")
    site.sent()
    assert site.row("notes", uid(1)) is None
    assert ("notes", uid(1), "too_large") in site.asides()


def test_a_fact_too_large_is_settled_where_retention_drops_it(site):
    site.insert("reports", id=uid(1), long=LONG)
    site.sent()
    site.insert("reports", id=uid(2), long="y")
    site.sent()
    assert len(site.asides()) == 1
    site.write("DROP TRIGGER _sync_reports_guard_delete")
    site.delete("reports", uid(1))
    site.insert("reports", id=uid(3), long="z")
    site.sent()
    assert site.asides() == []


def test_of_two_writes_too_large_a_short_one_settles_its_own_column(site):
    site.take(put("notes", {"id": uid(1), "long": "a", "short": "b"}, order=1))
    site.update("notes", uid(1), long=LONG)
    site.sent()
    site.update("notes", uid(1), short=LONG)
    site.sent()
    site.update("notes", uid(1), short="c")
    site.sent()
    assert site.asides() == [("notes", uid(1), "too_large")]
    site.update("notes", uid(1), long="y")
    site.sent()
    assert site.asides() == []
