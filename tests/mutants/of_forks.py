"""Mutants of what a store builds on that goes back once its rows came home, and what is said of it.

And of touches that a trigger of the plant's makes before ours.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

APART: Final = "central/store/apart.py"
APPLY: Final = "central/store/apply.py"
SALVAGE: Final = "central/store/salvage.py"
CENTRE: Final = "central/handshake.py"
STATUS: Final = "central/status.py"
FORKS: Final = "tests/sim/test_forks_after_homecomings.py"
INCLUDED: Final = "tests/integration/test_central_included.py"
HELLOS: Final = "tests/integration/test_central_snapshot.py"

OF_FORKS: Final[tuple[Mutant, ...]] = (
    of(
        "fork: what came home and is not applied is not common",
        "edge/handshake.py",
        'max(applied_n, int(answer["included"][0]))',
        "applied_n",
        f"{FORKS}::test_the_reports_count_only_what_the_store_no_longer_has_of_what_came_home",
    ),
    of(
        "fork: an own write that came home stays in the tip",
        APPLY,
        "await tell_apart(applying, chain.from_iterable(included))",
        "pass",
        f"{FORKS}::test_a_write_on_an_own_one_that_came_home_stands_though_the_store_went_back",
    ),
    of(
        "fork: all that comes again is held and asked for, whether a tip stands or not",
        APART,
        "if row in in_tips:",
        "if in_tips or row:",
        f"{INCLUDED}::test_what_comes_again_holds_no_row_of_which_no_tip_stands",
    ),
    of(
        "fork: writes of one row are told apart at once",
        APART,
        "places[writes[row]].append(place)",
        "places[0].append(place)",
        f"{INCLUDED}::test_writes_of_one_run_on_two_rows_are_told_apart_each_after_the_one_before",
    ),
    of(
        "fork: what the lost life wrote over an own write that came home is taken for that",
        APART,
        "if same(stands[c.name], new[place])",
        "if stands or new",
        f"{FORKS}::test_what_the_lost_life_made_of_an_own_write_that_came_home_is_still_in_conflict",
    ),
    of(
        "fork: a tip that made a row keeps all its columns",
        APART,
        "SET op = 'U', mask",
        "SET mask",
        f"{FORKS}::test_a_row_that_came_home_and_was_made_in_the_copy_may_be_changed_there",
    ),
    of(
        "fork: what the copy itself told as a tip is not told apart",
        APART,
        "coalesce(b.is_tip, p.ord + 1 < t.ord)",
        "b.known_ord IS NULL AND p.ord + 1 < t.ord",
        f"{FORKS}::test_a_write_on_an_own_one_that_came_home_stands_though_the_store_went_back",
    ),
    of(
        "home: an own write with an order is somebody else's",
        SALVAGE,
        "lost = a.hlc IS NULL",
        "lost = true",
        f"{FORKS}::test_a_write_that_waited_on_an_own_one_stands_once_that_came_home",
    ),
    of(
        "lives: the centre does not say why a store was sent away that stands in the right place",
        CENTRE,
        "why if is_own else None",
        "None",
        f"{FORKS}::test_the_centre_names_two_lives_of_a_store_until_the_right_one_says_hello",
    ),
    of(
        "lives: a store that is sent away has all sites tell what they know",
        CENTRE,
        "if parted.is_beside and judge(site, said, known)[0] is not Welcome.STOP:",
        "if parted.is_beside:",
        f"{HELLOS}::test_only_a_store_that_is_not_sent_away_begins_a_life_of_the_server",
    ),
    of(
        "lives: any other store is called another life of the site's",
        CENTRE,
        "why if is_own else None",
        "why",
        f"{HELLOS}::test_a_second_store_of_a_site_is_sent_away_until_a_person_says_that_it_moved",
    ),
    of(
        "lives: another life is named for ever",
        CENTRE,
        "claimed_because = NULL\n",
        "claimed_because = s.claimed_because\n",
        f"{FORKS}::test_the_centre_names_two_lives_of_a_store_until_the_right_one_says_hello",
    ),
    of(
        "lives: another life is shown as another store",
        STATUS,
        "    if site.claimed_because:",
        "    if site.claimed_because is ...:",
        "tests/unit/test_central_status.py"
        "::test_another_life_of_a_sites_store_is_told_from_another_store_that_speaks_for_it",
    ),
    of(
        "status: a centre that answers and does not agree counts as silent",
        "edge/verdict.py",
        "return _waits_to_agree(picture) and bool(picture.agent.apart)",
        "return False",
        "tests/unit/test_status_verdict.py",
    ),
    of(
        "status: what a centre answered that has gone silent is told for ever",
        "edge/handshake.py",
        """        except Transient:
            self.apart_because = ""
""",
        """        except Transient:
""",
        "tests/integration/test_edge_handshake.py"
        "::test_why_both_do_not_agree_is_known_until_they_do_or_nobody_answers",
    ),
    of(
        "status: the agent does not say why the two do not agree",
        "edge/agent.py",
        '"apart": self._handshake.apart_because',
        '"apart": ""',
        "tests/integration/test_edge_agent.py"
        "::test_a_site_whose_hellos_never_agree_shows_what_the_centre_answers",
    ),
    of(
        "drain: a touch before the insert tells of what stood before it",
        "edge/store/fold.py",
        'tells = op != "I"',
        'tells = first[OP] != "I"',
        "tests/integration/test_edge_apply_clashes.py"
        "::test_a_row_made_anew_is_sent_whole_though_a_trigger_of_the_plants_changes_it_first",
        "tests/unit/test_capture_fold.py",
    ),
)
