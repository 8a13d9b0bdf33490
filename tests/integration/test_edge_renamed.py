"""A column is renamed while the outbox holds what was drained before; then one end goes back."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from edge.store.compare import Looker
from edge.store.tips import Lost
from shared.catalog import Catalog
from sync import codec
from sync.handshake import ANY_DRAIN
from tests.integration.edge_world import CATALOG, ORDERS, Plant, put, uid, version

ORDER = {"id": uid(1), "order_no": "A", "notes": "a", "made": 10, "tags": "[]"}
BITS = {name: 1 << ORDERS.bit(name) for name in ("notes", "made")}
#: The catalogues after it: first one name changes, then both.
NAMES = (("made_qty", "notes"), ("pieces", "remarks"))


def later(steps: int) -> Catalog:
    """Return the catalogue after so many renames of the two columns."""
    catalog = CATALOG
    for number, names in enumerate(NAMES[:steps], 2):
        orders = catalog.table("orders")
        now = dict(zip((ORDERS.bit("made"), ORDERS.bit("notes")), names, strict=True))
        columns = tuple(
            replace(c, name=now[at], renamed_from=(*c.renamed_from, c.name))
            if now.get(at, c.name) != c.name
            else c
            for at, c in enumerate(orders.columns)
        )
        tables = [t for t in catalog.tables if t.name != "orders"]
        catalog = Catalog(number, (*tables, replace(orders, columns=columns)))
    return catalog


@pytest.fixture(params=[1, 2], ids=["renamed", "renamed-twice"])
def site(tmp_path, request):
    """A site whose count and note were drained and not decided, and have other names by now."""
    plant = Plant(tmp_path / "store.db")
    plant.program.execute("CREATE TABLE sync_parked (id, state, tx_id, n, table_name, row_id)")
    plant.take(put("orders", ORDER, order=1))
    plant.update("orders", uid(1), made=17)
    plant.update("orders", uid(1), notes="mine")
    plant.drain()
    renamed(plant, request.param)
    yield plant
    plant.close()


def renamed(plant, steps):
    for step in range(steps):
        plant.close()
        plant.open(later(step + 1))
    plant.made, plant.notes = NAMES[steps - 1]


def touched(plant):
    """Return when the count and the note were touched."""
    (block,) = blocks(plant)
    times = {block.columns[0]: block.at[0], block.columns[1]: block.at[0]}
    for mask, at_ms in (block.times or [()])[0] or ():  # none where both came in one millisecond
        times |= {name: at_ms for bit, name in enumerate(block.columns) if mask >> bit & 1}
    return times


def blocks(plant, after=0):
    parts = plant.store.outbox((after, 1 << 30), bytes_max=1 << 30)
    return [block for part in parts for block in codec.open_body(part).blocks]


def answer(*rows):
    return codec.encode_control({"rows": [list(r) for r in rows], "epochs": [None] * len(rows)})


def test_a_tip_is_without_an_own_write_that_was_drained_under_another_name(site):
    told = [block for some in site.store.tips(Lost(0, 0, whole=True), 1 << 41) for block in some]
    (orders,) = [block for block in told if block.table == "orders"]
    assert orders.version == [version(1)]
    assert set(orders.columns) == set(site.store.opened.catalog.table("orders").names)
    values = dict(zip(orders.columns, (column[0] for column in orders.new), strict=True))
    assert (values[site.made], values[site.notes]) == (10, "a")


def test_what_a_lost_life_sent_is_taken_out_though_its_column_has_another_name_now(site):
    at, first = touched(site), site.store.first_change(0, 0, 1 << 41)
    sent = (0, 5 << 16, BITS["made"], at["made"], True)
    with closing(site.store.take_out(first, [answer(sent)], 5 << 16)) as taken:
        ((_, left),), ((_, out),) = taken.packer.bodies(), taken.out.bodies()
    left, out = (codec.decode_body(codec.decompress(each)) for each in (left, out))
    assert [(b.columns, b.old, b.new) for b in left.blocks] == [
        ((site.notes,), [["a"]], [["mine"]])
    ]
    assert [(b.columns, b.old, b.new) for b in out.blocks] == [((site.made,), [[10]], [[17]])]
    assert left.schema == out.schema == site.store.opened.catalog.version


def taken_out(plant):
    """Have what was drained as taken out, and not as its own any more."""
    plant.program.execute(
        "INSERT INTO _sync_taken (epoch, part, fork_n, after_hlc, before_n, snapshots, body)"
        " SELECT 'ended', part, 0, 0, n + 1, 99, body FROM _sync_out WHERE n = 1"
    )
    plant.program.execute("DELETE FROM _sync_pending WHERE n = 1")
    (kept,) = plant.store.kept()
    return kept


def test_what_was_taken_out_before_a_rename_is_sent_again_where_the_centre_lost_it(site):
    kept = taken_out(site)
    assert site.store.send_again(kept, [answer()], ANY_DRAIN, 1 << 41) == 1
    (block,) = blocks(site, after=1)
    assert dict(zip(block.columns, block.new, strict=True)) == {
        site.made: [17],
        site.notes: ["mine"],
    }
    ((mask, deltas),) = site.program.execute("SELECT mask, deltas FROM _sync_pending").fetchall()
    assert (mask, deltas) == (BITS["made"] | BITS["notes"], f'{{"{site.made}": [10, 17]}}')


def test_of_what_was_taken_out_before_a_rename_a_later_write_of_the_site_stands(site):
    kept = taken_out(site)
    site.update("orders", uid(1), **{site.made: 18, site.notes: "later"})
    site.drain()
    assert site.store.send_again(kept, [answer()], ANY_DRAIN, 1 << 41) == 1
    (block,) = blocks(site, after=2)
    assert (block.columns, block.old, block.new) == ((site.made,), [[10]], [[17]])


def test_what_was_taken_out_before_a_rename_and_the_centre_has_is_kept_by_its_names_of_now(site):
    at, kept = touched(site), taken_out(site)
    sent = (0, 5 << 16, BITS["made"], at["made"], True)
    assert site.store.send_again(kept, [answer(sent)], 5 << 16, 1 << 41) == 1
    ((packed,),) = site.program.execute("SELECT body FROM _sync_taken").fetchall()
    body = codec.decode_body(codec.decompress(packed))
    assert [block.columns for block in body.blocks] == [(site.made,)]
    assert body.schema == site.store.opened.catalog.version
    assert [block.columns for block in blocks(site, after=1)] == [(site.notes,)]


def test_a_comparison_knows_what_was_sent_by_its_names_of_now(site):
    looker = Looker(site.store.opened)
    orders = site.store.opened.catalog.table("orders")
    found = looker.sent(orders, {uid(1): site.tx_id(1)})
    looker.close()
    assert found == {uid(1): {site.made: 17, site.notes: "mine"}}
