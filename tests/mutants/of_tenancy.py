"""Mutants of who reads the rows of which sites."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

POLICIES: Final = "central/row_security.py"
READERS: Final = "central/readers.py"
RIGHTS: Final = "central/public_rights.py"
NAMED: Final = "central/migrations/0021_readers.sql"
TESTS: Final = "tests/integration/test_tenancy.py"
MIGRATE: Final = "tests/integration/test_central_migrate.py"
COMMAND: Final = "tests/integration/test_readers_command.py"

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
        "if role is not None and not (role.ours and role.logs_in and role.reads_only):",
        "if role is False:",
        f"{COMMAND}::test_a_role_that_may_more_or_that_others_made_is_not_taken_over",
    ),
    of(
        "tenancy: a member of mes_bi that others made is taken over as a reader",
        READERS,
        "IS NOT DISTINCT FROM %(comment)s",
        "IS DISTINCT FROM 'no ' || %(comment)s",
        f"{COMMAND}::test_a_role_that_may_more_or_that_others_made_is_not_taken_over",
    ),
    of(
        "tenancy: a login that belongs to the ingest is taken over as a reader",
        READERS,
        "(role.ours and role.logs_in and role.reads_only)",
        "(role.ours and role.logs_in)",
        f"{COMMAND}::test_a_role_that_may_more_or_that_others_made_is_not_taken_over",
    ),
    of(
        "tenancy: sessions of a login go on that was taken away",
        READERS,
        "SELECT pg_terminate_backend(pid, {}) FROM",
        "SELECT pid, {} FROM",
        f"{COMMAND}::test_readers_are_listed_changed_and_taken_away_with_their_sessions",
    ),
    of(
        "tenancy: a login of all sites has those of the day it was made",
        NAMED,
        "array_agg(s.site) FROM sync.site AS s",
        "array_agg(s.site) FROM sync.site AS s WHERE s.registered_at < r.added_at",
        f"{TESTS}::test_a_login_of_all_sites_reads_those_that_come_later_too",
    ),
    of(
        "tenancy: a login that owns something is not taken away",
        READERS,
        'sql.SQL("DROP OWNED BY {}").format(role),',
        "",
        f"{COMMAND}::test_a_login_that_owns_something_is_taken_away_with_it",
    ),
    of(
        "tenancy: a login whose role stays goes on logging in",
        READERS,
        "ALTER ROLE {} NOLOGIN PASSWORD NULL",
        "ALTER ROLE {} LOGIN",
        f"{COMMAND}::test_a_role_that_can_not_be_dropped_stays_without_any_access",
    ),
    of(
        "tenancy: a role of the server's is dropped as a reader",
        READERS,
        "ours = role is not None and role.ours",
        "ours = role is not None",
        f"{COMMAND}::test_of_a_role_that_is_not_ours_only_the_row_is_taken_away",
    ),
    of(
        "tenancy: an administrator ends no sessions of the logins he made",
        READERS,
        "if await cursor.fetchone() == (False,):",
        "if await cursor.fetchone() == (None,):",
        f"{COMMAND}::test_who_is_no_superuser_takes_away_the_logins_he_made_with_their_sessions",
    ),
    of(
        "tenancy: a login holds locks that the sync waits for",
        RIGHTS,
        "advisory_(xact_)?lock(_shared)?$",
        "advisory_(xact_)?lock_shared$",
        f"{COMMAND}::test_a_login_holds_up_nobody_and_fills_no_disk",
    ),
    of(
        "tenancy: the sync loses the locks with everybody",
        RIGHTS,
        "_LOCKS, (OWNER, INGEST)",
        "_LOCKS, ()",
        f"{MIGRATE}::test_an_empty_database_gets_all_tables_of_the_catalogue",
    ),
    of(
        "tenancy: what is no list of sites is taken for one of none",
        NAMED,
        "IF _named !~ '",
        "IF _named ~ '^$' AND _named !~ '",
        f"{TESTS}::test_the_api_is_refused_where_what_it_names_is_no_list_of_sites",
    ),
)
