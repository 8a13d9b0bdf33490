"""What campaigns found in the product, each as short as it can be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.edge_world import SITE, away, plant, put, uid, version  # noqa: F401
from tests.sim.story import NORTH, Story, lab, play
from tests.sim.test_restores_in_a_row import add_part, retitle
from tests.sim.world import Plan

if TYPE_CHECKING:
    from shared.changes import HeadBlock

__all__ = ["lab", "play"]
ORDER = {
    "order_no": "A1", "due": None, "state": "CREATED", "made": 0, "tags": "[]", "line": None,
    "slot": None,
}  # fmt: skip


def own_head(plant, n, order, **values) -> HeadBlock:
    """The row as the centre has it, at the version that the site's transaction n made."""
    block: HeadBlock = put("orders", {"id": uid(1), **ORDER, **values}, order=order, site=SITE)
    block.version = [plant.tx_id(n)]
    return block


def test_a_write_on_an_own_version_stands_when_that_version_comes_with_its_ack(plant):
    plant.insert("orders", id=uid(1), order_no="A1", notes="first")
    plant.drain()
    plant.update("orders", uid(1), notes="second")
    plant.drain()
    # The centre took n 1 as it was, and was asked for the row: its head is the site's own version.
    plant.take(own_head(plant, 1, 5, notes="first"), ack=plant.ack(1))
    plant.take(ack=plant.ack(2))  # n 2 was taken as it was, so no head comes
    assert plant.row("orders", uid(1))["notes"] == "second"


def test_a_write_on_an_own_version_stands_when_that_version_comes_once_more(plant):
    plant.insert("orders", id=uid(1), order_no="A1", notes="first")
    plant.drain()
    plant.update("orders", uid(1), notes="second")
    plant.drain()
    first = own_head(plant, 1, 5, notes="first")
    plant.take(ack=plant.ack(1, safe_n=1))
    plant.store.prune(1_700_000_000_000)
    plant.take(first)
    plant.take(ack=plant.ack(2))
    assert plant.row("orders", uid(1))["notes"] == "second"


def test_a_write_on_a_parked_one_stands_when_both_are_applied_after_all(plant):
    plant.insert("orders", id=uid(1), order_no="A1", notes="first")
    plant.drain()
    first = own_head(plant, 1, 5, notes="first")
    plant.update("orders", uid(1), notes="second")
    plant.drain()
    plant.take(away("orders", uid(1), order=0), ack=plant.ack(1))  # n 1 was parked
    plant.take(first)  # and then applied, before n 2 came
    plant.take(ack=plant.ack(2))
    assert plant.row("orders", uid(1))["notes"] == "second"


def test_a_result_of_the_centres_on_an_own_version_is_still_shown(plant):
    plant.insert("orders", id=uid(1), order_no="A1", notes="first")
    plant.drain()
    plant.update("orders", uid(1), notes="second")
    plant.drain()
    plant.take(own_head(plant, 1, 5, notes="first"), ack=plant.ack(1))
    plant.take(put("orders", {"id": uid(1), **ORDER, "notes": "the centre's"}, order=9))
    plant.take(ack=plant.ack(2))
    assert plant.row("orders", uid(1))["notes"] == "the centre's"


def test_a_write_on_a_row_that_is_kept_in_sight_is_based_on_the_deletion_that_came(plant):
    plant.take(put("orders", {"id": uid(1), **ORDER, "notes": "first"}, order=5))
    plant.update("orders", uid(1), notes="second")
    plant.drain()
    plant.take(away("orders", uid(1), order=9))  # the centre deleted it, and has not heard of n 1
    assert plant.row("orders", uid(1))["notes"] == "second"
    assert plant.base("orders", uid(1)) == (version(9), 9)


