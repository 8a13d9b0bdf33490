"""What Prometheus sees of both ends is what happened."""

from __future__ import annotations

from prometheus_client import REGISTRY

from tests.faults.cases import local_orders, planned_orders, state_events
from tests.integration.central_world import execute
from tests.integration.whole_world import whole_world

SITE = "SITE_002"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"site": SITE, **labels}) or 0


async def test_rows_conflicts_lag_and_backlog_show_in_the_metrics(centre, nats_server, tmp_path):
    async with whole_world(centre, nats_server.url, tmp_path, (SITE,), metrics_port=1) as world:
        await world.settle()
        edge, before = world.edges[SITE], sample("mes_central_rows_total")
        edge.write(local_orders("A1"), state_events(10))
        await world.settle()
        assert sample("mes_central_rows_total") - before == 11
        assert 0 <= sample("mes_central_lag_seconds") < 30
        await edge.stop()
        edge.write("UPDATE work_orders SET notes = 'here'")
        await execute(world.url, "UPDATE mes.work_orders SET notes = 'there'")
        await execute(world.url, planned_orders("B1", site=SITE))
        await edge.start()
        await world.settle()
        assert sample("mes_central_conflicts_total", policy="last_write") == 1
        await world.eventually(lambda: sample("mes_edge_conflicts_today", policy="last_write") == 1)
        assert sample("mes_edge_connected") == 1
        assert sample("mes_edge_rows_total", direction="down") >= 1
        await world.eventually(lambda: sample("mes_edge_backlog_transactions") == 0)
        assert REGISTRY.get_sample_value("mes_central_feed_entries_total", {"scope": SITE}) >= 2
