"""Own writes over the centre's heads, in a real store: what a program sees until it is decided."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.edge_world import Plant, away, plant, put, uid, version  # noqa: F401

ROW = uid(1)


def order(*, at, **values):
    return put("orders", {"id": ROW, **values}, order=at)


def seen(plant, *names):
    row = plant.row("orders", ROW)
    return tuple(row[name] for name in names)


def test_an_own_value_stays_visible_under_a_later_head_until_the_ack(plant):
    plant.take(order(at=1, notes="a", due="monday"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(order(at=2, notes="theirs", due="friday"))
    assert seen(plant, "notes", "due") == ("mine", "friday")
    assert plant.shadows() == [ROW]
    plant.take(order(at=3, notes="mine", due="friday"), ack=plant.ack(n))
    assert seen(plant, "notes", "due") == ("mine", "friday")
    assert plant.shadows() == []


def test_the_next_write_is_based_on_the_head_in_the_shadow(plant):
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    plant.drain()
    plant.take(order(at=2, due="friday"))
    assert plant.base("orders", ROW) == (version(2), 2)


def test_an_ack_without_a_head_uncovers_the_shadow(plant):
    """The head came with the shared feed, the ack for it with the site's own."""
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.receive(plant.shared.entry(order(at=3, notes="merged")))
    assert seen(plant, "notes") == ("mine",)
    plant.take(ack=plant.ack(n), beside=1)
    assert seen(plant, "notes") == ("merged",)
    assert plant.base("orders", ROW) == (version(3), 3)


def test_an_ack_of_the_first_of_two_writes_keeps_the_second_in_sight(plant):
    plant.take(order(at=1, notes="a", due="monday", made=0))
    plant.update("orders", ROW, notes="one", made=3)
    first = plant.drain()
    plant.update("orders", ROW, made=10)
    second = plant.drain()
    plant.take(order(at=5, notes="theirs", made=103), ack=plant.ack(first))
    assert seen(plant, "notes", "made") == ("theirs", 110)
    plant.take(order(at=6, notes="theirs", made=110), ack=plant.ack(second))
    assert seen(plant, "notes", "made") == ("theirs", 110)


def test_a_sum_shows_head_and_own_differences_without_counting_twice(plant):
    plant.take(order(at=1, made=100))
    plant.update("orders", ROW, made=107)
    first = plant.drain()
    plant.take(order(at=2, made=150))
    assert seen(plant, "made") == (157,)
    plant.update("orders", ROW, made=160)
    second = plant.drain()
    assert seen(plant, "made") == (160,)
    plant.take(order(at=3, made=157), ack=plant.ack(first))
    assert seen(plant, "made") == (160,)
    plant.take(order(at=4, made=160), ack=plant.ack(second))
    assert seen(plant, "made") == (160,)


def test_a_set_shows_the_head_with_own_additions_and_removals(plant):
    plant.take(order(at=1, tags='["a","b"]'))
    plant.update("orders", ROW, tags='["b","mine"]')
    plant.drain()
    plant.take(order(at=2, tags='["a","b","theirs"]'))
    assert seen(plant, "tags") == ('["b","mine","theirs"]',)


def test_a_group_of_columns_is_shown_as_the_site_left_it(plant):
    plant.take(order(at=1, line="L1", slot=1))
    plant.update("orders", ROW, slot=2)
    plant.drain()
    plant.take(order(at=2, line="L9", slot=9))
    assert seen(plant, "line", "slot") == ("L1", 2)


def test_an_own_deletion_stays_while_heads_come(plant):
    plant.take(order(at=1, notes="a"))
    plant.delete("orders", ROW)
    n = plant.drain()
    plant.take(order(at=2, notes="b"))
    assert plant.row("orders", ROW) is None
    plant.take(order(at=3, notes="kept, says a review"), ack=plant.ack(n))
    assert seen(plant, "notes") == ("kept, says a review",)


def test_an_own_deletion_that_wins_leaves_no_trace_of_the_row(plant):
    plant.take(order(at=1, notes="a"))
    plant.delete("orders", ROW)
    n = plant.drain()
    plant.take(order(at=2, notes="b"))
    plant.take(away("orders", ROW, order=3), ack=plant.ack(n))
    assert (plant.row("orders", ROW), plant.shadows(), plant.asides()) == (None, [], [])


