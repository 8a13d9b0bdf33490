"""The choke point: whatever the resolver says, no value is displaced unseen without a record."""

from __future__ import annotations

import pytest

from central.store.decision import Decision
from central.store.overwrite import recorded
from central.store.standing import Standing
from shared.catalog_file import load_catalog
from shared.changes import Op
from sync.decisions import Author, Conflict, Outcome, Resolution, Version, Write

ORDERS = load_catalog().table("work_orders")
PLANNER = Author("*", "planner", 9, clamped=False)
WORKER = Author("SITE_001", "worker", 5, clamped=False)


def decision(stands: dict, *, saw: dict, wrote: dict, conflicts: tuple = ()) -> Decision:
    """Return what a resolver would say that lets every write stand and records nothing."""
    return Decision(
        row=0,
        standing=Standing(
            values=stands, since=[Version("v1", Op.UPDATE, frozenset(stands), PLANNER)]
        ),
        write=Write(Op.UPDATE, "tx1", "v0", new=wrote, old=saw, author=WORKER),
        resolution=Resolution(wrote, conflicts=conflicts),
        version="tx1",
        is_clean=True,
        tells_site=False,
    )


def test_a_value_that_the_writer_had_not_seen_is_never_displaced_without_a_record():
    given = decision({"notes": "planned"}, saw={"notes": "old"}, wrote={"notes": "done"})
    made = recorded(ORDERS, given)
    (conflict,) = made.resolution.conflicts
    assert (conflict.columns, conflict.outcome) == (("notes",), Outcome.HERE)
    assert (conflict.base, conflict.here) == ({"notes": "old"}, {"notes": "done"})
    assert (conflict.central, conflict.result) == ({"notes": "planned"}, {"notes": "done"})
    assert (conflict.central_author, conflict.here_author) == (PLANNER, WORKER)


def test_a_site_is_told_where_a_record_is_made_that_the_resolver_had_not_made():
    given = decision({"notes": "planned"}, saw={"notes": "old"}, wrote={"notes": "done"})
    made = recorded(ORDERS, given)
    assert (made.is_clean, made.tells_site) == (False, True)


@pytest.mark.parametrize(
    ("stands", "saw", "wrote"),
    [
        ({"notes": "old"}, {"notes": "old"}, {"notes": "done"}),
        ({"notes": "done"}, {"notes": "old"}, {"notes": "done"}),
    ],
    ids=["what stands was seen", "what stands is what was written"],
)
def test_what_displaces_nothing_unseen_gets_no_record(stands, saw, wrote):
    given = decision(stands, saw=saw, wrote=wrote)
    assert recorded(ORDERS, given) is given


def test_a_column_that_the_resolver_recorded_is_not_recorded_twice():
    known = Conflict(
        ("notes",), "notes", ORDERS.group_of("notes").policy, Outcome.HERE, {"notes": "old"},
        {"notes": "done"}, {"notes": "planned"}, {"notes": "done"}, PLANNER, WORKER,
    )  # fmt: skip
    given = decision(
        {"notes": "planned"}, saw={"notes": "old"}, wrote={"notes": "done"}, conflicts=(known,)
    )
    assert recorded(ORDERS, given) is given
