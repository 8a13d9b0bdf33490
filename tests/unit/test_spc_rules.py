"""Run rules: each fires on its own pattern, on that alone, and never on fewer points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.reports.spc_rules import FAMILIES, RULES, Mark, Violation, chosen, violations


def marks(*zs: float | None) -> list[Mark | None]:
    return [None if z is None else Mark(z, z, abs(z) > 3) for z in zs]


def fired(zs, family="nelson") -> set[str]:
    return {each.rule for each in violations(marks(*zs), FAMILIES[family])}


#: A series for each rule that it fires on, and no other of its family.
ALONE = {
    "nelson-1": (0.1, -0.2, 3.1, -0.1),
    "nelson-2": (0.5, 0.6, 0.4, 0.7, 0.3, 1.2, 0.2, 0.8, 0.6),
    "nelson-3": (-0.9, -0.5, -0.2, 0.1, 0.4, 0.8),
    "nelson-4": (0.2, -1.2, 0.3, -0.1, 1.2, -0.4, 0.2, -1.1, 0.5, -0.6, 1.3, -0.2, 0.1, -0.3),
    "nelson-5": (0.1, 2.1, -0.4, 2.4, -0.2),
    "nelson-6": (0.2, 1.2, 1.5, -0.3, 1.1, 1.4),
    "nelson-7": (0.3, 0.5, -0.2, -0.4, 0.1, 0.6, 0.2, -0.7, -0.1, 0.4, -0.3, -0.6, 0.5, 0.7, -0.9),
    "nelson-8": (1.2, 1.4, -1.3, -1.5, 1.1, 1.6, -1.2, -1.4),
    "we-1": (0.1, -0.2, -3.1, -0.1),
    "we-2": (0.1, -2.1, 0.4, -2.4, 0.2),
    "we-3": (0.2, -1.2, -1.5, 0.3, -1.1, -1.4),
    "we-4": (-0.5, -0.6, -0.4, -0.7, -0.3, -1.2, -0.2, -0.8),
}


def family_of(name: str) -> str:
    return "nelson" if name.startswith("nelson") else "western-electric"


@pytest.mark.parametrize("name", RULES)
def test_each_rule_fires_on_its_own_pattern_and_no_other_does(name):
    assert fired(ALONE[name], family_of(name)) == {name}
    assert fired([-z for z in ALONE[name]], family_of(name)) == {name}  # nor does the side matter


@pytest.mark.parametrize("name", RULES)
def test_a_pattern_that_lacks_its_last_point_is_none(name):
    rule = RULES[name]
    last = max(each.point for each in violations(marks(*ALONE[name]), [rule]))
    first = min(each.point for each in violations(marks(*ALONE[name]), [rule]))
    assert violations(marks(*ALONE[name][:first]), [rule]) == []
    assert last < len(ALONE[name])


@pytest.mark.parametrize(
    ("name", "zs", "last"),
    [
        ("nelson-5", (0.1, 2.1, 2.4, 0.5), 2), ("we-2", (-0.1, -2.1, -2.4, -0.5), 2),
        ("nelson-6", (0.1, 1.1, 1.2, 1.3, 1.4, 0.5), 4),
        ("we-3", (-0.1, -1.1, -1.2, -1.3, -1.4, -0.5), 4),
    ],
)  # fmt: skip
def test_the_point_after_a_pattern_is_not_told(name, zs, last):
    assert [each.point for each in violations(marks(*zs), [RULES[name]])] == [last]


@given(st.sampled_from(sorted(RULES)), st.data())
def test_no_rule_fires_on_fewer_points_than_it_needs(name, drawn):
    rule = RULES[name]
    zs = drawn.draw(st.lists(st.floats(-9, 9), max_size=rule.needs - 1))
    assert violations(marks(*zs), [rule]) == []


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
def test_what_fires_on_a_point_looks_at_no_point_after_it(zs):
    whole = violations(marks(*zs), list(RULES.values()))
    half = violations(marks(*zs[: len(zs) // 2]), list(RULES.values()))
    assert half == [each for each in whole if each.point < len(zs) // 2]
    for each in whole:
        assert each.since == each.point - RULES[each.rule].needs + 1


def test_a_point_without_a_value_ends_every_run():
    run = [0.5] * 5
    assert fired([*run, None, *run]) == set()
    assert fired([*run, *run]) == {"nelson-2"}


def test_a_point_on_a_line_is_not_beyond_it():
    assert fired([3.0]) == set()
    assert fired([0.0] * 9) == set()
    assert fired([2.0, 0.1, 2.0]) == set()
    assert fired([1.0] * 4 + [0.5]) == set()
    assert fired([0.5, 0.6, 0.6, 0.7, 0.8, 0.9]) == set()  # level is neither up nor down


def test_without_limits_only_rules_of_steps_fire():
    rising = [Mark(float(n), None) for n in range(20)]
    found = {each.rule for each in violations(rising, list(RULES.values()))}
    assert found == {"nelson-3"}


def test_every_point_that_ends_a_pattern_is_told_with_its_beginning():
    found = violations(marks(*[0.5] * 11), chosen("nelson-2"))
    assert found == [Violation("nelson-2", point, point - 8) for point in (8, 9, 10)]


def test_rules_are_chosen_by_family_and_by_name_each_once():
    names = [rule.name for rule in chosen("nelson-2, WE-1,western-electric")]
    assert names == ["nelson-2", "we-1", "we-2", "we-3", "we-4"]
    for wrong in ("", "nelson-9", "nelson,,we-1", "all"):
        with pytest.raises(ValueError, match="no such rule; there are nelson"):
            chosen(wrong)