def test_a_row_that_was_made_anew_at_another_time_and_parked_is_dated_as_the_centre_has_it(plant):
    plant.take(put("orders", {"id": uid(1), **ORDER, "notes": "first"}, order=5))
    (created,) = plant.program.execute("SELECT created_at FROM orders").fetchone()
    plant.delete("orders", uid(1))
    plant.insert(
        "orders", id=uid(1), order_no="A1", notes="anew", created_at="2031-01-01T00:00:00.000Z"
    )
    n = plant.drain()
    plant.take(put("orders", {"id": uid(1), **ORDER, "notes": "first"}, order=9), ack=plant.ack(n))
    row = plant.row("orders", uid(1))
    assert (row["notes"], row["created_at"]) == ("first", created)


def test_a_write_that_is_parked_gives_way_to_the_head_that_it_was_made_on(plant):
    head = put("orders", {"id": uid(1), **ORDER, "notes": "first"}, order=5)
    plant.take(head)
    plant.update("orders", uid(1), notes="refused")
    n = plant.drain()
    plant.take(head)  # once more, and nothing is decided
    assert plant.row("orders", uid(1))["notes"] == "refused"
    plant.take(head, ack=plant.ack(n))
    assert plant.row("orders", uid(1))["notes"] == "first"
    assert plant.base("orders", uid(1)) == (version(5), 5)


def test_a_deletion_that_is_parked_leaves_the_row_in_sight(plant):
    head = put("orders", {"id": uid(1), **ORDER, "notes": "first"}, order=5)
    plant.take(head)
    plant.delete("orders", uid(1))
    plant.take(head, ack=plant.ack(plant.drain()))
    assert plant.row("orders", uid(1))["notes"] == "first"


@pytest.mark.postgres
def test_half_a_step_is_not_shown_where_the_centre_went_back_behind_both_halves(play):
    async def story(s: Story) -> None:
        s.order(1, note="held")
        await add_part(s, 7, "P-7")
        await s.back_up()
        await s.plan(1, note="lost")
        await retitle(s, "lost")
        for step in ("sequence", "publish"):
            await s.step(step)
        at = s.site().store.position()
        await s.site().receive(NORTH, 9)
        assert s.site().store.position().own.n > at.own.n
        assert s.shown(1, "note") == ("held",), "it waits for the shared feed"
        await s.restore()
        await s.step("fetch")
        assert s.shown(1, "note") == ("held",)
        assert not s.site().has_met, "a hello is to be said"
        await s.rest()
        assert await s.both(1, "note") == ("lost",)  # it came home
        assert s.site().read("SELECT 1 FROM _sync_event WHERE code = 'MES-FEED-UNORDERED'") == []

    play(story)


