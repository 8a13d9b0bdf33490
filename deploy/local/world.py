"""A centre, its broker and its sites on this machine: started in order, stopped in order.

Everything lies in one folder, which one run at a time holds. All processes hold its lock as well,
so a run that was killed leaves the folder to the next one only when the last of them is gone.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from central.roles import as_role
from deploy.local import guest
from deploy.local.fleet import CENTRAL, EDGE, Fleet
from deploy.local.folder import FolderInUse, claim, free_ports
from deploy.local.network import Network
from deploy.local.servers import NatsServer, PostgresServer
from deploy.local.versions import check_database_version, database_version, host_and_port
from shared.catalog_file import load_catalog
from sync.accounts import CENTRAL as CENTRAL_USER
from sync.accounts import creds_path, ensure_keys, trust_config
from sync.streams import DOWN, up_stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deploy.local.planning import SitePlan
    from shared.catalog import Catalog

INGEST_WORKERS: Final = 2
#: Marks a folder as ours: no other is ever cleared.
MARK: Final = "made-by-mes-demo"
DATABASE: Final = "mes"
#: The broker reserves as much for each stream.
STREAM_BYTES: Final = 1 << 30


@dataclass(slots=True)
class World:
    """The running programs; `with World(root, sites) as world`."""

    root: Path
    plans: Sequence[SitePlan]
    #: Whether the API and the dashboard are served.
    has_pages: bool = False
    catalog: Catalog = field(default_factory=load_catalog)
    fleet: Fleet = field(init=False)
    network: Network = field(init=False)
    #: Of the dashboard; empty where there is none.
    address: str = ""
    _stack: ExitStack = field(default_factory=ExitStack)
    _superuser_url: str = ""
    _nats_url: str = ""

    def __enter__(self) -> Self:
        """Take the folder, cleared of what an earlier run left there."""
        lock = take(self.root)
        self._stack.callback(os.close, lock)
        logs = self.root / "logs"
        logs.mkdir()
        self.fleet = Fleet(logs, held=(lock,))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def sites(self) -> tuple[str, ...]:
        """Return the names of the sites."""
        return tuple(plan.name for plan in self.plans)

    @property
    def keys(self) -> Path:
        """Return the folder of the broker's keys."""
        return self.root / "keys"

    @property
    def key_file(self) -> Path:
        """Return the file with the key of the API and the dashboard."""
        return self.root / "dashboard.key"

    def store(self, site: str) -> Path:
        """Return a site's SQLite file."""
        return self.root / "sites" / site / "store.db"

    def url(self, role: str = "") -> str:
        """Return the address of the centre's database, for a role or for its superuser."""
        return as_role(self._superuser_url, role) if role else self._superuser_url

    # --- starting -----------------------------------------------------------------------------

    def start_database(self, given_url: str) -> str:
        """Start PostgreSQL, or use the server given; return its version."""
        if given_url:
            check_database_version(database_version(given_url))
            server_url, name = given_url, f"mes_demo_{secrets.token_hex(4)}"
            self._stack.callback(_drop_database, server_url, name)
        else:
            server = self._stack.enter_context(PostgresServer(self.root / "postgres"))
            server_url, name = server.url(), DATABASE
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            version = connection.info.server_version
        self._superuser_url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        return f"{version // 10000}.{version % 10000}"

    def start_broker(self, given_url: str) -> str:
        """Start a broker that knows an account for each site, or use the one given; say which."""
        if given_url:
            # It knows no accounts of ours, so everyone comes as a guest.
            guest.enter(given_url)
            names = [DOWN, *map(up_stream, self.sites)]
            self._stack.callback(guest.leave, given_url, names)
            self._nats_url, said = given_url, "without accounts for the sites"
        else:
            self._nats_url, said = self._own_broker(), f"{len(self.plans)} sites have accounts"
        # The first of several: each link leads to one.
        host, port = host_and_port(self._nats_url.split(",")[0].strip())
        self.network = self._stack.enter_context(Network(host, port))
        # The last to be started are the first to be stopped: our programs before the servers.
        self._stack.callback(self.fleet.stop_all)
        return said

    def _own_broker(self) -> str:
        ensure_keys(self.keys, self.sites)
        folder = self.root / "nats"
        server = NatsServer(
            folder,
            config=trust_config(self.keys, folder / "accounts"),
            store_bytes_max=(len(self.plans) + 2) * STREAM_BYTES,
        )
        return self._stack.enter_context(server).url

    def migrate(self) -> None:
        """Make the centre's tables and register the sites."""
        self.fleet.finish("migrate", CENTRAL, "migrate", **self.central_settings())
        self.fleet.finish("sites", CENTRAL, "sites", "add", *self.sites, **self.central_settings())

    def start_centre(self) -> None:
        """Start the feed and the ingest workers."""
        pages = self._pages() if self.has_pages else {}
        self.fleet.start("feed", CENTRAL, "feed", **self.central_settings(), **pages)
        for number in range(1, INGEST_WORKERS + 1):
            self.fleet.start(f"ingest-{number}", CENTRAL, "ingest", **self.central_settings())

    def _pages(self) -> dict[str, Any]:
        """Return the settings of the API and the dashboard, and make a key for them."""
        (port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        add = ("api-keys", "add", "demo", "--grant", "admin", "--key-file", str(self.key_file))
        self.fleet.finish("api-key", CENTRAL, *add, **self.central_settings())
        return {"api_port": port, "export_dir": self.root / "exports"}

    def start_site(self, site: str) -> None:
        """Start the agent of a site; it makes the store."""
        self.store(site).parent.mkdir(parents=True, exist_ok=True)
        self.fleet.start(f"{site}-agent", EDGE, "run", **self.edge_settings(site))

    def edge_settings(self, site: str) -> dict[str, Any]:
        """Return a site's settings: it reaches the broker by its own link, as itself."""
        return {
            "site": site,
            "store": self.store(site),
            "nats_servers": self.network.address(site),
        } | self._creds(site)

    def central_settings(self) -> dict[str, Any]:
        """Return the settings of the centre's programs."""
        return {
            "database_url": self.url("mes_ingest"),
            "admin_url": self.url(),
            "nats_servers": self._nats_url,
        } | ({"keys_dir": self.keys, **self._creds(CENTRAL_USER)} if self.keys.exists() else {})

    def _creds(self, who: str) -> dict[str, Any]:
        """Return whom to come as; a broker of somebody else asks for nobody."""
        return {"nats_creds": creds_path(self.keys, who)} if self.keys.exists() else {}


def take(root: Path) -> int:
    """Return the lock of the folder, which then holds nothing but what is ours and new.

    Raises FolderInUse where a run goes on in it, or where it holds what no demo has made.
    """
    fresh = not root.exists() or not any(root.iterdir())
    if not fresh and not (root / MARK).exists():
        message = f"{root} holds something else; choose an empty folder (MES_DEMO_DIR)"
        raise FolderInUse(message)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()
    lock = claim(root)
    # The servers of a killed run may still be on their way down; each holds its own folder.
    for part in ("postgres", "nats"):
        if (root / part).exists():
            os.close(claim(root / part))
    for each in root.iterdir():
        if each.name not in (MARK, "lock"):
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    return lock


def _drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
