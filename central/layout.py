"""The streams that the broker must have, by the centre's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sync.streams import Layout, StreamLimits, desired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from central.settings import CentralSettings


def layout(settings: CentralSettings, sites: Iterable[str]) -> Layout:
    """Return the streams and durables of these sites."""
    size = settings.nats_stream_mib << 20
    limits = StreamLimits(up_bytes_max=size, down_bytes_max=size)
    return desired(sites, replicas=settings.nats_replicas, limits=limits)
