"""Mutants of the reports of quality: limits, rules, capability, edges and stock of lots."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

SPC: Final = "central/reports/spc.py"
RULES: Final = "central/reports/spc_rules.py"
CAPABILITY: Final = "central/reports/capability.py"
GENEALOGY: Final = "central/reports/genealogy.py"
OF_SPC: Final = "tests/unit/test_spc.py"
OF_RULES: Final = "tests/unit/test_spc_rules.py"
OF_CAPABILITY: Final = "tests/unit/test_capability.py"
OF_CHARTS: Final = "tests/integration/test_reports_spc.py"
OF_LOTS: Final = "tests/integration/test_reports_genealogy.py"

OF_QUALITY: Final[tuple[Mutant, ...]] = (
    of(
        "quality: limits of individuals are by the spread of all values",
        SPC,
        "found = [each / d2(2) for each in ranges]",
        "found = ranges",
        f"{OF_SPC}::test_individuals_have_the_limits_of_the_nist_handbook",
    ),
    of(
        "quality: s is taken for sigma as it is",
        SPC,
        "stdev(s) / c4(len(s)) for s in",
        "stdev(s) for s in",
        f"{OF_SPC}::test_subgroups_of_different_sizes_have_limits_of_their_own",
    ),
    of(
        "quality: a point on a limit is beyond it",
        SPC,
        "not self.lower <= self.value <= self.upper",
        "not self.lower < self.value < self.upper",
        f"{OF_SPC}::test_a_point_on_a_control_limit_is_not_beyond_it",
    ),
    of(
        "quality: shares have limits below nothing",
        SPC,
        "lower, upper = max(0.0, centre - 3 * error)",
        "lower, upper = centre - 3 * error",
        f"{OF_SPC}::test_shares_of_samples_of_different_sizes_have_limits_of_their_own",
    ),
    of(
        "quality: a rule fires on the point after its pattern, too",
        RULES,
        "return out[-1] and sum(out) >= least",
        "return sum(out) >= least",
        f"{OF_RULES}::test_the_point_after_a_pattern_is_not_told",
    ),
    of(
        "quality: a rule fires on fewer points than it needs",
        RULES,
        "if len(window) == rule.needs and",
        "if window and",
        f"{OF_RULES}::test_a_point_without_a_value_ends_every_run",
    ),
    of(
        "quality: the farther limit makes the index",
        CAPABILITY,
        "Index(min(rooms)",
        "Index(max(rooms)",
        f"{OF_CAPABILITY}::test_the_capability_of_the_nist_example_is_the_published_one",
    ),
    of(
        "quality: what a value measures once it was reworked is charted",
        "central/sql/read_measurements.sql",
        "coalesce(r.attempt, 1) = 1",
        "true",
        f"{OF_CHARTS}::test_second_attempts_and_results_that_were_taken_back_do_not_take_part",
    ),
    of(
        "quality: every correction of a result counts",
        "central/sql/read_measurements.sql",
        "(c.created_at, c.id) < (r.created_at, r.id)",
        "false",
        f"{OF_CHARTS}::test_second_attempts_and_results_that_were_taken_back_do_not_take_part",
    ),
    of(
        "quality: values of all sites are in one chart",
        "central/api/given.py",
        "if given is None and len(asking.sites) > 1:",
        "if False:",
        f"{OF_CHARTS}::test_a_shared_characteristic_is_charted_for_one_site_with_its_values_alone",
    ),
    of(
        "quality: an edge that was voided is followed",
        GENEALOGY,
        "return row not in voided",
        "return True",
        f"{OF_LOTS}::test_an_edge_that_was_voided_is_not_followed",
    ),
    of(
        "quality: what is voided itself still voids",
        GENEALOGY,
        "if each not in voided and each in voids",
        "if each in voids",
        f"{OF_LOTS}::test_an_edge_whose_void_was_voided_stands_again",
    ),
    of(
        "quality: a site voids what another one wrote",
        "central/sql/read_voids.sql",
        "ON e.void_of = o.id AND e.site_id = o.site",
        "ON e.void_of = o.id",
        f"{OF_LOTS}::test_no_site_voids_what_another_one_wrote",
    ),
    of(
        "quality: a lot that is reached again is followed again",
        GENEALOGY,
        "if far not in levels:",
        "if True:",
        f"{OF_LOTS}::test_lots_in_a_circle_are_each_told_once",
    ),
    of(
        "quality: what lies deeper is not told",
        GENEALOGY,
        "range(1, bounds.depth + 2)",
        "range(1, bounds.depth + 1)",
        f"{OF_LOTS}::test_what_is_deeper_than_asked_for_is_cut_and_told",
    ),
    of(
        "quality: a hidden lot is told by its id",
        "central/reports/lot_answers.py",
        "str(each) if each in visible else",
        "str(each) if True else",
        f"{OF_LOTS}::test_a_lot_of_a_site_that_is_not_the_askers_is_told_without_its_name",
    ),
    of(
        "quality: a hold that was released blocks",
        "central/sql/read_lot_holds.sql",
        "\n  AND h.released_at IS NULL",
        "",
        f"{OF_LOTS}::test_holds_that_were_released_block_nothing",
    ),
    of(
        "quality: kilograms are added to pieces",
        "central/sql/sum_lot_movements.sql",
        "m.uom, sum(m.qty_delta) AS qty",
        "'pcs' AS uom, sum(sum(m.qty_delta)) OVER (PARTITION BY m.lot_id, m.site_id) AS qty",
        f"{OF_LOTS}::test_what_is_on_hand_is_the_sum_of_all_that_moved_by_site_and_unit",
    ),
    of(
        "quality: sites are parameters, of which old plans make no use",
        "central/reports/reading.py",
        '    if "sites" in given:',
        '    if "nothing" in given:',
        f"{OF_LOTS}::test_partitions_of_other_sites_are_locked_by_no_plan_however_old_it_is",
    ),
    of(
        "quality: edges are told apart by their ids alone",
        GENEALOGY,
        "        return self.site, self.id",
        '        return "", self.id',
        f"{OF_LOTS}::test_a_site_that_has_an_edge_of_the_same_id_takes_back_no_edge_of_another",
    ),
)
