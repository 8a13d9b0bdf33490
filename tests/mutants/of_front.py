"""Mutants of what stands in front of the API and around it: what is kept, who waits for whom."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

CACHE: Final = "central/api/cache.py"
KEPT: Final = "central/api/kept.py"
REFUSALS: Final = "tests/integration/test_api_refusals.py"
TURNS: Final = "tests/integration/test_api_turns.py"
STALLED: Final = "tests/integration/test_reports_whole_stalled.py"
STREAMS: Final = "central/api/streams.py"
PROBLEMS: Final = "central/api/problems.py"
FRONT: Final = "tests/integration/test_api_front.py"

OF_FRONT: Final[tuple[Mutant, ...]] = (
    of(
        "front: sites that are no names break the front",
        CACHE,
        "except (NeedsToken, NotInScope, NotYourSite, BadSiteName):",
        "except (NeedsToken, NotInScope, NotYourSite):",
        f"{FRONT}::test_sites_that_are_no_names_are_refused_alike_whether_the_answer_is_kept_or_not",
    ),
    of(
        "front: who narrows to nothing gets everything that is kept",
        CACHE,
        "None if narrowing is None else narrowing",
        "None if not narrowing else narrowing",
        f"{FRONT}::test_sites_that_are_no_names_are_refused_alike_whether_the_answer_is_kept_or_not",
    ),
    of(
        "front: questions take no room",
        KEPT,
        "len(key.path) + len(key.query) + len(key.accept)",
        "len(key.path)",
        f"{FRONT}::test_what_is_kept_counts_with_its_question_and_its_place",
    ),
    of(
        "front: what was superseded is held until its room is needed",
        KEPT,
        "or kept.revisions != stand[kept.sites]",
        "",
        f"{FRONT}::test_what_was_superseded_makes_room_though_nobody_asks_for_it_again",
    ),
    of(
        "front: a tag says nothing of the release",
        KEPT,
        "repr((release(), sites,",
        "repr((sites,",
        f"{FRONT}::test_a_change_of_release_gives_answers_other_tags",
    ),
    of(
        "front: numbers of before a restore count as those of after it",
        "central/api/live.py",
        'life = rows[0][2] if rows else ""',
        'life = "one"',
        f"{FRONT}::test_nothing_of_an_earlier_life_of_the_database_is_given_or_confirmed",
    ),
    of(
        "front: who takes nothing of a whole answer has it for ever",
        STREAMS,
        "        sending.cancel()\n",
        "        return\n",
        f"{STALLED}::test_a_reader_who_takes_nothing_is_cut_off_and_others_have_their_answers_meanwhile",
    ),
    of(
        "front: one key takes all whole answers that there may be",
        STREAMS,
        "if self.open[who] >= OF_ONE_MAX:",
        "if False:",
        f"{STALLED}::test_a_reader_who_takes_nothing_is_cut_off_and_others_have_their_answers_meanwhile",
    ),
    of(
        "front: a rule of the plant is told with what the database says of it",
        PROBLEMS,
        'said = (error.diag.message_primary or "") if is_raised else ""',
        "said = str(error)",
        f"{REFUSALS}::test_a_rule_of_the_plant_that_refuses_a_write_is_told_in_its_own_words",
        f"{REFUSALS}::test_a_constraint_of_the_plant_is_told_without_what_the_database_says_of_it",
    ),
    of(
        "front: a row of all sites is decided by one plant",
        "central/api/conflicts.py",
        "        _check_theirs(done.conflict.site)\n",
        "",
        f"{REFUSALS}::test_a_row_of_all_sites_is_decided_by_who_reviews_for_every_site",
    ),
    of(
        "front: one key has all connections",
        "central/api/asking.py",
        "most = max(1, pool.max_size - 1)",
        "most = 1_000",
        f"{TURNS}::test_who_asks_once_is_answered_before_all_that_somebody_else_asked_at_once",
    ),
    of(
        "front: what a replica has is taken for what the primary has",
        "central/api/serve.py",
        "reach.live.follow(reach.reading_url)",
        "reach.live.follow(_bounded(settings.database_url))",
        f"{FRONT}::test_revisions_are_followed_on_the_server_that_answers_are_read_from",
    ),
)
