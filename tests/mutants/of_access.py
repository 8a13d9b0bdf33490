"""Mutants of who may do what over the API, and of what the audit log says of it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ACCESS: Final = "central/access.py"
GRANTS: Final = "tests/unit/test_access.py"
KEYS: Final = "central/api_keys.py"
TOKENS: Final = "central/api/oidc.py"
SIGNED: Final = "tests/unit/test_oidc.py"
ASKING: Final = "central/api/asking.py"
DECIDES: Final = "central/api/conflicts.py"
API: Final = "tests/integration/test_api_access.py"
COMMAND: Final = "tests/integration/test_api_keys_command.py"

OF_ACCESS: Final[tuple[Mutant, ...]] = (
    of(
        "access: a plant decides what other plants have to",
        ACCESS,
        "reach[scope] = reach.get(scope, Sites()) | sites",
        "reach[scope] = Sites(every=True)",
        f"{GRANTS}::test_a_grant_reaches_the_sites_of_its_role",
    ),
    of(
        "access: scopes of a key are not looked at",
        ACCESS,
        "role.scopes.intersection(scopes)",
        "role.scopes",
        f"{GRANTS}::test_a_key_uses_no_more_than_its_scopes_of_what_its_grants_allow",
    ),
    of(
        "access: a header adds sites",
        ACCESS,
        "if beyond := sorted(set(names) - sites):",
        "if beyond := sorted(set()):",
        f"{GRANTS}::test_a_narrowed_request_reaches_no_more_than_one_that_is_not",
    ),
    of(
        "access: a site that is not registered is told from one that is another's",
        ACCESS,
        "return registered if self.every else self.names & registered",
        "return registered if self.every else self.names",
        f"{GRANTS}::test_a_site_that_is_not_registered_is_not_reached_though_a_grant_names_it",
    ),
    of(
        "access: a grant of no site is one of all",
        ACCESS,
        "if not role.sites_min <= len(names) <= role.sites_max:",
        "if not len(names) <= role.sites_max:",
        f"{GRANTS}::test_what_is_no_grant_is_refused_in_words",
    ),
    of(
        "access: a revoked key is accepted",
        KEYS,
        "revoked_at IS NULL AND coalesce(expires_at > now(), true) AS stands",
        "coalesce(expires_at > now(), true) AS stands",
        f"{API}::test_a_key_that_was_revoked_is_refused_once_what_was_known_of_it_is_old",
    ),
    of(
        "access: a key has no end",
        KEYS,
        "coalesce(expires_at > now(), true) AS stands",
        "true AS stands",
        f"{API}::test_a_key_past_its_end_is_refused",
    ),
    of(
        "access: a key is kept as it is",
        KEYS,
        "return hashlib.sha256(key.encode()).digest()",
        "return key.encode()[-32:]",
        f"{API}::test_a_key_is_looked_up_by_its_hash_and_is_nowhere_in_the_database",
    ),
    of(
        "access: a token for another audience is taken",
        TOKENS,
        "audience=self.provider.audience",
        "audience=None",
        f"{SIGNED}::test_a_token_that_is_old_for_another_or_says_not_whose_it_is_is_refused",
    ),
    of(
        "access: a token of another issuer is taken",
        TOKENS,
        "issuer=self.provider.issuer,",
        "issuer=None,",
        f"{SIGNED}::test_a_token_that_is_old_for_another_or_says_not_whose_it_is_is_refused",
    ),
    of(
        "access: keys are taken from wherever the provider's document says",
        TOKENS,
        'check_address(str(about.get("jwks_uri")), "jwks_uri")',
        "pass",
        f"{SIGNED}::test_keys_that_anybody_could_have_put_there_are_not_taken",
    ),
    of(
        "access: anybody makes us ask the provider each time",
        TOKENS,
        "if stale and now - self._asked_at > PAUSE_S:",
        "if stale:",
        f"{SIGNED}::test_tokens_of_unknown_keys_do_not_make_us_ask_the_provider_each_time",
    ),
    of(
        "access: the transaction names all sites",
        ASKING,
        '[",".join(sites)]',
        '["SITE_001,SITE_002,SITE_003"]',
        f"{API}::test_somebody_of_one_site_is_answered_of_no_other",
    ),
    of(
        "access: a site is found whoever asks",
        "central/api/sites.py",
        "if site not in asking.sites:",
        "if False:",
        f"{API}::test_somebody_of_one_site_is_answered_of_no_other",
    ),
    of(
        "access: a decision needs no scope of its own",
        DECIDES,
        "asks(reach.guard, Scope.REVIEW)",
        "asks(reach.guard, Scope.READ)",
        f"{API}::test_a_key_does_no_more_than_its_scopes",
    ),
    of(
        "access: a decision finds conflicts of other sites",
        DECIDES,
        "async with reading(reach.reading, asking.sites) as connection:\n"
        "            found = await find_conflict(connection, name)  # of",
        "async with reach.pool.connection() as connection:\n"
        "            found = await find_conflict(connection, name)  # of",
        f"{API}::test_a_conflict_of_another_site_is_not_decided_and_not_told_from_one_that_is_not_there",
    ),
    of(
        "access: a decision is noted beside its transaction",
        DECIDES,
        "async with reach.pool.connection() as connection, connection.transaction():",
        "async with reach.pool.connection() as connection:\n"
        "        await connection.set_autocommit(True)",
        f"{API}::test_a_decision_is_in_the_audit_log_with_what_it_changed_or_is_not_made",
    ),
    of(
        "access: refused questions are not in the audit log",
        "central/api/audit.py",
        'if not scope.get("state", {}).get("is_noted"):',
        'if not scope.get("state", {}).get("is_noted") and status < 400:',
        f"{API}::test_who_read_what_of_which_sites_is_in_the_audit_log",
    ),
    of(
        "access: what could not be written to the audit log is forgotten",
        "central/api/audit.py",
        "                self._waiting[asked] += times",
        "                pass",
        f"{API}::test_questions_wait_for_the_database_and_are_bounded_while_they_do",
    ),
    of(
        "access: the centre may change what the audit log says",
        "central/roles.py",
        'f"REVOKE UPDATE ON sync.audit FROM {INGEST}",',
        "",
        f"{COMMAND}::test_nobody_of_the_centre_may_change_a_line_of_the_audit_log",
    ),
    of(
        "access: a file is left of a key that was not made",
        "central/cli/api_keys.py",
        "        path.unlink(missing_ok=True)\n",
        "",
        f"{COMMAND}::test_a_key_that_can_not_be_leaves_neither_a_row_nor_a_file",
    ),
)
