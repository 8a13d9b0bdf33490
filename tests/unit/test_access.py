"""Grants: who may do what of which sites, and how a request narrows it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.access import (
    NARROWED_CHARS_MAX,
    NARROWED_MAX,
    BadSiteName,
    NotInScope,
    NotYourSite,
    Scope,
    reached,
    who,
)
from shared.errors import BadSetting

SITES = frozenset(f"SITE_00{n}" for n in range(1, 6))
ALL = tuple(sorted(SITES))
GRANTS = st.sampled_from(
    ["plant:SITE_001", "plant:SITE_002", "region:SITE_002,SITE_003", "corporate", "planner",
     "planner:SITE_004", "admin"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("grants", "scope", "sites"),
    [
        (["plant:SITE_001"], Scope.READ, ("SITE_001",)),
        (["plant:SITE_001"], Scope.REVIEW, ("SITE_001",)),
        (["region:SITE_003,SITE_001"], Scope.READ, ("SITE_001", "SITE_003")),
        (["corporate"], Scope.READ, ALL),
        (["planner"], Scope.PLAN, ALL),
        (["planner:SITE_002"], Scope.PLAN, ("SITE_002",)),
        (["admin"], Scope.ADMIN, ALL),
        (["plant:SITE_001", "plant:SITE_004"], Scope.REVIEW, ("SITE_001", "SITE_004")),
        (["plant:SITE_001", "corporate"], Scope.READ, ALL),
        (["plant:SITE_001", "corporate"], Scope.REVIEW, ("SITE_001",)),
    ],
)
def test_a_grant_reaches_the_sites_of_its_role(grants, scope, sites):
    assert reached(who("x", grants), scope, SITES) == sites


@pytest.mark.parametrize(
    ("grant", "scope"),
    [
        ("plant:SITE_001", Scope.PLAN), ("plant:SITE_001", Scope.ADMIN),
        ("region:SITE_001", Scope.REVIEW), ("corporate", Scope.REVIEW),
        ("corporate", Scope.PLAN), ("planner", Scope.ADMIN),
    ],
)  # fmt: skip
def test_what_a_role_does_not_allow_is_refused_whatever_the_site(grant, scope):
    with pytest.raises(NotInScope, match=f"x may not {scope}"):
        reached(who("x", [grant]), scope, SITES)


def test_nobody_without_a_grant_may_do_anything():
    for scope in Scope:
        with pytest.raises(NotInScope):
            reached(who("x", []), scope, SITES)


def test_a_key_uses_no_more_than_its_scopes_of_what_its_grants_allow():
    one = who("x", ["admin"], {Scope.READ})
    assert reached(one, Scope.READ, SITES) == ALL
    with pytest.raises(NotInScope):
        reached(one, Scope.REVIEW, SITES)


def test_a_site_that_comes_later_is_reached_by_who_reaches_all_and_by_nobody_else():
    later = SITES | {"SITE_009"}
    assert "SITE_009" in reached(who("x", ["corporate"]), Scope.READ, later)
    assert reached(who("x", ["plant:SITE_001"]), Scope.READ, later) == ("SITE_001",)


def test_a_site_that_is_not_registered_is_not_reached_though_a_grant_names_it():
    assert reached(who("x", ["plant:SITE_777"]), Scope.READ, SITES) == ()


@pytest.mark.parametrize(
    "grant",
    ["", "plant", "plant:", "plant:SITE_001,SITE_002", "region", "region:", "corporate:SITE_001",
     "admin:SITE_001", "king", "plant:site_001", "plant:*", "region:SITE_001,", "planner:",
     "plant: SITE_001", "plant:SITE_001\n"],
)  # fmt: skip
def test_what_is_no_grant_is_refused_in_words(grant):
    with pytest.raises(BadSetting, match=r"^grant "):
        who("x", [grant])


# --- narrowing --------------------------------------------------------------------------------


def test_a_request_narrows_what_it_may_reach_to_what_it_asks_for():
    one = who("x", ["corporate"])
    assert reached(one, Scope.READ, SITES, "SITE_002, SITE_001") == ("SITE_001", "SITE_002")
    assert reached(one, Scope.READ, SITES, "SITE_001,SITE_002", "SITE_002") == ("SITE_002",)


@pytest.mark.parametrize("asked", ["SITE_002", "SITE_999", "SITE_001,SITE_002"])
def test_another_site_is_refused_in_the_same_words_as_one_that_is_not_there(asked):
    with pytest.raises(NotYourSite) as told:
        reached(who("x", ["plant:SITE_001"]), Scope.READ, SITES, asked)
    assert str(told.value).replace("SITE_999", "SITE_002") == (
        "no site SITE_002 here that this key or token reaches"
    )


@pytest.mark.parametrize(
    "asked", [",".join(["SITE_001"] * (NARROWED_MAX + 1)), "S" * (NARROWED_CHARS_MAX + 1)]
)
def test_a_request_that_names_too_much_is_refused_before_it_is_taken_apart(asked):
    with pytest.raises(BadSiteName, match="at most"):
        reached(who("x", ["corporate"]), Scope.READ, SITES, asked)
    most = ",".join(["SITE_001"] * NARROWED_MAX)
    assert reached(who("x", ["corporate"]), Scope.READ, SITES, most) == ("SITE_001",)


def test_a_second_narrowing_does_not_widen_the_first():
    with pytest.raises(NotYourSite):
        reached(who("x", ["corporate"]), Scope.READ, SITES, "SITE_001", "SITE_002")


@pytest.mark.parametrize("asked", ["", "*", "SITE_001,", "site_001", "SITE_001;", "'", "x" * 99])
def test_what_names_no_site_is_refused(asked):
    with pytest.raises(BadSiteName):
        reached(who("x", ["corporate"]), Scope.READ, SITES, asked)


@given(
    st.lists(GRANTS, min_size=1),
    st.sampled_from(Scope),
    st.lists(st.sampled_from(sorted(SITES)), min_size=1),
)
def test_a_narrowed_request_reaches_no_more_than_one_that_is_not(grants, scope, asked):
    one = who("x", grants)
    try:
        whole = reached(one, scope, SITES)
    except NotInScope:
        return
    try:
        narrowed = reached(one, scope, SITES, ",".join(asked))
    except NotYourSite:
        assert not set(asked) <= set(whole)
    else:
        assert set(narrowed) == set(asked)
        assert set(narrowed) <= set(whole)
