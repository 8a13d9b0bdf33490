"""What the API answers, by its fields: for its description, which programs are written from.

The answers themselves are the documents that the commands print; a test holds that they have these
fields. Within v1 fields are only added.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import Annotated, Literal

from pydantic import Field

from central.picture import CentrePicture, SitePicture

Word = Literal["ok", "degraded", "critical"]
#: A value of a column; instants, numerics and bytes are texts.
Plain = str | int | float | bool | None
Row = dict[str, Plain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """That the process answers, and whether what it needs does."""

    status: Literal["ok"]
    database: bool
    broker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """What a kind of problem is."""

    type: str
    status: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A field with the rule that it breaks."""

    field: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemTold:
    """A problem, as RFC 9457 has it."""

    #: What to test for; GET tells what it is.
    type: str
    title: str
    status: int
    #: What to do.
    detail: str
    instance: str
    #: Where the request breaks rules.
    errors: list[Broken] | None = None
    #: Where a row was written since: what the review showed, what stands, and its version.
    shown: Row | None = None
    stands: Row | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReason:
    """Why something needs a look, and what to do."""

    code: str
    severity: Word
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason(SiteReason):
    """The same, of a site or of the centre itself."""

    site: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus(SitePicture):
    """How the sync of a site is."""

    status: Word
    verdict: str
    reasons: list[SiteReason]
    lag: Annotated[int | None, Field(alias="feed_lag")]
    unsafe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSite(SiteStatus):
    """How the sync of one site is."""

    schema: Literal["mes-central.status/v1"]
    generated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreStatus(CentrePicture):
    """How the centre is."""

    broker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SitesStatus:
    """How the sync of your sites is; what has a default only who reads all sites is told."""

    schema: Literal["mes-central.status/v1"]
    generated_at: datetime
    sites: list[SiteStatus]
    status: Word = "ok"
    exit_code: int = 0
    verdict: str = ""
    reasons: list[Reason] | None = None
    centre: CentreStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SideTold:
    """What one side wrote; the value is empty where it deleted the row."""

    value: Row | None
    site: str | None
    writer: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewTold:
    """What a person has to decide, or has decided."""

    id: str
    state: str
    shown: Row | None
    take: str | None
    value: Row | None
    decided_by: str | None
    reason: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictTold:
    """What two sides wrote at once."""

    id: str
    site: str
    table: str
    row_id: str
    key: str | None
    group: str
    policy: str
    verdict: str
    base: Row | None
    here: SideTold
    central: SideTold
    result: Row | None
    clock_clamped: bool
    tx_id: str | None
    decided_at: datetime
    review: ReviewTold | None
    base_version: str | None
    state: Literal["open", "resolved", "decided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictsTold:
    """Conflicts, those that wait for a person first."""

    schema: Literal["mes-central.conflicts/v1"]
    conflicts: list[ConflictTold]
    #: What to ask with as `cursor` for the page after; null at the end.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingTold:
    """What stands in the row now; no values where it is deleted."""

    version: str | None
    values: Row | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneConflict(ConflictTold):
    """A conflict in full."""

    schema: Literal["mes-central.conflict/v1"]
    standing: StandingTold


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a decision wrote."""

    schema: Literal["mes-central.resolution/v1"]
    id: str
    site: str
    table: str
    row_id: str
    before: Row | None
    changes: Row
    deleted: bool
    taken: Row | None
    #: It had been decided so before, and nothing was written.
    again: bool
