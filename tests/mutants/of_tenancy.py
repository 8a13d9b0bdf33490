"""Mutants of who reads the rows of which sites."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

POLICIES: Final = "central/row_security.py"
READERS: Final = "central/readers.py"
NAMED: Final = "central/migrations/0021_readers.sql"
TESTS: Final = "tests/integration/test_tenancy.py"

OF_TENANCY: Final[tuple[Mutant, ...]] = (
    of(
        "tenancy: a login for plain SQL reads by the policy of whoever names a site",
        POLICIES,
        "FOR SELECT TO {one} USING",
        "FOR SELECT USING",
        f"{TESTS}::test_a_login_sees_no_more_by_any_setting",
    ),
    of(
        "tenancy: a login for plain SQL may name its sites",
        POLICIES,
        'OF_READER: Final = _of_some("mes.reader_sites()")',
        'OF_READER: Final = _of_some("mes.asked_sites()")',
        f"{TESTS}::test_a_login_sees_no_more_by_any_setting",
    ),
    of(
        "tenancy: of several sites only the set that is theirs alone is read",
        POLICIES,
        "rules.append(scope.meets.format(column=column))",
        "rules.append('false')",
        f"{TESTS}::test_it_reads_a_person_that_one_of_its_sites_shares",
    ),
    of(
        "tenancy: a site whose name begins like another's reads its people",
        POLICIES,
        "strpos({column}, to_json(s.site)::text) > 0",
        "strpos({column}, s.site) > 0",
        f"{TESTS}::test_it_reads_a_person_that_one_of_its_sites_shares",
    ),
    of(
        "tenancy: whoever names no site sees none, and is not told",
        NAMED,
        "RAISE EXCEPTION 'no sites are named'",
        "RETURN '{}'; RAISE EXCEPTION 'no sites are named'",
        f"{TESTS}::test_the_api_is_refused_where_it_names_no_site",
    ),
    of(
        "tenancy: a login that acts as its group loses its sites",
        NAMED,
        "WHERE r.name = session_user",
        "WHERE r.name = current_user",
        f"{TESTS}::test_a_login_that_acts_as_the_group_keeps_its_own_sites",
    ),
    of(
        "tenancy: a role of the server's is taken over as a reader",
        READERS,
        "if row == (False,):",
        "if row is False:",
        f"{TESTS}::test_no_reader_is_made_of_a_name_that_is_taken_or_can_be_none",
    ),
    of(
        "tenancy: sessions of a login go on that was taken away",
        READERS,
        "SELECT pid, pg_terminate_backend(pid) FROM",
        "SELECT pid FROM",
        f"{TESTS}::test_readers_are_listed_changed_and_taken_away_with_their_sessions",
    ),
    of(
        "tenancy: a login of all sites has those of the day it was made",
        NAMED,
        "array_agg(s.site) FROM sync.site AS s",
        "array_agg(s.site) FROM sync.site AS s WHERE s.registered_at < r.added_at",
        f"{TESTS}::test_a_login_of_all_sites_reads_those_that_come_later_too",
    ),
)
