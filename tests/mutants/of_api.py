"""Mutants of what guards the API: before a question, around it, and in its description."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ROUTES: Final = "central/api/routes.py"
ONCE: Final = "central/api/once.py"
RATES: Final = "central/api/rates.py"
SCRAPES: Final = "central/scrapes.py"
DESCRIBED: Final = "central/api/description.py"
DECIDES: Final = "central/api/conflicts.py"
COMMANDS: Final = "central/cli/api_keys.py"
GUARD: Final = "tests/integration/test_api_guard.py"
NAMED: Final = "tests/integration/test_api_once.py"
OFTEN: Final = "tests/unit/test_rates.py"
SCRAPED: Final = "tests/unit/test_scrapes.py"
TOLD: Final = "tests/unit/test_api_description.py"
COMMAND: Final = "tests/integration/test_api_keys_command.py"
SCHEMA: Final = "tests/integration/test_central_api.py"

OF_API: Final[tuple[Mutant, ...]] = (
    of(
        "api: who shows no key is found out once their body is there",
        ROUTES,
        "        await identify(scope)\n        await super().handle(scope, receive, send)",
        "        await receive()\n        await identify(scope)\n"
        "        await super().handle(scope, receive, send)",
        f"{GUARD}::test_who_shows_no_key_is_refused_without_waiting_for_their_body",
    ),
    of(
        "api: a router from elsewhere is taken",
        ROUTES,
        "if not (isinstance(route, V1Route) and _asks(route.dependant)):",
        "if not _asks(route.dependant):",
        f"{TOLD}::test_a_route_that_asks_nobody_who_they_are_is_not_taken_into_the_application",
        f"{TOLD}::test_a_guarded_dependency_alone_does_not_make_a_route_ours",
    ),
    of(
        "api: a question is taken that asks for no sites",
        ROUTES,
        "if not (isinstance(route, V1Route) and _asks(route.dependant)):",
        "if not isinstance(route, V1Route):",
        f"{TOLD}::test_a_route_that_asks_nobody_who_they_are_is_not_taken_into_the_application",
    ),
    of(
        "api: nobody asks too often",
        ROUTES,
        "    guard.rates.take(one.name, time.monotonic())\n",
        "",
        f"{GUARD}::test_who_asks_too_often_is_told_when_to_ask_again",
    ),
    of(
        "api: a bucket is filled by whoever is refused",
        RATES,
        "left - 1 if taken else left, now_s",
        "left - 1 if taken else most, now_s",
        f"{OFTEN}::test_four_seconds_worth_may_come_at_once_and_then_the_rate",
    ),
    of(
        "api: a bucket holds more than a burst",
        RATES,
        "left = min(most, left + (now_s - at_s) * self.per_s)",
        "left = left + (now_s - at_s) * self.per_s",
        f"{OFTEN}::test_four_seconds_worth_may_come_at_once_and_then_the_rate",
    ),
    of(
        "api: buckets are without number",
        RATES,
        "if len(self._buckets) > BUCKETS_MAX:",
        "if False:",
        f"{OFTEN}::test_those_who_asked_least_lately_are_forgotten_and_nobody_else",
    ),
    of(
        "api: a header may name any number of sites",
        "central/access.py",
        "if len(names) > NARROWED_MAX:",
        "if False:",
        "tests/unit/test_access.py"
        "::test_a_request_that_names_too_much_is_refused_before_it_is_taken_apart",
    ),
    of(
        "api: a header of sites may be of any length",
        "central/access.py",
        "if len(narrowing) > NARROWED_CHARS_MAX:",
        "if False:",
        f"{GUARD}::test_a_header_that_names_too_much_is_refused_by_field_and_rule",
    ),
    of(
        "api: scopes of a token are not looked at",
        "central/api/oidc.py",
        "return who(_name(claims), grants, _scopes(claims))",
        "return who(_name(claims), grants)",
        f"{GUARD}::test_a_token_for_reading_decides_nothing_though_its_person_may",
    ),
    of(
        "api: scopes that can't be read are all scopes",
        "central/api/oidc.py",
        "            return frozenset()\n",
        "            continue\n",
        "tests/unit/test_oidc.py"
        "::test_a_token_is_for_no_more_than_its_scopes_and_none_adds_to_the_grants",
    ),
    of(
        "api: an answer is kept beside what it tells of",
        DECIDES,
        "        await once.keep(connection, deciding.named, told)\n    return Json",
        "    async with reach.pool.connection() as connection:\n"
        "        await once.keep(connection, deciding.named, told)\n    return Json",
        f"{NAMED}::test_an_answer_that_can_not_be_kept_undoes_what_it_tells_of",
    ),
    of(
        "api: a key stands for whatever comes with it",
        ONCE,
        "if fingerprint != asked.fingerprint:",
        "if False:",
        f"{NAMED}::test_the_same_key_for_another_request_is_refused_and_nothing_is_done",
    ),
    of(
        "api: a request is known by its body alone",
        ONCE,
        'asked = "\\n".join(said).encode() + b"\\n" + await request.body()',
        "asked = await request.body()",
        f"{NAMED}::test_a_key_stands_for_the_address_as_well",
    ),
    of(
        "api: a key that is old stands for its request for ever",
        ONCE,
        "WHERE a.expires_at <= now()",
        "WHERE false",
        f"{NAMED}::test_a_day_later_a_key_may_stand_for_another_request_and_is_forgotten",
    ),
    of(
        "api: a request that comes twice is done twice",
        ONCE,
        "WHERE a.expires_at <= now()",
        "WHERE true",
        f"{NAMED}::test_the_same_key_has_the_same_answer_and_nothing_is_done_again",
    ),
    of(
        "api: the key of one is that of all",
        DECIDES,
        "await once.named(request, asking.who.name, key)",
        'await once.named(request, "all", key)',
        f"{NAMED}::test_a_key_is_that_of_who_sends_it",
    ),
    of(
        "api: answers are kept for ever",
        "central/retention.py",
        "SELECT who, key FROM sync.answer WHERE expires_at <= now()",
        "SELECT who, key FROM sync.answer WHERE expires_at < now() - interval '1 year'",
        f"{NAMED}::test_a_day_later_a_key_may_stand_for_another_request_and_is_forgotten",
    ),
    of(
        "api: metrics are given to whoever reaches the port",
        "central/api/app.py",
        '        reach.scrapers.check(request.client.host if request.client else "", '
        "request.headers)\n",
        "",
        f"{GUARD}::test_metrics_are_given_to_who_shows_their_token_and_to_no_key",
    ),
    of(
        "api: metrics of workers are given to whoever reaches the port",
        "central/worker_metrics.py",
        'scrapers.check(environ["REMOTE_ADDR"], headers)',
        "pass",
        f"{SCRAPED}::test_a_worker_gives_its_metrics_to_who_may_read_them_alone",
    ),
    of(
        "api: a proxy gives the metrics to others",
        SCRAPES,
        "or any(name in headers for name in _PASSED_ON)",
        "",
        f"{SCRAPED}::test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine",
    ),
    of(
        "api: a file without a token opens the metrics",
        SCRAPES,
        "if not (TOKEN_MIN <= len(token) <=",
        "if not (0 <= len(token) <=",
        f"{SCRAPED}::test_a_file_without_a_token_is_a_setting_to_mend_and_never_no_token",
    ),
    of(
        "api: questions keep the metrics waiting",
        "central/api/app.py",
        "sites.read_verdict(reach, reach.watching)",
        "sites.read_verdict(reach, reach.pool)",
        f"{GUARD}::test_metrics_and_health_are_there_while_all_connections_of_the_questions_are_taken",
    ),
    of(
        "api: the status of sites is read by a role that sees all",
        "central/api/sites.py",
        "late_hours=reach.backup_hours, of_sites=of_sites,",
        "late_hours=reach.backup_hours,",
        f"{GUARD}::test_what_is_told_of_sites_is_read_by_the_role_that_sees_no_other",
    ),
    of(
        "api: a table of the status shows all sites",
        "central/roles.py",
        'for each in read_by_asked(f"sync.{name}", API, column)\n',
        'for each in (f"GRANT SELECT ON sync.{name} TO {API}",)\n',
        "tests/integration/test_tenancy.py"
        "::test_of_the_bookkeeping_the_api_reads_how_the_sync_of_its_own_sites_is",
    ),
    of(
        "api: a refusal is described as the framework would answer it",
        DESCRIBED,
        "                _add_problems(path, operation)\n",
        "",
        f"{TOLD}::test_every_refusal_is_described_as_a_problem_document",
    ),
    of(
        "api: an instant may be a bare number",
        DECIDES,
        "BeforeValidator(_instant)",
        "BeforeValidator(str)",
        f"{SCHEMA}::test_a_question_that_means_nothing_is_refused",
    ),
    of(
        "api: keys are made and revoked unnoted",
        COMMANDS,
        '            await note_change(connection, asked, {"name": noted.name, **noted.about})\n',
        "",
        f"{COMMAND}::test_keys_made_and_revoked_are_in_the_audit_log_with_who_did_it",
    ),
    of(
        "api: a key is made though it can't be noted",
        COMMANDS,
        "        async with connection.transaction():\n            done",
        "        if True:\n            done",
        f"{COMMAND}::test_a_key_that_can_not_be_noted_is_neither_made_nor_revoked",
    ),
    of(
        "api: who made a key is whoever a variable says",
        COMMANDS,
        "return pwd.getpwuid(number).pw_name",
        'return os.environ.get("LOGNAME") or pwd.getpwuid(number).pw_name',
        f"{COMMAND}::test_who_made_a_key_is_told_by_the_system_and_by_no_variable",
    ),
    of(
        "api: a key that nobody has goes on standing",
        COMMANDS,
        "lambda connection: take_away(connection, name), noted",
        "lambda connection: asyncio.sleep(0), noted",
        f"{COMMAND}::test_a_key_that_can_not_be_written_is_revoked_again_and_leaves_no_file",
    ),
)
