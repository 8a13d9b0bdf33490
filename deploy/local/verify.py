"""Looks at both ends once all has settled, and gathers what the report tells."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row

from deploy.local import quarrel
from deploy.local.contents import compare_site
from deploy.local.plainsql import PlainStore
from deploy.local.report import Measured
from deploy.local.settled import look
from shared.catalog import ColumnType, Kind
from shared.values import canonical

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from deploy.local.contents import Comparison
    from deploy.local.rehearsal import Rehearsal
    from deploy.local.world import World


def measured(
    world: World, rehearsal: Rehearsal, chance: random.Random, answers: Mapping[str, str]
) -> Measured:
    """Return everything that a run has found out."""
    with psycopg.connect(world.url("mes_analyst"), autocommit=True) as centre:
        comparisons = [each for site in world.sites for each in _compared(world, centre, site)]
        conflicts = centre.execute(
            "SELECT policy, count(*) FROM mes.sync_conflicts GROUP BY policy"
        )
        parked = centre.execute(
            "SELECT site_id, table_name, reason, coalesce(message, '') FROM mes.sync_parked"
            " WHERE state IN ('parked', 'waiting') ORDER BY parked_at"
        )
        shown = _shown(centre, rehearsal.ids[quarrel.SHOWN[1]])
        site = rehearsal.lone_site
        with closing(PlainStore(world.store(site), chance)) as store:
            outcomes = quarrel.outcomes(store, rehearsal.office, world.catalog, site, rehearsal.ids)
        return Measured(
            sites=world.sites,
            comparisons=comparisons,
            outcomes=outcomes,
            conflicts=dict(conflicts.fetchall()),
            shown=shown,
            parked=[(s, t, r, m) for s, t, r, m in parked],
            latencies_ms=rehearsal.latencies_ms,
            probes_lost=rehearsal.probes_lost,
            rates=rehearsal.rates,
            answers=answers,
        )


def _compared(world: World, centre: psycopg.Connection[Any], site: str) -> list[Comparison]:
    with closing(look(world.store(site))) as store:
        return compare_site(store, centre, world.catalog, site)


def _shown(centre: psycopg.Connection[Any], row_id: str) -> dict[str, Any] | None:
    with centre.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT * FROM mes.sync_conflicts WHERE row_id = %s LIMIT 1", [row_id])
        row = cursor.fetchone()
    return {name: _instant(value) for name, value in row.items()} if row else None


def _instant(value: Any) -> Any:
    """Return an instant as both ends write it, anything else as it is."""
    if isinstance(value, datetime):
        return canonical(ColumnType(Kind.TIMESTAMP), value)
    return value
