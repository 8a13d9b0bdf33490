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
        'options={"require": ["exp", "iss", "aud", "sub"]},',
        'options={"require": ["exp", "iss", "aud", "sub"], "verify_aud": False},',
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
        "PAUSE_S: Final = 10.0",
        "PAUSE_S: Final = -1.0",
        f"{SIGNED}::test_tokens_of_unknown_keys_do_not_make_us_ask_the_provider_each_time",
    ),
    of(
        "access: the transaction names all sites",
        ASKING,
        '[",".join(sites), f"',
        '["SITE_001,SITE_002,SITE_003", f"',
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
        'if is_ours and not scope.get("state", {}).get("is_noted"):',
        "if is_ours and status < 400:",
        f"{API}::test_who_read_what_of_which_sites_is_in_the_audit_log",
    ),
    of(
        "access: what could not be written to the audit log is forgotten",
        "central/api/audit.py",
        "                self._add(asked, counted)",
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
    of(
        "access: a role of the provider's own grants what ours of that name does",
        TOKENS,
        "if not (isinstance(each, str) and each.startswith(PREFIX)):",
        "if not isinstance(each, str):",
        f"{SIGNED}::test_a_role_of_the_providers_own_that_is_called_as_one_of_ours_grants_nothing",
    ),
    of(
        "access: a token counts for as long as it says, whatever the provider withdrew",
        ASKING,
        "return found, min(now_s + TOKEN_FRESH_S, ends)",
        "return found, ends",
        f"{API}::test_a_token_counts_for_a_minute_after_its_key_was_withdrawn",
    ),
    of(
        "access: sites are named for the whole session",
        ASKING,
        "set_config('app.sites', %s, true)",
        "set_config('app.sites', %s, false)",
        f"{API}::test_nothing_that_a_transaction_set_is_left_in_the_session",
    ),
    of(
        "access: a transaction that reads may write",
        ASKING,
        "REPEATABLE READ, READ ONLY",
        "REPEATABLE READ",
        f"{API}::test_a_transaction_reads_only_for_half_a_minute_and_only_of_named_sites",
    ),
    of(
        "access: a transaction without sites is not refused at once",
        ASKING,
        'await connection.execute("SELECT mes.asked_sites()")',
        "pass",
        f"{API}::test_a_transaction_reads_only_for_half_a_minute_and_only_of_named_sites",
    ),
    of(
        "access: the API reads by whatever role it was given",
        ASKING,
        "        if row is None or row[0]:\n            raise NotAuthorised(",
        "        if row is None:\n            raise NotAuthorised(",
        f"{API}::test_the_api_reads_nothing_by_a_role_that_passes_row_level_security",
    ),
    of(
        "access: a person decides in the name of another",
        DECIDES,
        'if not who.name.startswith("key "):',
        "if False:",
        f"{API}::test_a_person_with_a_token_reads_and_decides_by_their_own_name",
    ),
    of(
        "access: who repeats a decision is told as who made it",
        DECIDES,
        "        if not done.again:\n",
        "        if True:\n",
        f"{API}::test_a_decision_that_stood_already_is_no_change_by_who_repeats_it",
    ),
    of(
        "access: a key in a query is kept in the log",
        "central/audit.py",
        'return _A_KEY.sub(r"\\1…", readable)',
        "return readable",
        f"{API}::test_a_key_in_a_query_is_not_kept",
    ),
    of(
        "access: control characters reach the log",
        "central/audit.py",
        "c if c.isprintable() else",
        "c if True else",
        f"{API}::test_what_would_draw_a_false_line_or_stop_the_log_is_cleaned",
    ),
    of(
        "access: a body may be of any size",
        "central/api/bounds.py",
        "if size > BODY_BYTES_MAX:",
        "if False:",
        f"{API}::test_a_body_that_is_too_large_or_too_slow_is_refused",
    ),
)