def test_a_row_deleted_and_made_again_by_the_site_is_shown_as_the_site_made_it(plant):
    plant.take(order(at=1, notes="a", due="monday"))
    plant.delete("orders", ROW)
    plant.drain()
    plant.insert("orders", id=ROW, notes="again")
    plant.drain()
    plant.take(order(at=2, notes="theirs", due="friday"))
    assert seen(plant, "notes", "due") == ("again", None)


def test_a_row_deleted_at_the_centre_is_seen_while_an_own_update_is_undecided(plant):
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    n = plant.drain()
    plant.take(away("orders", ROW, order=2))
    assert seen(plant, "notes") == ("mine",)
    plant.take(away("orders", ROW, order=2), ack=plant.ack(n))
    assert plant.row("orders", ROW) is None


def test_an_overlay_is_not_captured_as_a_write_of_the_site(plant):
    plant.take(order(at=1, notes="a", made=1))
    plant.update("orders", ROW, made=2)
    n = plant.drain()
    plant.take(order(at=2, notes="b", made=5))
    plant.take(order(at=3, notes="c", made=6), ack=plant.ack(n))
    assert plant.drain() == n


def test_a_head_whose_cover_is_owed_to_nobody_does_not_come_up_later(plant):
    """A write that no message can carry is not owed, so no ack will ever uncover its row."""
    plant.take(order(at=1, notes="a"))
    plant.update("orders", ROW, notes="mine")
    plant.drain()
    plant.take(order(at=2, notes="b"))
    plant.write("DELETE FROM _sync_pending")
    plant.take(order(at=3, notes="c"))
    plant.update("orders", ROW, notes="mine, again")
    plant.take(ack=plant.ack(plant.drain()))
    assert seen(plant, "notes") == ("mine, again",)


# --- any history --------------------------------------------------------------------------------

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["notes", "made", "tags"]), st.integers(0, 9)),
        st.tuples(st.just("centre"), st.sampled_from(["due", "made", "tags"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["send", "entry"]), st.none(), st.none()),
    ),
    max_size=25,
)


class Centre:
    """The centre's row; a site's write is merged when it is sent, and its head goes out."""

    def __init__(self):
        self.row = {"id": ROW, "notes": "", "due": "", "made": 0, "tags": "[]"}
        self.order = 1

    def change(self, **values):
        self.row |= values
        self.order += 1

    def merge(self, name, old, new):
        if name == "notes":
            self.change(notes=new)
        elif name == "made":
            self.change(made=self.row["made"] + new - old)
        else:
            tags, saw, wants = (set(json.loads(text)) for text in (self.row["tags"], old, new))
            self.change(tags=json.dumps(sorted(tags - (saw - wants) | (wants - saw))))


def differently(value, name, number):
    if name == "made":
        return value + number - 4
    if name == "tags":
        return json.dumps(sorted(set(json.loads(value)) ^ {f"t{number}"}), separators=(",", ":"))
    return f"{name} {number}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(ACTS)
def test_whatever_comes_when_own_writes_stay_visible_and_both_ends_agree_at_rest(
    tmp_path_factory, acts
):
    plant, centre = Plant(tmp_path_factory.mktemp("history") / "store.db"), Centre()
    plant.take(put("orders", centre.row, order=centre.order))
    queue, acked = [], 0
    for act, name, number in [*acts, *[("send", None, None)] * 25, ("entry", None, None)]:
        if act == "write":
            (old,) = seen(plant, name)
            new = differently(old, name, number)
            plant.update("orders", ROW, **{name: new})
            if new != old:
                queue.append((plant.drain(), name, old, new))
            assert seen(plant, name) == (new,)
        elif act == "centre":
            centre.change(**{name: differently(centre.row[name], name, number)})
        elif act == "send" and queue:
            acked, *written = queue.pop(0)
            centre.merge(*written)
        elif act == "entry":
            plant.take(put("orders", centre.row, order=centre.order), ack=plant.ack(acked))
            assert seen(plant, "due") == (centre.row["due"],)
            own = sum(new - old for _, column, old, new in queue if column == "made")
            assert seen(plant, "made") == (centre.row["made"] + own,)
    row = plant.row("orders", ROW)
    assert json.loads(row.pop("tags")) == json.loads(centre.row["tags"])
    assert {k: row[k] for k in ("notes", "due", "made")} == {
        k: centre.row[k] for k in ("notes", "due", "made")
    }
    assert (plant.owed(), plant.shadows()) == ([], [])
    plant.close()
