"""An older schema at one end, a newer one at the other: nothing lost, nothing sent twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.store import setup
from shared.catalog import Catalog, Direction, Kind, Policy, Table
from tests.integration.edge_world import (  # noqa: F401, the fixtures among them
    CATALOG,
    ORDERS,
    SITE,
    Plant,
    away,
    column,
    plant,
    put,
    uid,
    version,
)

ROW = uid(1)
NEWER_ORDERS = replace(ORDERS, columns=(*ORDERS.columns, column("colour", since=2)))
TOOLS = Table(
    "tools", Direction.BOTH, columns=(column("code"), column("worn", Kind.INTEGER, Policy.SUM))
)


def with_tables(*tables, number=2):
    others = [table for table in CATALOG.tables if table.name not in {t.name for t in tables}]
    return Catalog(number, (*others, *tables))


NEWER = with_tables(NEWER_ORDERS, TOOLS)


def migrate(plant, catalog):
    plant.close()
    plant.open(catalog)


# --- older edge, newer centre -------------------------------------------------------------------


def test_an_unknown_column_is_kept_while_the_known_ones_are_shown(plant):
    plant.take(put("orders", {"id": ROW, "notes": "a", "colour": "red"}, order=1), schema=2)
    assert plant.row("orders", ROW)["notes"] == "a"
    assert plant.rows("SELECT table_name, column_name, schema FROM _sync_extra") == [
        {"table_name": "orders", "column_name": "colour", "schema": 2}
    ]


def test_a_migration_fills_the_column_with_the_last_value_and_sends_nothing(plant):
    for order, colour in enumerate(("red", "blue", None, "green"), 1):
        plant.take(put("orders", {"id": ROW, "colour": colour}, order=order), schema=2)
    migrate(plant, NEWER)
    assert plant.row("orders", ROW)["colour"] == "green"
    assert plant.base("orders", ROW) == (version(4), 4)
    assert plant.drain() == 0
    assert plant.value("SELECT count(*) FROM _sync_extra") == 0


def test_a_migration_fills_the_head_under_undecided_writes_too(plant):
    plant.take(put("orders", {"id": ROW, "notes": "a"}, order=1))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(put("orders", {"id": ROW, "notes": "b", "colour": "red"}, order=2), schema=2)
    migrate(plant, NEWER)
    row = plant.row("orders", ROW)
    assert (row["notes"], row["colour"]) == ("mine", "red")
    plant.take(ack=plant.ack(n))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["colour"]) == ("b", "red")


def test_a_migration_fills_the_head_of_a_row_that_the_site_deleted(plant):
    plant.take(put("orders", {"id": ROW, "notes": "a"}, order=1))
    plant.delete("orders", ROW)
    n = plant.drain()
    plant.take(put("orders", {"id": ROW, "notes": "b", "colour": "red"}, order=2), schema=2)
    migrate(plant, NEWER)
    plant.take(ack=plant.ack(n))
    assert plant.row("orders", ROW)["colour"] == "red", "the centre kept it, so it comes back"


def test_what_was_kept_of_a_row_goes_with_the_row(plant):
    plant.take(put("orders", {"id": ROW, "colour": "red"}, order=1), schema=2)
    plant.take(away("orders", ROW, order=2))
    assert plant.value("SELECT count(*) FROM _sync_extra") == 0


def test_rows_of_an_unknown_table_are_kept_whole_until_the_table_is_there(plant):
    tools = [{"id": uid(k), "code": f"T{k}", "worn": k} for k in range(1, 5)]
    plant.take(put("tools", *tools, order=1), schema=2)
    plant.take(put("tools", {"id": uid(2), "code": "T2", "worn": 9}, order=7), schema=2)
    plant.take(away("tools", uid(3), order=8), schema=2)
    migrate(plant, NEWER)
    worn = {row["code"]: row["worn"] for row in plant.rows("SELECT code, worn FROM tools")}
    assert worn == {"T1": 1, "T2": 9, "T4": 4}
    assert plant.base("tools", uid(2)) == (version(7), 7)
    assert plant.drain() == 0
    assert plant.value("SELECT count(*) FROM _sync_extra") == 0


def migrate_by_command(plant, catalog):
    """Do what ``mes-edge migrate`` does, and let a program write before the agent starts."""
    plant.store.close()
    opened = setup.open_for_agent(plant.path, catalog, site=SITE, now_ms=1, host="here")
    setup.close(opened)


def test_what_a_program_writes_to_a_new_column_before_the_agent_starts_stays(plant):
    plant.take(put("orders", {"id": ROW, "colour": "red"}, order=1), schema=2)
    migrate_by_command(plant, NEWER)
    assert plant.row("orders", ROW)["colour"] == "red", "filled with the migration itself"
    plant.update("orders", ROW, colour="mine")
    plant.open(NEWER)
    n = plant.drain()
    (block,) = plant.sent(n)
    assert (block.old, block.new) == ([["red"]], [["mine"]])
    plant.take(ack=plant.ack(n))
    assert plant.row("orders", ROW)["colour"] == "mine"


@pytest.mark.parametrize(
    "does", ["raise(ROLLBACK, 'never')", "raise(ABORT, 'never')", "raise(IGNORE)"]
)
def test_a_migration_waits_for_no_rule_of_the_plants_and_tells_what_it_could_not_fill(plant, does):
    plant.take(put("orders", {"id": ROW, "colour": "red"}, order=1), schema=2)
    plant.take(put("tools", {"id": uid(2), "code": "T"}, order=2), schema=2)
    plant.write(f"CREATE TRIGGER of_the_plant BEFORE UPDATE ON orders BEGIN SELECT {does}; END")
    migrate(plant, NEWER)
    assert plant.row("orders", ROW)["colour"] is None
    assert plant.row("tools", uid(2))["code"] == "T"
    assert plant.events()[-1] == "MES-COLUMN-REFUSED"
    assert plant.value("SELECT count(*) FROM _sync_extra") == 0
    assert plant.drain() == 0


def test_a_migration_tells_of_no_rule_where_it_leaves_a_column_as_the_site_wrote_it(plant):
    plant.take(put("orders", {"id": ROW, "remarks": "theirs"}, order=1), schema=2)
    plant.write("CREATE TRIGGER of_the_plant AFTER UPDATE ON orders BEGIN SELECT 1; END")
    plant.update("orders", ROW, notes="mine")
    migrate(plant, renamed_notes("notes"))
    assert (plant.row("orders", ROW)["remarks"], plant.events()) == ("mine", [])


def test_what_a_trigger_writes_as_a_migration_fills_a_column_is_sent(plant):
    plant.take(put("orders", {"id": ROW, "colour": "red"}, order=1), schema=2)
    plant.write(
        "CREATE TRIGGER of_the_plant AFTER UPDATE ON orders WHEN NEW.notes IS NULL"
        " BEGIN UPDATE orders SET notes = 'seen' WHERE id = NEW.id; END"
    )
    migrate(plant, NEWER)
    assert plant.row("orders", ROW)["colour"] == "red"
    assert plant.owed() == [("orders", ROW, "U")]


def test_a_value_kept_under_a_new_name_is_not_put_over_what_the_site_wrote(plant):
    plant.take(put("orders", {"id": ROW, "remarks": "theirs"}, order=1), schema=2)
    plant.update("orders", ROW, notes="mine")
    migrate(plant, renamed_notes("notes"))
    assert plant.row("orders", ROW)["remarks"] == "mine"
    plant.take(ack=plant.ack(plant.last_n))
    assert plant.row("orders", ROW)["remarks"] == "mine", "taken as the site wrote it"


def test_a_migration_fills_the_column_of_a_row_that_had_made_way(plant):
    plant.take(put("orders", {"id": ROW, "order_no": "A", "colour": "red"}, order=1), schema=2)
    plant.take(put("orders", {"id": uid(2), "order_no": "A", "colour": "blue"}, order=2), schema=2)
    assert plant.asides() == [("orders", ROW, "unique")]
    migrate(plant, NEWER)
    plant.take(put("orders", {"id": uid(2), "order_no": "B"}, order=3), schema=2)
    assert plant.row("orders", ROW)["colour"] == "red"
    assert plant.row("orders", uid(2))["colour"] == "blue"


def test_a_migration_that_lifts_a_rule_brings_in_what_it_refused(plant):
    plant.program.execute(
        "CREATE TRIGGER old_rule BEFORE INSERT ON orders WHEN new.slot > 9"
        " BEGIN SELECT raise(ABORT, 'no such slot'); END"
    )
    plant.take(put("orders", {"id": ROW, "slot": 12}, order=1))
    assert plant.asides() == [("orders", ROW, "refused")]
    plant.program.execute("DROP TRIGGER old_rule")
    migrate(plant, NEWER)
    assert plant.row("orders", ROW)["slot"] == 12
    assert plant.base("orders", ROW) == (version(1), 1)
    assert plant.asides() == []


# --- newer edge, older centre -------------------------------------------------------------------


def test_columns_that_the_older_centre_does_not_send_are_left_as_they_are(tmp_path):
    plant = Plant(tmp_path / "store.db", NEWER)
    plant.insert("orders", id=ROW, notes="a", colour="mine")
    n = plant.drain()
    plant.take(put("orders", {"id": ROW, "notes": "theirs"}, order=1), ack=plant.ack(n))
    row = plant.row("orders", ROW)
    assert (row["notes"], row["colour"]) == ("theirs", "mine")
    plant.close()


def renamed(before, after, *earlier):
    columns = tuple(
        replace(c, name=after, renamed_from=(*earlier, before)) if c.name == before else c
        for c in ORDERS.columns
    )
    return with_tables(replace(ORDERS, columns=columns))


def renamed_notes(*earlier):
    return renamed("notes", "remarks", *(name for name in earlier if name != "notes"))


@pytest.mark.parametrize("sent", ["notes", "comment", "remarks"])
def test_a_column_is_known_by_each_of_its_names(tmp_path, sent):
    plant = Plant(tmp_path / "store.db", renamed_notes("comment", "notes"))
    plant.take(put("orders", {"id": ROW, sent: "a"}, order=1))
    assert plant.row("orders", ROW)["remarks"] == "a"
    assert plant.value("SELECT count(*) FROM _sync_extra") == 0
    plant.close()


def test_of_two_names_of_one_column_the_present_one_counts(tmp_path):
    plant = Plant(tmp_path / "store.db", renamed_notes("notes"))
    plant.take(put("orders", {"id": ROW, "notes": "old", "remarks": "new"}, order=1))
    assert plant.row("orders", ROW)["remarks"] == "new"
    plant.close()


def test_a_value_kept_under_the_new_name_fills_the_renamed_column(plant):
    plant.take(put("orders", {"id": ROW, "remarks": "from a newer centre"}, order=1), schema=2)
    assert plant.row("orders", ROW)["notes"] is None
    migrate(plant, renamed_notes("notes"))
    assert plant.row("orders", ROW)["remarks"] == "from a newer centre"


def added_and_renamed(*names, kind=Kind.TEXT):
    *earlier, last = names
    added = column(last, kind, since=2, renamed_from=tuple(earlier))
    return with_tables(replace(ORDERS, columns=(*ORDERS.columns, added)), number=4)


# By name the first before the second, and after it.
@pytest.mark.parametrize("names", [("colour", "shade"), ("shade", "colour")])
def test_a_store_two_releases_behind_shows_the_value_under_the_later_name(plant, names):
    before, now = names
    for number in (1, 2, 3):
        plant.take(put("orders", {"id": uid(number), before: "stale"}, order=number), schema=2)
    plant.update("orders", uid(2), notes="mine")
    n = plant.drain()
    for number in (1, 2):
        plant.take(put("orders", {"id": uid(number), now: "last"}, order=3 + number), schema=3)
    migrate(plant, added_and_renamed(*names))
    shown = [plant.row("orders", uid(number))[now] for number in (1, 2, 3)]
    assert shown == ["last", "last", "stale"]
    plant.take(ack=plant.ack(n))
    assert plant.row("orders", uid(2))[now] == "last", "as the centre has it"


@pytest.mark.parametrize("names", [("colour", "shade"), ("shade", "colour")])
def test_where_a_column_is_given_its_first_name_back_the_last_value_is_shown(plant, names):
    between, now = names
    plant.take(put("orders", {"id": ROW, now: "stale"}, order=1), schema=2)
    plant.take(put("orders", {"id": ROW, between: "last"}, order=2), schema=3)
    migrate(plant, added_and_renamed(*names))
    assert plant.row("orders", ROW)[now] == "last"


def test_of_a_column_renamed_twice_no_value_but_the_last_is_put_into_it(plant):
    for order, (name, value) in enumerate([("a", "no number"), ("b", "none either"), ("c", 7)], 1):
        plant.take(put("orders", {"id": ROW, name: value}, order=order), schema=1 + order)
    migrate(plant, added_and_renamed("a", "b", "c", kind=Kind.INTEGER))
    assert plant.row("orders", ROW)["c"] == 7
    assert plant.value("SELECT count(*) FROM _sync_event") == 0


# --- what is kept while a column is renamed -----------------------------------------------------


def test_a_head_under_undecided_writes_comes_out_under_the_new_name(plant):
    plant.take(put("orders", {"id": ROW, "notes": "a", "line": "L1"}, order=1))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(put("orders", {"id": ROW, "notes": "theirs", "line": "L2"}, order=2))
    migrate(plant, renamed_notes("notes"))
    assert plant.row("orders", ROW)["remarks"] == "mine"
    plant.take(ack=plant.ack(n))
    row = plant.row("orders", ROW)
    assert (row["remarks"], row["line"]) == ("theirs", "L2")


@pytest.mark.parametrize("own", [False, True])
def test_a_row_that_had_made_way_comes_back_with_the_renamed_column(plant, own):
    plant.take(put("orders", {"id": ROW, "order_no": "A", "notes": "kept"}, order=1))
    if own:
        plant.update("orders", ROW, notes="mine")
        plant.drain()
    plant.take(put("orders", {"id": uid(2), "order_no": "A"}, order=2))
    assert plant.asides() == [("orders", ROW, "unique")]
    migrate(plant, renamed_notes("notes"))
    plant.take(put("orders", {"id": uid(2), "order_no": "B"}, order=3))
    assert plant.row("orders", ROW)["remarks"] == ("mine" if own else "kept")


def test_a_difference_that_is_not_decided_still_counts_in_a_renamed_sum(plant):
    plant.take(put("orders", {"id": ROW, "made": 10}, order=1))
    plant.update("orders", ROW, made=13)
    plant.drain()
    migrate(plant, renamed("made", "finished"))
    plant.take(put("orders", {"id": ROW, "finished": 20}, order=2))
    assert plant.row("orders", ROW)["finished"] == 23
