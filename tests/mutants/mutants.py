"""All mutants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.mutants.of_abandoned import OF_ABANDONED
from tests.mutants.of_access import OF_ACCESS
from tests.mutants.of_api import OF_API
from tests.mutants.of_apply import OF_APPLY
from tests.mutants.of_archive import OF_ARCHIVE
from tests.mutants.of_backups import OF_BACKUPS
from tests.mutants.of_capture import OF_CAPTURE
from tests.mutants.of_capture_lost import OF_CAPTURE_LOST
from tests.mutants.of_compare import OF_COMPARE
from tests.mutants.of_edge import OF_EDGE
from tests.mutants.of_exports import OF_EXPORTS
from tests.mutants.of_extras import OF_EXTRAS
from tests.mutants.of_feed import OF_FEED
from tests.mutants.of_forks import OF_FORKS
from tests.mutants.of_front import OF_FRONT
from tests.mutants.of_homecomings import OF_HOMECOMINGS
from tests.mutants.of_known import OF_KNOWN
from tests.mutants.of_let_go import OF_LET_GO
from tests.mutants.of_pages import OF_PAGES
from tests.mutants.of_parked import OF_PARKED
from tests.mutants.of_planned import OF_PLANNED
from tests.mutants.of_planner import OF_PLANNER
from tests.mutants.of_quality import OF_QUALITY
from tests.mutants.of_refusals import OF_REFUSALS
from tests.mutants.of_renames import OF_RENAMES
from tests.mutants.of_reports import OF_REPORTS
from tests.mutants.of_restores import OF_RESTORES
from tests.mutants.of_restores_cut_short import OF_RESTORES_CUT_SHORT
from tests.mutants.of_restores_in_a_row import OF_RESTORES_IN_A_ROW
from tests.mutants.of_retention import OF_RETENTION
from tests.mutants.of_reviews import OF_REVIEWS
from tests.mutants.of_rollups import OF_ROLLUPS
from tests.mutants.of_rules import OF_RULES
from tests.mutants.of_shares import OF_SHARES
from tests.mutants.of_signing_in import OF_SIGNING_IN
from tests.mutants.of_states import OF_STATES
from tests.mutants.of_tenancy import OF_TENANCY
from tests.mutants.of_times import OF_TIMES
from tests.mutants.of_unions import OF_UNIONS
from tests.mutants.of_wire import OF_WIRE
from tests.mutants.of_withheld import OF_WITHHELD

if TYPE_CHECKING:
    from tests.mutants.mutant import Mutant

MUTANTS: Final[tuple[Mutant, ...]] = (
    *OF_RULES, *OF_WIRE, *OF_CAPTURE, *OF_CAPTURE_LOST, *OF_EDGE, *OF_APPLY, *OF_FEED, *OF_TIMES,
    *OF_BACKUPS, *OF_RESTORES, *OF_RESTORES_IN_A_ROW, *OF_RESTORES_CUT_SHORT, *OF_HOMECOMINGS,
    *OF_PARKED, *OF_RETENTION, *OF_SHARES, *OF_COMPARE, *OF_REVIEWS, *OF_FORKS, *OF_EXTRAS,
    *OF_TENANCY, *OF_ACCESS, *OF_API, *OF_FRONT, *OF_ROLLUPS, *OF_REPORTS, *OF_QUALITY,
    *OF_ARCHIVE, *OF_PAGES, *OF_KNOWN, *OF_LET_GO, *OF_REFUSALS, *OF_EXPORTS, *OF_RENAMES,
    *OF_PLANNER, *OF_SIGNING_IN, *OF_STATES, *OF_UNIONS, *OF_ABANDONED, *OF_WITHHELD,
    *OF_PLANNED,
)  # fmt: skip