@pytest.mark.postgres
def test_steps_that_a_centre_lost_while_half_of_them_was_here_are_not_shown_by_half(lab):
    steps = (
        "config:40116 client:60267 client:37676 centre_is_backed_up:11358 sequence:8110"
        " publish:40937 receive:11705 centre_goes_back:46149 fetch:48328"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_value_for_a_column_to_come_that_a_lost_life_sent_is_on_record(lab):
    steps = (
        "config:22165 write:8022 store_is_copied:37134 clock_jumps:55655 store_is_restored:47977"
    )
    found = lab.run(Plan.of_text(steps))
    assert (found.why, found.reach["a value aside gave way unseen"]) == (None, 1)


def test_a_write_after_a_deletion_that_a_snapshot_left_out_is_based_on_it_once_it_has_come(lab):
    steps = (
        "config:31818 client:7155 write:57841 send:3073 write:14559 sequence:40973 client:8187"
        " fetch:29538 write:50550 drain:35612 snapshot_is_wanted:25982 load:31929 write:10390"
        " sequence:5092 fetch:50287 write:26466"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_head_that_is_sent_once_more_shows_nothing_of_the_later_step(lab):
    steps = (
        "config:29678 send:3864 send:33574 ingest:44512 ingest:58738 client:6769 write:5789"
        " sequence:27614 write:31422 send:50520 client:39097 ingest:36099 sequence:44017"
        " publish:43974 receive:11923"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_row_that_came_home_without_its_parent_is_on_record_and_not_shown(lab):
    steps = (
        "config:1566 write:1187 drain:35433 centre_is_backed_up:51711 store_is_copied:4442"
        " write:61117 send:14525 ingest:26772 centre_is_backed_up:17916 store_is_restored:56176"
        " hello:64644 write:43545 centre_goes_back:53638"
    )
    found = lab.run(Plan.of_text(steps))
    assert (found.why, found.reach["aside: parked at home"] > 0) == (None, True)


def test_a_parked_write_that_is_applied_before_its_ack_is_read_has_not_come_by_that_ack(lab):
    steps = (
        "config:58838 client:43587 client:58948 client:42447 write:57480 send:28609 ingest:50096"
        " write:20538 sequence:47952 client:2948 send:8780 publish:4695 retry:43444 write:39203"
        " send:63233 write:9977 receive:20775 write:46551 send:22994 write:57632"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_site_that_follows_the_next_life_of_the_centre_unawares_shows_no_half_of_a_step(lab):
    steps = (
        "config:13792 centre_is_backed_up:43247 client:16033 sequence:40568 client:30031"
        " client:63941 sequence:47654 power_fails:49454 hello:65454 centre_goes_back:5577"
        " client:8053 client:59795 centre_goes_back:54749"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_what_rows_of_a_load_have_decided_stays_decided_where_the_load_is_given_up(lab):
    steps = (
        "config:17510 send:24942 ingest:58903 database_starts:54434 client:54934 power_fails:40350"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_an_insert_that_a_copy_held_in_its_log_is_older_than_what_the_lost_life_wrote_on_it(lab):
    steps = (
        "config:18789 write:26334 store_is_copied:45818 send:15728 ingest:27529"
        " store_is_restored:25616 broker_publishes:54775 write:35715 send:57861 write:56438"
        " send:4927 restore_meets_release:2842"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_an_entry_of_the_millisecond_in_which_the_next_life_was_noted_may_be_of_the_last_one(lab):
    steps = (
        "config:51666 write:5537 client:26504 write:50298 client:58765 write:58790"
        " write:57695 agent_restarts:51626 restore_meets_release:57919 hello:58456"
        " receive:9314"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_fact_finds_the_order_whose_insert_was_discarded_by_what_came_for_it_in_the_same_run(lab):
    steps = (
        "config:55968 write:60061 message_is_forged:48803 write:19324 receive:54918"
        " write:36578 drain:35963 client:6794 client:42490 broker_delivers:32633"
        " client:52460 broker_delivers:29072 retry:33579 ingest:43486 write:59363"
        " snapshot_is_wanted:58429 publish:33863 receive:23477 retry:16466 client:38877"
        " publish:46769 snapshot_is_wanted:50964 client:33282 store_is_restored:11388"
        " retry:33204 send:42264 write:32587 client:11512 ingest:56909 client:53434"
        " client:59723 site_migrates:26171 discard:7703 write:53731 client:34158 write:27809"
        " message_is_forged:26714 write:26196 write:47938 client:39477 write:36182"
        " write:51653 write:25307 drain:37135 write:6260"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_transaction_in_parts_that_moved_to_a_later_epoch_has_the_clock_that_it_had(lab):
    """Else nothing of a lost life is known to be sent, and what a copy held counts twice."""
    steps = (
        "config:18679 copy_meets_release:1454 client:37576 power_fails:29671 write:60521"
        " client:14795 client:16123 write:53281 copy_meets_release:35827 write:53710 hello:5235"
        " write:25382 send:43903 ingest:13822 database_starts:18498"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_a_site_at_a_place_of_a_lost_feed_is_told_apart_by_the_entry_after_it(lab):
    steps = (
        "config:5771 broker_delivers:37758 client:34105 client:45323 restore_meets_release:15020"
        " client:44099 client:32662 client:33296 sequence:30930 feed_is_pruned:6718"
    )
    assert lab.run(Plan.of_text(steps)).why is None


def test_what_was_built_on_a_row_that_came_home_before_its_parent_is_newer_than_that_row(lab):
    steps = (
        "config:33206 write:53639 send:56334 centre_is_backed_up:22441 power_fails:57431"
        " write:62050 ingest:27367 broker_delivers:61218 write:2405 write:5886"
        " centre_goes_back:39601 write:23376"
    )
    assert lab.run(Plan.of_text(steps)).why is None
