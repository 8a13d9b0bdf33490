"""Mutants of the times of columns: at the drain, on the wire, in a version, in a decision."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

FOLD: Final = "edge/store/fold.py"
LASTS: Final = "edge/store/lasts.py"
FOLDS: Final = "tests/unit/test_capture_fold.py"
STREAMED: Final = "tests/unit/test_capture_fold_streamed.py"
DRAIN: Final = "edge/store/drain.py"
DRAINS: Final = "tests/integration/test_edge_drain_times.py"
WIRE: Final = "sync/times.py"
CODEC: Final = "tests/unit/test_codec_times.py"
CHANGES: Final = "shared/changes.py"
RESOLVE: Final = "sync/resolve.py"
DECISIONS: Final = "sync/decisions.py"
RULES: Final = "tests/unit/test_resolve_times.py"
INTAKE: Final = "central/store/times.py"
CHANGESET: Final = "central/store/changeset.py"
INTAKES: Final = "tests/unit/test_store_intake.py"
CENTRE: Final = "tests/integration/test_central_times.py"

OF_TIMES: Final[tuple[Mutant, ...]] = (
    of(
        "times: touches of several times are told as those of one",
        FOLD,
        "told = None if at_once else lasts",
        "told = None",
        f"{FOLDS}::test_each_column_is_as_old_as_its_own_last_touch",
    ),
    of(
        "times: an insert that was ignored makes a row younger",
        LASTS,
        "return lasts.replaced if other else found",
        "return lasts.replaced",
        f"{FOLDS}::test_an_insert_that_was_ignored_dates_nothing",
    ),
    of(
        "times: a row that came again is dated by its deletion",
        LASTS,
        "            self.replaced = moment\n",
        "            pass\n",
        f"{FOLDS}::test_a_row_that_was_deleted_and_inserted_again_is_dated_by_the_insert",
    ),
    of(
        "times: what was displaced is compared as it was written",
        "edge/store/touches.py",
        "if touched.key is not None:  #",
        "if touched.key is None:  #",
        f"{DRAINS}::test_an_insert_that_was_ignored_makes_no_value_younger_in_whatever_form_it_was_written",
    ),
    of(
        "times: a number that a plant writes in two ways is another one each time",
        LASTS,
        "return differs(before, now) and differs(self.form(bit, before), self.form(bit, now))",
        "return differs(before, now)",
        f"{STREAMED}::test_a_streamed_fold_says_what_one_that_keeps_all_touches_says",
    ),
    of(
        "times: what a replace before the last one changed is forgotten",
        LASTS,
        "                self.by_mask[mask] = self.replaced\n",
        "                pass\n",
        f"{STREAMED}::test_a_streamed_fold_says_what_one_that_keeps_all_touches_says",
    ),
    of(
        "times: all masks in which a row was touched are kept",
        LASTS,
        "if len(known) > len(touch) + _MASKS_MAX:",
        "if False:",
        f"{STREAMED}::test_of_any_number_of_masks_as_many_are_kept_as_there_are_columns_and_some",
    ),
    of(
        "times: columns of one group are dated apart",
        "edge/store/touches.py",
        "[group & mask for group in self._groups if group & mask]",
        "[1 << bit for bit in range(60) if mask >> bit & 1]",
        f"{DRAINS}::test_a_group_travels_with_the_time_of_the_column_that_was_touched",
    ),
    of(
        "times: masks travel by the places of the table",
        DRAIN,
        "sum(1 << at for at, place in enumerate(places) if mask >> place & 1)",
        "mask & (1 << len(places)) - 1 or 1",
        f"{DRAINS}::test_an_early_note_keeps_its_time_though_the_quantity_was_changed_later",
    ),
    of(
        "times: a piece of a block has the times of its first rows",
        CHANGES,
        "times=self.times[rows],",
        "times=self.times[: len(self.ids[rows])],",
        f"{CODEC}::test_a_part_of_a_block_takes_the_times_of_its_rows_along",
    ),
    of(
        "times: a column of a message may have two",
        WIRE,
        "if any(mask & other for other, _ in before):",
        "if False:",
        f"{CODEC}::test_times_of_rows_or_columns_that_are_not_there_are_refused",
    ),
    of(
        "times: a block without any pays for the field",
        WIRE,
        "if told else []",
        "if times else []",
        f"{CODEC}::test_a_block_whose_rows_have_one_time_costs_not_a_byte_more_for_the_times_of_others",
    ),
    of(
        "times: a column that was not told counts as never touched",
        DECISIONS,
        "if not moments or set(columns).difference(*(names for names, _ in times)):",
        "if not moments:",
        f"{RULES}::test_a_group_is_as_late_as_the_latest_of_its_columns_that_was_written",
    ),
    of(
        "times: the write counts as late as its row",
        RESOLVE,
        "here_clock=max([here.clock,",
        "here_clock=max([write.author.clock,",
        f"{RULES}::test_a_column_touched_before_the_centres_write_loses_though_its_row_was_touched_after",
    ),
    of(
        "times: what stands counts as late as its version",
        RESOLVE,
        "{v.id: v.author_of(v.columns.intersection(group.columns)) for v in wrote}",
        "{v.id: v.author for v in wrote}",
        f"{RULES}::test_what_stands_is_as_old_as_its_column_not_as_its_version",
    ),
    of(
        "times: a record names the time of the row",
        RESOLVE,
        "here_author=clash.here,",
        "here_author=write.author,",
        f"{RULES}::test_a_column_touched_before_the_centres_write_loses_though_its_row_was_touched_after",
    ),
    of(
        "times: those of columns are not corrected by the offset",
        INTAKE,
        "touch_ms(at, origin.offset_ms, origin.stored_at_ms)",
        "touch_ms(at, 0, origin.stored_at_ms)",
        f"{INTAKES}::test_times_of_columns_are_corrected_held_and_told_by_the_catalogues_own_bits",
    ),
    of(
        "times: rows that are put together lose whose they are",
        CHANGESET,
        "p.times or [None] * len(p)",
        "p.times",
        f"{INTAKES}::test_rows_that_are_joined_and_picked_keep_their_times_wherever_others_have_none",
    ),
    of(
        "times: a clean write keeps none",
        "central/store/rows.py",
        "_bounds(rows), timed=bool(rows.times)",
        "_bounds(rows), timed=False",
        f"{CENTRE}::test_a_clean_write_keeps_the_times_of_its_columns_and_no_other_row_has_any",
    ),
    of(
        "times: a merged version keeps none",
        "central/store/overwrite.py",
        "as_json(rows.times[d.row] if rows.times else None)",
        "as_json(None)",
        f"{CENTRE}::test_what_a_merged_version_left_alone_keeps_the_time_it_had",
    ),
    of(
        "times: those of a version are not read",
        "central/store/standing.py",
        "times=by_columns(table, from_json(times)),",
        "times=(),",
        f"{CENTRE}::test_a_site_that_had_not_seen_the_verdict_is_not_later_by_its_other_column",
    ),
    of(
        "times: a slow hello spoils what a fast one measured",
        "edge/handshake.py",
        'int(answer["now_ms"]), answered_at, known_ms)',
        'int(answer["now_ms"]), answered_at, 0)',
        "tests/integration/test_edge_handshake.py"
        "::test_a_slow_hello_does_not_spoil_the_offset_that_a_fast_one_measured",
    ),
    of(
        "times: what was known of the clocks stands whatever is measured",
        "shared/clock.py",
        "if abs(offset - each) <= error), offset)",
        "if True), offset)",
        "tests/unit/test_clock.py::test_what_was_known_gives_way_where_an_answer_says_otherwise",
    ),
    of(
        "times: clocks that agree are parted by a slow hello",
        "shared/clock.py",
        "for each in (known_ms, 0) if",
        "for each in () if",
        "tests/unit/test_clock.py"
        "::test_clocks_that_agree_are_not_parted_by_a_slow_question_or_a_slow_answer",
    ),
)
