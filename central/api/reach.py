"""What the API reaches: the database as two roles, the broker, who may ask, the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from central.api.live import Live
from central.backups import LATE_HOURS
from central.documents import to_json
from central.scrapes import Scrapers

if TYPE_CHECKING:
    from pathlib import Path

    from central.api.asking import Guard, Pool
    from central.api.audit import AuditLog
    from shared.catalog import Catalog
    from sync.transport import Link

#: All that is below it needs a key or a token, and is noted in the audit log.
V1: Final = "/v1"
#: Tag of routes that show the same to people: noted in the audit log as well.
PAGES: Final = "pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the API reaches, and who reaches it."""

    #: As mes_ingest: the state of the sync, and decisions, which are then written as mes_app.
    pool: Pool
    #: As mes_api: every row that is read for somebody.
    reading: Pool
    #: The same, for answers that are read over a connection of their own.
    reading_url: str
    #: As mes_ingest, for metrics and health alone: no storm of requests keeps them waiting.
    watching: Pool
    guard: Guard
    audit: AuditLog
    catalog: Catalog
    link: Link
    scrapers: Scrapers = field(default_factory=Scrapers)
    #: What changed at which site; empty where nothing follows it.
    live: Live = field(default_factory=Live)
    #: How old the newest backup may become.
    backup_hours: float = LATE_HOURS
    #: Folder of archived months, where one is named.
    archive_dir: Path | None = None
    #: Folder of exports, where one is named, and days that each is kept.
    export_dir: Path | None = None
    export_days: float = 7.0


class Json(Response):
    """A document in the form that the commands print."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return to_json(content).encode()
