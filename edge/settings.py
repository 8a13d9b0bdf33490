"""Settings of an edge agent and of its commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (read_settings looks at the types)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSettings:
    """What an edge needs to know; each field is the variable ``MES_<FIELD>``."""

    site: str = field(metadata={"help": "name of this factory, as registered at the centre"})
    store: Path = field(metadata={"help": "the SQLite file that the plant's programs write"})
    nats_servers: tuple[str, ...] = field(
        default=("nats://127.0.0.1:4222",), metadata={"help": "addresses of the centre's brokers"}
    )
    nats_creds: Path | None = field(
        default=None, metadata={"help": "file with this site's credentials"}
    )
    catalogue_dirs: tuple[Path, ...] = field(
        default=(), metadata={"help": "folders with the plant's own table files, parted by ':'"}
    )
    bytes_per_s_max: int = field(
        default=0, metadata={"help": "bandwidth limit in each direction, bytes/s; 0 for none"}
    )
    drain_pause_ms: int = field(
        default=250, metadata={"help": "least time between two drains while writes keep coming, ms"}
    )
    beat_s: float = field(
        default=15.0, metadata={"help": "how often the agent says hello to the centre, s"}
    )
    facts_stop_bytes: int = field(
        default=200_000_000,
        metadata={"help": "with less room on the store's disk new facts are refused, bytes"},
    )
    facts_go_bytes: int = field(
        default=300_000_000, metadata={"help": "with so much room they are taken again, bytes"}
    )
    compare_hour: int = field(
        default=2,
        metadata={"help": "hour, local time, from which the store is compared nightly; -1 never"},
    )
    metrics_port: int = field(
        default=0, metadata={"help": "port of the Prometheus metrics on loopback; 0 for none"}
    )
    log_level: str = field(default="info", metadata={"help": "debug, info, warning or error"})
