"""Mutants of signing in at an identity provider: who comes back, and for how long."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

RULES: Final = "central/api/code_flow.py"
FLOW: Final = "central/api/signing_in.py"
UNDER_WAY: Final = "central/api/sign_ins.py"
ROUTES: Final = "central/web/provider.py"
UNIT: Final = "tests/unit/test_code_flow.py"
BACK: Final = "tests/integration/test_web_provider.py"
REFUSED: Final = "tests/integration/test_web_provider_refused.py"

OF_SIGNING_IN: Final[tuple[Mutant, ...]] = (
    of(
        "signing in: the challenge is the verifier itself",
        RULES,
        'return _base64(hashlib.sha256(verifier.encode("ascii")).digest())',
        "return verifier",
        f"{UNIT}::test_the_challenge_is_the_one_of_the_example_of_rfc_7636",
    ),
    of(
        "signing in: an answer of another provider is taken",
        RULES,
        "if (told is not None or must_tell) and told != issuer:",
        "if told is not None and told == issuer + '/':",
        f"{UNIT}::test_an_answer_of_another_provider_or_without_a_code_is_refused",
    ),
    of(
        "signing in: a provider that says who answers need not",
        RULES,
        "if (told is not None or must_tell) and told != issuer:",
        "if told is not None and told != issuer:",
        f"{UNIT}::test_an_answer_of_another_provider_or_without_a_code_is_refused",
    ),
    of(
        "signing in: an ID token answers any question",
        RULES,
        'if claims.get("nonce") != nonce:',
        'if claims.get("nonce", nonce) != nonce:',
        f"{UNIT}::test_an_id_token_of_another_question_client_or_access_token_is_refused",
    ),
    of(
        "signing in: an ID token that others share needs no party",
        RULES,
        'if (is_shared or "azp" in claims) and',
        'if "azp" in claims and',
        f"{UNIT}::test_an_id_token_of_another_question_client_or_access_token_is_refused",
    ),
    of(
        "signing in: an ID token of another access token is taken",
        RULES,
        'if "at_hash" in claims and',
        "if False and",
        f"{UNIT}::test_an_id_token_of_another_question_client_or_access_token_is_refused",
    ),
    of(
        "signing in: what the provider writes is shown as it is",
        RULES,
        "if isinstance(found, str) and _ERROR.fullmatch(found) else",
        "if isinstance(found, str) else",
        f"{UNIT}::test_what_the_provider_refuses_is_told_by_what_can_be_done_about_it",
    ),
    of(
        "signing in: what stands before a provider ends sessions",
        RULES,
        'if status in (400, 401, 403) and "error" in answer:',
        "if 400 <= status < 500:",
        f"{UNIT}::test_an_answer_without_tokens_is_a_refusal_trouble_or_of_no_use",
    ),
    of(
        "signing in: a browser is sent where others listen",
        RULES,
        "        check_address(found, name)\n",
        "",
        f"{UNIT}::test_a_browser_is_sent_nowhere_that_others_could_listen_to",
    ),
    of(
        "signing in: tokens of minutes are renewed all the time",
        RULES,
        "min(RENEW_BEFORE_S, max(0.0, ends_s - now_s) / 4)",
        "RENEW_BEFORE_S",
        f"{UNIT}::test_a_token_is_renewed_shortly_before_its_end_and_never_all_the_time",
    ),
    of(
        "signing in: another browser comes back",
        UNDER_WAY,
        "if found is None or not _is_brought(found, cookies, secure=secure):",
        "if found is None:",
        f"{UNIT}::test_a_sign_in_is_used_once_by_the_browser_that_began_it",
    ),
    of(
        "signing in: a way back is gone twice",
        UNDER_WAY,
        "        del self._known[digest]\n        if _is_over(found, now_s):",
        "        if _is_over(found, now_s):",
        f"{UNIT}::test_a_sign_in_is_used_once_by_the_browser_that_began_it",
    ),
    of(
        "signing in: a cookie of a host beside ours counts",
        UNDER_WAY,
        'brought = cookies.get(cookie_name(pending.state, secure=secure), "")',
        "brought = next((v for k, v in cookies.items()"
        " if k.endswith(cookie_name(pending.state, secure=False))), '')",
        f"{UNIT}::test_a_sign_in_is_used_once_by_the_browser_that_began_it",
    ),
    of(
        "signing in: there is no end to what is under way",
        UNDER_WAY,
        "return len(self._known) >= PENDING_MAX or _is_over",
        "return _is_over",
        f"{UNIT}::test_there_are_never_more_sign_ins_than_the_limit_and_the_oldest_makes_room",
    ),
    of(
        "signing in: the cookie does not come back from the provider",
        UNDER_WAY,
        'max_age=int(PENDING_S), path="/", secure=secure, httponly=True, samesite="lax",',
        'max_age=int(PENDING_S), path="/", secure=secure, httponly=True, samesite="strict",',
        f"{BACK}::test_the_cookie_of_a_sign_in_is_lent_for_minutes_and_that_of_a_session_is_strict",
    ),
    of(
        "signing in: an ID token is not held against the question",
        FLOW,
        "        check_identity(claims, self.client, nonce, tokens)\n",
        "",
        f"{REFUSED}::test_an_id_token_that_is_not_the_answer_to_our_question_signs_nobody_in",
    ),
    of(
        "signing in: the code is shown without what proves it",
        FLOW,
        '"code_verifier": pending.verifier,',
        '"code_verifier": pending.nonce,',
        f"{BACK}::test_somebody_signs_in_at_the_provider_and_goes_on_where_they_wanted_to",
    ),
    of(
        "signing in: an answer has no end",
        FLOW,
        "if len(content) > ANSWER_BYTES_MAX:",
        "if len(content) > 1 << 40:",
        f"{REFUSED}::test_a_token_endpoint_that_gives_none_is_a_page_that_says_so",
    ),
    of(
        "signing in: each request renews by itself",
        FLOW,
        "if granted.renewing is None or granted.renewing.done():",
        "if True:",
        f"{BACK}::test_a_token_is_renewed_once_though_many_requests_come_at_the_same_time",
    ),
    of(
        "signing in: who gives up waiting takes the token along",
        FLOW,
        "if await asyncio.shield(granted.renewing) is Renewal.OVER:",
        "if await granted.renewing is Renewal.OVER:",
        f"{BACK}::test_a_request_that_is_given_up_loses_no_token_that_rotated",
    ),
    of(
        "signing in: a refresh token that rotated is kept after the rest",
        FLOW,
        "            granted.refresh_token = tokens.refresh or granted.refresh_token\n",
        "",
        f"{BACK}::test_a_token_is_renewed_once_though_many_requests_come_at_the_same_time",
    ),
    of(
        "signing in: a session goes on as another person",
        FLOW,
        "if _number(who.name) != _number(session.name):",
        "if False:",
        f"{BACK}::test_a_session_ends_that_the_provider_does_not_renew_for_the_same_person",
    ),
    of(
        "signing in: a provider that is away ends sessions",
        FLOW,
        "raise ProviderAway if granted.refresh_token else SessionOver",
        "raise SessionOver",
        f"{BACK}::test_while_the_provider_is_away_a_session_goes_on_as_long_as_its_token_is_good",
    ),
    of(
        "signing in: a provider that is away is asked with each request",
        FLOW,
        "            granted.renew_at_s = time.time_ns() / 1e9 + RETRY_S\n",
        "",
        f"{BACK}::test_while_the_provider_is_away_a_session_goes_on_as_long_as_its_token_is_good",
    ),
    of(
        "signing in: a session that is refused stays",
        "central/api/asking.py",
        "                self.sessions.end(session)\n",
        "",
        f"{BACK}::test_a_session_ends_that_the_provider_does_not_renew_for_the_same_person",
    ),
    of(
        "signing in: a form goes by a token that is not renewed",
        "central/web/signing.py",
        "return await guard.fresh(session), form",
        "return session.shown, form",
        f"{BACK}::test_a_form_renews_the_token_that_it_is_sent_by",
    ),
    of(
        "signing in: the audit log has codes",
        "central/api/audit.py",
        'query = "" if is_secret else',
        'query = "" if False else',
        f"{BACK}::test_nothing_secret_is_in_pages_addresses_cookies_logs_or_the_audit_log",
    ),
    of(
        "signing in: other pages begin sign-ins",
        ROUTES,
        "if not _is_meant(request):",
        "if False:",
        f"{BACK}::test_no_other_page_begins_a_sign_in",
    ),
    of(
        "signing in: what an answer says twice counts once",
        ROUTES,
        "if len(dict(given)) < len(given):",
        "if False:",
        f"{REFUSED}::test_an_answer_that_says_something_twice_signs_nobody_in",
    ),
    of(
        "signing in: whoever has no grant gets a session",
        ROUTES,
        "        _check_grants(found.who)\n",
        "",
        f"{REFUSED}::test_whoever_may_read_nothing_here_is_told_to_ask_for_a_grant",
    ),
    of(
        "signing in: the session that was there goes on",
        ROUTES,
        "        sessions.close(found.pending.earlier)\n",
        "",
        f"{BACK}::test_a_new_session_takes_the_place_of_the_one_that_the_browser_had",
    ),
)
