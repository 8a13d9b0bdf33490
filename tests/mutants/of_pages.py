"""Mutants of who is signed in at the dashboard, and of what a form or a page may do."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ASKING: Final = "central/api/asking.py"
SESSIONS: Final = "central/api/sessions.py"
SIGNING: Final = "central/web/signing.py"
ASKED: Final = "central/web/asked.py"
LIVE: Final = "central/api/live.py"
PAGES: Final = "tests/integration/test_web_pages.py"
OF_SESSIONS: Final = "tests/unit/test_web_sessions.py"
PARTS: Final = "tests/unit/test_web_parts.py"

OF_PAGES: Final[tuple[Mutant, ...]] = (
    of(
        "pages: a cookie alone changes something",
        ASKING,
        "if not scheme and method in _READING_METHODS else None",
        "if not scheme else None",
        f"{PAGES}::test_a_cookie_reads_reports_and_changes_nothing",
    ),
    of(
        "pages: a form needs no token of its session",
        SIGNING,
        'if not secrets.compare_digest(form.pop("form_token", ""), session.form_token):',
        'if not form.pop("form_token", "x"):',
        f"{PAGES}::test_a_form_of_another_page_changes_nothing",
    ),
    of(
        "pages: a form may come from anywhere",
        SIGNING,
        "if not _is_from_here(request):",
        "if False:",
        f"{PAGES}::test_a_form_of_another_page_changes_nothing",
    ),
    of(
        "pages: a link leads elsewhere after the sign-in",
        SIGNING,
        'not address.startswith(("//", "/\\\\"))',
        'not address.startswith("\\\\")',
        f"{PARTS}::test_a_sign_in_goes_on_at_a_path_of_ours",
    ),
    of(
        "pages: a session does not end",
        SESSIONS,
        "return now_s > min(session.used_s + IDLE_MAX_S, session.began_s + AGE_MAX_S)",
        "return now_s > session.used_s + IDLE_MAX_S",
        f"{OF_SESSIONS}::test_a_session_ends_when_nobody_uses_it_and_at_the_latest_after_a_week",
    ),
    of(
        "pages: an address names sites beyond the asker's",
        ASKED,
        "if beyond := sorted(set(chosen) - set(reached)):",
        "if beyond := sorted(set()):",
        f"{PARTS}::test_an_address_narrows_to_sites_and_never_widens",
    ),
    of(
        "pages: everybody is told of all sites",
        LIVE,
        "for site in sorted(sites) if site in self.revisions",
        "for site in sorted(self.revisions)",
        f"{PARTS}::test_a_stream_tells_of_the_sites_that_somebody_reaches_and_of_no_other",
    ),
    of(
        "pages: what is looked at is not in the audit log",
        "central/api/audit.py",
        'is_tagged = self.tag and self.tag in getattr(scope.get("route"), "tags", ())',
        "is_tagged = False",
        f"{PAGES}::test_what_is_looked_at_is_in_the_audit_log",
    ),
)
