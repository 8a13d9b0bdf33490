"""What all tests share: servers, databases, and the chance they run with.

The only place of the tests that reads the environment: MES_DATABASE_URL and MES_NATS_URL, as for
the programs, put real servers in the place of the embedded ones.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psutil
import psycopg
import pytest
from psycopg import sql

from deploy.local.servers import NatsServer, PostgresServer
from deploy.local.versions import (
    broker_version,
    check_broker_version,
    check_database_version,
    database_version,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# A failure prints the blob that repeats it; time limits belong to the benchmarks.
hypothesis.settings.register_profile("mes", deadline=None, print_blob=True)
hypothesis.settings.load_profile("mes")

#: A test that asks for one of these gets the marker, so that `make check` can leave it out.
MARKER_OF_FIXTURE = {
    "postgres_url": "postgres",
    "database": "postgres",
    "nats_url": "nats",
    "nats_server": "nats",
}

#: What takes minutes begins first, or one process would wait while another ends the last of it.
LONGEST = ("test_api_schema.py", "test_soak.py", "test_demo.py", "test_reports_answers.py")

SEED = pytest.StashKey[int]()

#: A file system in memory, and the bytes that have to be free in it.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="repeat a simulated run: the seed that it printed")


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--seed")
    drawn = getattr(config, "workerinput", {}).get("seed", secrets.randbelow(2**32))
    config.stash[SEED] = drawn if given is None else given


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Have all processes of a run draw from one seed, the one that a failure prints."""
    node.workerinput["seed"] = node.config.stash[SEED]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    failed = [report.nodeid for report in terminalreporter.getreports("failed")]
    if any(name.startswith("tests/sim") for name in failed):
        line = f"repeat this run: pytest tests/sim --seed {config.stash[SEED]}"
        terminalreporter.write_line(line, red=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if " at 0x" in item.nodeid:
            # Another process would know the test by another name, and it could not be repeated.
            raise pytest.UsageError(f"{item.nodeid}: give this case an id that says what it is")
        for name in getattr(item, "fixturenames", ()):
            if name in MARKER_OF_FIXTURE:
                item.add_marker(MARKER_OF_FIXTURE[name])


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run: given by --seed, or drawn; a simulated world derives all from it."""
    return request.config.stash[SEED]


@pytest.fixture(scope="session")
def _superuser_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get("MES_DATABASE_URL"):
        check_database_version(database_version(given))
        yield given
        return
    # Its data have no value after the run. Tests that cut the power start a server of their own.
    with (
        _folder_in_memory(tmp_path_factory) as root,
        PostgresServer(root, parameters={"fsync": "off"}) as server,
    ):
        yield server.url()


@contextmanager
def _folder_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder in memory where there is room for it, else one on a disk.

    Each test has a database of its own, a thousand files. ext4 without a journal looks past all
    that were deleted within minutes before it makes one: 1.5 s of CPU for a database.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("postgres")
        return
    for left in MEMORY.glob("mes-tests-*"):  # by runs that were killed
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=f"mes-tests-{os.getpid()}-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url(_superuser_url: str) -> Iterator[str]:
    """A superuser's address of a database that lives as long as the test session."""
    yield from _new_database(_superuser_url, "session")


@pytest.fixture
def database(_superuser_url: str) -> Iterator[str]:
    """A superuser's address of a new, empty database, which is dropped after the test."""
    yield from _new_database(_superuser_url, "test")


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a plain server without accounts, shared by all tests: use your own names."""
    if given := os.environ.get("MES_NATS_URL"):
        check_broker_version(broker_version(given))
        yield given
        return
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server.url


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A plain server without accounts for one test, which may stop, kill and restart it."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


def _new_database(superuser_url: str, purpose: str) -> Iterator[str]:
    name = f"mes_{purpose}_{secrets.token_hex(6)}"
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )
    yield urlunsplit(urlsplit(superuser_url)._replace(path=f"/{name}"))
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
