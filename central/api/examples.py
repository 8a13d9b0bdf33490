"""Examples of answers for the description, as an installation gave them."""

from __future__ import annotations

from typing import Any, Final

_CONFLICT: Final = {
    "id": "01dd0919-3262-56ae-a337-38b1f29cd114",
    "site": "SITE_001",
    "table": "nonconformances",
    "row_id": "ca58a00f-82fb-4fd0-bd21-ed45eab7128d",
    "key": "NCR-0f5b781b",
    "group": "disposition",
    "policy": "review",
    "verdict": "review",
    "base": {"disposition": None},
    "here": {
        "value": {"disposition": "USE_AS_IS"}, "site": "SITE_001", "writer": "j.kiss",
        "at": "2026-11-26T05:00:02.000Z",
    },
    "central": {
        "value": {"disposition": "SCRAP"}, "site": "*", "writer": "planner",
        "at": "2026-11-27T15:37:02.113Z",
    },
    "result": {"disposition": "USE_AS_IS"},
    "clock_clamped": False,
    "tx_id": "b3dfb9fc-7a5e-4a24-9a8c-0f3f2b6c7a11",
    "decided_at": "2026-11-27T15:37:02.251Z",
    "review": {
        "id": "5a0b2f1e-8c83-5f5c-9a56-2f7f0c1a9d3e", "state": "OPEN",
        "shown": {"disposition": "USE_AS_IS"}, "take": None, "value": None, "decided_by": None,
        "reason": None, "decided_at": None,
    },
    "base_version": "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c00",
    "state": "open",
}  # fmt: skip

HEALTH: Final = {"status": "ok", "database": True, "broker": True}
KIND: Final = {
    "type": "/problems/not-your-site", "status": 403,
    "title": "The key or token reaches no such site.",
}  # fmt: skip
CONFLICTS: Final = {
    "schema": "mes-central.conflicts/v1", "conflicts": [_CONFLICT], "next": None,
}  # fmt: skip
CONFLICT: Final = {
    "schema": "mes-central.conflict/v1", **_CONFLICT,
    "standing": {
        "version": "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c01",
        "values": {"ncr_no": "NCR-0f5b781b", "state": "OPEN", "disposition": "USE_AS_IS"},
    },
}  # fmt: skip
RESOLUTION: Final = {
    "schema": "mes-central.resolution/v1",
    "id": "01dd0919-3262-56ae-a337-38b1f29cd114",
    "site": "SITE_001",
    "table": "nonconformances",
    "row_id": "ca58a00f-82fb-4fd0-bd21-ed45eab7128d",
    "before": {"ncr_no": "NCR-0f5b781b", "state": "OPEN", "disposition": "USE_AS_IS"},
    "changes": {"disposition": "SCRAP"},
    "deleted": False,
    "taken": {"disposition": "SCRAP"},
    "again": False,
}

_EXPORT: Final = {
    "id": "0199b1f0-5c3e-7a10-8a1e-0a4f6a2b9c02",
    "report": "log",
    "query": {"from": "2026-01-01", "to": "2026-02-01"},
    "format": "parquet",
    "sites": ["SITE_001"],
    "state": "running",
    "why": "",
    "asked_at": "2026-11-28T05:00:00.000Z",
    "begun_at": "2026-11-28T05:00:00.412Z",
    "ended_at": None,
    "expires_at": "2026-12-05T05:00:00.000Z",
    "rows": 131072,
    "rows_expected": 524288,
    "progress": 0.25,
    "bytes": 3145728,
    "sha256": None,
    "as_of": None,
    "complete_through": None,
    "provisional": None,
    "archived_not_counted": None,
    "file": None,
}
EXPORT: Final = {"schema": "mes-central.export/v1", **_EXPORT}
EXPORTS: Final = {"schema": "mes-central.exports/v1", "exports": [_EXPORT]}


def shown(example: Any) -> dict[int | str, dict[str, Any]]:
    """Return what describes an answer by its example, for a route's ``responses``."""
    return {200: {"content": {"application/json": {"example": example}}}}
