"""Metrics of an ingest worker, which has no API: over HTTP, from a thread of their own."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from central.scrapes import NeedsMetricsToken, NotFromHere
from shared.errors import BadSetting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from central.scrapes import Scrapers

#: Seconds that a client may take to say what it wants.
_PATIENCE_S = 10.0


class _Asked(WSGIRequestHandler):
    """One request; it is not logged, and who says nothing is left."""

    timeout = _PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
        """Log nothing."""

    def address_string(self) -> str:
        """Return the address, without asking the network for its name."""
        return str(self.client_address[0])


@contextmanager
def serving(host: str, port: int, scrapers: Scrapers) -> Iterator[None]:
    """Answer until left; raise BadSetting where the port is taken."""

    class Server(ThreadingWSGIServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = make_server(host, port, guarded(scrapers), Server, handler_class=_Asked)
    except OSError as error:
        raise BadSetting(f"--metrics-port {port}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def guarded(scrapers: Scrapers) -> WSGIApplication:
    """Return what answers with all metrics, to those who may read them."""
    metrics: WSGIApplication = make_wsgi_app()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        try:
            scrapers.check(environ["REMOTE_ADDR"], headers)
        except NeedsMetricsToken as error:
            challenge = ("WWW-Authenticate", "Bearer")
            start_response("401 Unauthorized", [("Content-Type", "text/plain"), challenge])
            return [f"{error}\n".encode()]
        except NotFromHere as error:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [f"{error}\n".encode()]
        return metrics(environ, start_response)

    return answer
