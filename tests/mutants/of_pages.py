"""Mutants of the dashboard: who is signed in, what a form may do, what pages show."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, of

ASKING: Final = "central/api/asking.py"
SESSIONS: Final = "central/api/sessions.py"
SIGNING: Final = "central/web/signing.py"
LEADING: Final = "central/web/leading.py"
ASKED: Final = "central/web/asked.py"
LIVE: Final = "central/api/live.py"
EXPORTS: Final = "tests/integration/test_web_exports.py"
PAGES: Final = "tests/integration/test_web_pages.py"
OF_SESSIONS: Final = "tests/unit/test_web_sessions.py"
PARTS: Final = "tests/unit/test_web_parts.py"
WATERFALL: Final = "central/web/waterfall.py"
LOTS: Final = "central/web/lots.py"
OEE: Final = "tests/integration/test_web_oee.py"
SPC: Final = "tests/integration/test_web_spc.py"
GENEALOGY: Final = "tests/integration/test_web_genealogy.py"

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
        'if not secrets.compare_digest(form.get("form_token", ""), session.form_token):',
        'if not form.get("form_token", "x"):',
        f"{PAGES}::test_a_form_of_another_page_changes_nothing",
    ),
    of(
        "pages: an export of a site of others is asked for",
        "central/web/exports.py",
        "            asked_of(form, asking.sites, reach.guard.today)\n",
        "",
        f"{EXPORTS}::test_an_export_of_a_site_of_others_is_not_asked_for",
    ),
    of(
        "pages: an export forgets what was asked where it comes from",
        "central/web/exports.py",
        "for name, values in more_in(form).items()",
        "for name, values in dict[str, list[str]]().items()",
        f"{EXPORTS}::test_what_a_page_shows_in_part_is_exported_as_it_was_asked_there",
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
        LEADING,
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
    of(
        "pages: what is undefined of OEE is a zero",
        WATERFALL,
        "tuple(Figure(column(name), row[name], because(row, name)) for name in FIGURES)",
        "tuple(Figure(column(name), row[name] or 0, because(row, name)) for name in FIGURES)",
        f"{OEE}::test_what_is_undefined_is_called_so_with_its_reason_and_is_no_zero",
    ),
    of(
        "pages: a loss is of the time that is left, and not of planned time",
        "central/reports/kpis.py",
        '"performance_loss", "run_min - ideal_min", "planned_min"',
        '"performance_loss", "run_min - ideal_min", "run_min"',
        f"{OEE}::test_losses_lead_from_planned_time_to_oee_and_add_up",
    ),
    of(
        "pages: production without planned time goes unsaid",
        WATERFALL,
        "if outside > 0 and row",
        "if outside < 0 and row",
        f"{OEE}::test_what_makes_oee_too_high_is_said",
    ),
    of(
        "pages: a broken rule is marked on the point after it",
        "central/reports/spc_table.py",
        'fired[each["point"]].append',
        'fired[each["point"] + 1].append',
        f"{SPC}::test_a_rule_that_is_broken_is_marked_and_named_in_words",
    ),
    of(
        "pages: means are held against the limits of single values",
        "central/reports/spc_table.py",
        'is_held = chart["name"] == _OF_VALUES',
        'is_held = chart["name"] != "moving-range"',
        f"{SPC}::test_subgroups_are_charted_as_means_without_the_limits_of_single_values",
    ),
    of(
        "pages: the oldest points of a long chart are shown",
        "central/web/quality.py",
        "points[-POINTS_MAX:]",
        "points[:POINTS_MAX]",
        f"{SPC}::test_a_long_chart_shows_its_newest_points_and_says_how_many_there_are",
    ),
    of(
        "pages: what went into a lot stands where it went",
        LOTS,
        "else -int(up)",
        "else int(up)",
        f"{GENEALOGY}::test_a_lot_is_shown_with_what_went_in_and_where_it_went_and_what_is_on_hand",
    ),
    of(
        "pages: a held lot looks like any other that is on hand",
        LOTS,
        'return "held" if self.lot["holds"] else "on-hand"',
        'return "held" if False else "on-hand"',
        f"{GENEALOGY}::test_a_lot_is_shown_with_what_went_in_and_where_it_went_and_what_is_on_hand",
    ),
    of(
        "pages: a walk that was cut looks whole",
        "central/web/templates/genealogy.html",
        "{% if told.truncated %}",
        "{% if false %}",
        f"{GENEALOGY}::test_a_walk_that_is_cut_says_that_it_is_not_all",
    ),
)
