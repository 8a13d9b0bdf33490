"""The two servers that the centre needs: embedded by default, real ones where addresses are given.

This is the public door of the embedded servers: `PostgresServer`, `NatsServer`, `NatsCluster`, and
`open_servers`, which decides between them and servers of somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from deploy.local.broker import NatsCluster, NatsServer
from deploy.local.folder import FolderInUse
from deploy.local.postgres import PostgresServer
from deploy.local.program import ProgramFailed
from deploy.local.versions import (
    broker_version,
    check_broker_version,
    check_database_version,
    database_version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "FolderInUse",
    "NatsCluster",
    "NatsServer",
    "PostgresServer",
    "ProgramFailed",
    "ServerSettings",
    "Servers",
    "open_servers",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Where the servers are, or where to keep those that are started."""

    #: Folder of the embedded servers; unused for a server given by address.
    root: Path
    #: A superuser's address of a PostgreSQL of your own (MES_DATABASE_URL); empty: embedded.
    database_url: str = ""
    #: Addresses of a NATS of your own (MES_NATS_URL); empty: embedded.
    nats_url: str = ""
    #: Added to the embedded broker's configuration: accounts and the like.
    nats_config: str = ""
    postgres_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Both servers, answering."""

    database_url: str
    nats_url: str
    #: None where the server is somebody else's.
    postgres: PostgresServer | None
    nats: NatsServer | None

    def stop(self) -> None:
        """Stop what was started here, and nothing else."""
        for server in (self.nats, self.postgres):
            if server is not None:
                server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def open_servers(settings: ServerSettings) -> Servers:
    """Return both servers, started here or given by address, once they answer.

    Raises ServerTooOld where one is not supported, and leaves nothing running when it raises.
    """
    if settings.database_url:
        check_database_version(database_version(settings.database_url))
    if settings.nats_url:
        check_broker_version(broker_version(settings.nats_url))
    postgres = nats = None
    try:
        if not settings.database_url:
            parameters = settings.postgres_parameters
            postgres = PostgresServer(settings.root / "postgres", parameters=parameters).start()
        if not settings.nats_url:
            nats = NatsServer(settings.root / "nats", config=settings.nats_config).start()
    except BaseException:
        if postgres is not None:
            postgres.stop()
        raise
    return Servers(
        database_url=postgres.url() if postgres else settings.database_url,
        nats_url=nats.url if nats else settings.nats_url,
        postgres=postgres,
        nats=nats,
    )
