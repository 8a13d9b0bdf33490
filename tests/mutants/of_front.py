"""Mutants of what stands in front of the API and around it: what is kept, who waits for whom."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

CACHE: Final = "central/api/cache.py"
KEPT: Final = "central/api/kept.py"
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
)
