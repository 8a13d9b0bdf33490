"""Both ends wrote the same row: each policy through the whole apply, with its history."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.apply_world import (  # noqa: F401, the fixtures among them
    EARLY_MS,
    LATE_MS,
    World,
    an_order,
    shared_row,
    world,
)

# --- last_write ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_ms", "stands", "verdict"), [(EARLY_MS, "centre", "central"), (LATE_MS, "site", "here")]
)
async def test_of_two_notes_the_later_clock_stands_and_both_are_kept(
    world: World, at_ms: int, stands: str, verdict: str
) -> None:
    row = await an_order(world, notes="both")
    await row.central(notes="centre")
    outcome = await row.here(at_ms, notes=("both", "site"), changed_by=(None, "ann"))
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("notes") == (stands,)
    kept = await world.one(
        "SELECT base_value::jsonb, here_value::jsonb, central_value::jsonb, result_value::jsonb,"
        " verdict, here_site, central_site, here_writer, central_writer, here_at IS NOT NULL,"
        " central_at IS NOT NULL, base_version::text, row_id::text FROM mes.sync_conflicts"
    )
    assert kept == (
        {"notes": "both"}, {"notes": "site"}, {"notes": "centre"}, {"notes": stands},
        verdict, "SITE_001", "*", "ann", "planner", True, True, row.base, row.id,
    )  # fmt: skip


async def test_a_merged_version_has_an_id_of_its_own_and_goes_to_the_site(world: World) -> None:
    row = await an_order(world, notes="both")
    await row.central(notes="centre")
    await world.admin.execute(b"DELETE FROM sync.touched")
    await row.here(LATE_MS, notes=("both", "site"))
    sent = await world.value(
        "SELECT tx_id::text FROM sync.applied ORDER BY applied_at DESC, n DESC LIMIT 1"
    )
    assert await world.head(row.id) not in {sent, row.base}
    told = await world.rows(
        "SELECT n.name, t.scopes FROM sync.touched t JOIN sync.table_no n ON n.no = t.table_no"
        " ORDER BY 1"
    )
    assert told == [("sync_conflicts", ["SITE_001"]), ("work_orders", ["SITE_001"])]


# --- central, site, sum, max, min, sets -----------------------------------------------------------


async def test_the_due_date_of_the_centre_stands(world: World) -> None:
    row = await an_order(world, priority=50)
    await row.central(priority=70)
    outcome = await row.here(LATE_MS, priority=(50, 60))
    assert (await row.holds("priority"), outcome.conflicts) == (("70",), {"central": 1})


async def test_the_line_that_the_site_assigned_stands(world: World) -> None:
    row = await an_order(world, assigned_line="L1")
    await row.central(assigned_line="L2")
    outcome = await row.here(EARLY_MS, assigned_line=("L1", "L3"))
    assert (await row.holds("assigned_line"), outcome.conflicts) == (("L3",), {"site": 1})


async def test_both_counts_count_exactly_once(world: World) -> None:
    row = await shared_row(world, "equipment", equipment_code="E1", cycle_count=5)
    await row.central(cycle_count=7)
    outcome = await row.here(cycle_count=(5, 7))
    assert (await row.holds("cycle_count"), outcome.conflicts) == (("9",), {"sum": 1})


async def test_a_difference_is_added_though_the_row_has_the_version_that_was_seen(
    world: World,
) -> None:
    row = await shared_row(world, "equipment", equipment_code="E1", cycle_count=8)
    # What the site showed held two more of its own, of which the centre knows nothing.
    await row.here(cycle_count=(10, 13))
    assert await row.holds("cycle_count") == ("11",)


async def test_the_larger_severity_stands_whoever_wrote_it(world: World) -> None:
    row = await shared_row(world, "quality_alerts", alert_type="x", severity=1)
    await row.central(severity=4)
    outcome = await row.here(LATE_MS, severity=(1, 2))
    assert (await row.holds("severity"), outcome.conflicts) == (("4",), {"max": 1})


async def test_the_first_to_start_an_order_stays_its_start(world: World) -> None:
    row = await an_order(world)
    await row.central(actual_start="2026-11-20T10:00:00Z")
    early = "2026-11-20T09:00:00.000Z"
    outcome = await row.here(actual_start=(None, early))
    assert (await row.holds("actual_start"), outcome.conflicts) == (
        ("2026-11-20 09:00:00+00",),
        {"min": 1},
    )


async def test_a_late_release_never_reopens_a_finished_order(world: World) -> None:
    row = await an_order(world, exec_state="CREATED")
    await row.central(exec_state="COMPLETED")
    outcome = await row.here(LATE_MS, exec_state=("CREATED", "RELEASED"))
    assert (await row.holds("exec_state"), outcome.conflicts) == (("COMPLETED",), {"lattice": 1})


async def test_a_removal_from_a_set_removes_only_what_it_saw(world: World) -> None:
    row = await shared_row(world, "equipment", equipment_code="E1", tags='["a","b"]')
    await row.central(tags='["a","b","c"]')
    outcome = await row.here(tags=('["a","b"]', '["b","d"]'))
    assert (await row.holds("tags"), outcome.conflicts) == (
        ('["b","c","d"]',),
        {"add_remove_set": 1},
    )


async def test_two_dispositions_wait_for_a_person_and_the_site_runs_on(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1")
    await row.central(disposition="SCRAP")
    outcome = await row.here(disposition=(None, "USE_AS_IS"))
    assert outcome.conflicts == {"review": 1}
    assert await row.holds("disposition") == ("USE_AS_IS",)
    item = await world.one(
        "SELECT r.state, r.here_value::jsonb, r.central_value::jsonb, r.shown_value::jsonb,"
        " r.conflict_id = c.id, c.review_id = r.id, c.verdict"
        " FROM mes.sync_reviews r, mes.sync_conflicts c"
    )
    assert item == (
        "OPEN", {"disposition": "USE_AS_IS"}, {"disposition": "SCRAP"},
        {"disposition": "USE_AS_IS"}, True, True, "review",
    )  # fmt: skip


async def test_the_decision_on_a_review_is_a_write_like_any_other(world: World) -> None:
    row = await shared_row(world, "nonconformances", ncr_no="N1")
    await row.central(disposition="SCRAP")
    await row.here(disposition=(None, "USE_AS_IS"))
    review, version = await world.one(
        "SELECT r.id::text, h.version::text FROM mes.sync_reviews r JOIN sync.head h ON h.id = r.id"
    )
    created = await world.value(
        "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        " FROM mes.sync_reviews"
    )
    site = row.site
    await site.writes(
        site.update(
            "sync_reviews", review, base=version, created=created,
            state=("OPEN", "RESOLVED"), take=(None, "central"),
        )
    )  # fmt: skip
    assert await world.one("SELECT state, take FROM mes.sync_reviews") == ("RESOLVED", "central")


# --- what is no conflict -------------------------------------------------------------------------


async def test_different_columns_of_one_row_merge_without_a_conflict(world: World) -> None:
    row = await an_order(world, notes="a", customer_comment="a")
    await row.central(customer_comment="centre")
    outcome = await row.here(notes=("a", "site"))
    assert (outcome.conflicts, outcome.parked) == ({}, 0)
    assert await row.holds("notes", "customer_comment") == ("site", "centre")


async def test_equal_values_at_both_ends_leave_no_record(world: World) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="same")
    outcome = await row.here(notes=("a", "same"))
    assert (outcome.conflicts, await row.holds("notes")) == ({}, ("same",))


async def test_a_write_on_a_merged_version_is_clean_once_the_site_has_seen_it(
    world: World,
) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="centre")
    await row.here(EARLY_MS, notes=("a", "site"))
    row.base = str(await world.head(row.id))
    outcome = await row.here(EARLY_MS, notes=("centre", "seen"))
    assert (outcome.conflicts, await row.holds("notes")) == ({}, ("seen",))


async def test_a_write_on_a_merged_version_merges_with_what_the_centre_wrote_upon_it(
    world: World,
) -> None:
    row = await an_order(world, notes="a", assigned_line="L1")
    await row.central(notes="centre")
    await row.here(EARLY_MS, notes=("a", "site"))
    row.base = str(await world.head(row.id))
    await row.central(assigned_line="L9")
    outcome = await row.here(EARLY_MS, notes=("centre", "seen"))
    assert (outcome.conflicts, await row.holds("notes", "assigned_line")) == ({}, ("seen", "L9"))


async def test_a_site_whose_share_a_merged_row_leaves_is_told_and_so_is_the_one_it_enters(
    world: World,
) -> None:
    person = {"person_no": "T-1", "home_site_id": "SITE_001", "assigned_sites": '["SITE_002"]'}
    row = await shared_row(world, "persons", **person)
    await row.central(name="Ada")
    await world.admin.execute(b"DELETE FROM sync.touched")
    await row.here(assigned_sites=('["SITE_002"]', '["SITE_003"]'))
    told = await world.rows("SELECT unnest(scopes) FROM sync.touched")
    assert {scope for (scope,) in told} == {"SITE_001", "SITE_002", "SITE_003"}


async def test_later_own_writes_on_a_contested_row_are_judged_by_what_they_saw(
    world: World,
) -> None:
    row = await an_order(world, notes="a", assigned_line="L1")
    await row.central(notes="centre")
    site = row.site
    first = site.sends(site.update("work_orders", row.id, base=row.base, notes=("a", "b")))
    second = site.sends(
        site.update(
            "work_orders", row.id, base=row.base, after=first.tx_id, assigned_line=("L1", "L2")
        )
    )
    outcome = await site.apply(first, second)
    # The line was the site's own business; only the notes were contested.
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("assigned_line") == ("L2",)


async def test_an_unknown_base_puts_every_column_in_conflict(world: World) -> None:
    row = await an_order(world, notes="a")
    row.base = str(uuid.uuid4())
    outcome = await row.here(EARLY_MS, notes=("x", "site"))
    assert outcome.conflicts == {"last_write": 1}
    assert await row.holds("notes") == ("a",)


async def test_a_replay_makes_the_same_conflict_rows(world: World) -> None:
    row = await an_order(world, notes="a")
    await row.central(notes="centre")
    site = row.site
    sent = site.sends(site.update("work_orders", row.id, base=row.base, notes=("a", "site")))
    await site.apply(sent)
    ids = await world.rows("SELECT id FROM mes.sync_conflicts")
    # As after a restore: the transaction is not known any more, its conflict came back by an edge.
    await world.admin.execute(b"DELETE FROM sync.applied")
    await world.admin.execute(
        b"UPDATE sync.epoch SET last_n = %s, last_hash = %s", [sent.n - 1, sent.previous]
    )
    await site.apply(sent)
    assert await world.rows("SELECT id FROM mes.sync_conflicts") == ids
