"""``mes-central keys``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from central.cli import exits
from central.cli.given import keys_dir, settings
from central.cli.look import as_json, say, say_json

if TYPE_CHECKING:
    from sync.accounts import ServerSettings


@click.group()
def keys() -> None:
    """Make keys and credentials in MES_KEYS_DIR; print what the broker has to know of them.

    Back the folder up, and keep it from others: who has it can speak for every site.
    """


@keys.command()
@click.argument("sites", nargs=-1, metavar="[SITE]...")
@as_json
def init(sites: tuple[str, ...], *, json_wanted: bool) -> int:
    """Make the keys of the operator, the centre and these sites; what is there stays."""
    from sync.accounts import CENTRAL, creds_path, ensure_keys, known_sites

    folder = keys_dir(settings(needs_database=False))
    before = set(known_sites(folder))
    ensure_keys(folder, sorted({*before, *sites}), now_s=int(time.time()))
    files = {who: str(creds_path(folder, who)) for who in (CENTRAL, *known_sites(folder))}
    if json_wanted:
        say_json({"schema": "mes-central.keys/v1", "folder": str(folder), "credentials": files})
        return exits.OK
    say(f"keys in {folder}")
    for who, path in files.items():
        say(f"  {who:<20}  {path}{'  new' if who not in before and who != CENTRAL else ''}")
    say("next: mes-central keys server-config > nats.conf, and start nats-server with it")
    return exits.OK


@keys.command()
@click.option("--name", default="hub", show_default=True, help="Name of the server.")
@click.option("--listen", default="0.0.0.0:4222", show_default=True, help="Address and port.")
@click.option(
    "--store-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/nats"),
    show_default=True,
    help="Where the broker keeps its streams.",
)
@click.option("--monitor", help="Address of the monitoring page, such as 127.0.0.1:8222.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="File with the certificate.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="File with its key.")
@click.option("--cluster", help="Name of the cluster; with --cluster-listen and --route.")
@click.option("--cluster-listen", default="0.0.0.0:6222", show_default=True, help="For its peers.")
@click.option("--route", "routes", multiple=True, help="nats-route://host:6222 of each server.")
@click.option("--trust-only", is_flag=True, help="Only whom to trust, for a file of your own.")
def server_config(*, trust_only: bool, store_dir: Path, **given: object) -> int:
    """Print the configuration by which a nats-server knows all accounts of MES_KEYS_DIR.

    It holds no secret. A site that is added later is told to the running server.
    """
    from sync.accounts import server_config as whole
    from sync.accounts import trust_config

    folder = keys_dir(settings(needs_database=False))
    if trust_only:
        click.echo(trust_config(folder, store_dir / "accounts"), nl=False)
    else:
        click.echo(whole(folder, server_settings(store_dir, given)), nl=False)
    return exits.OK


def server_settings(store_dir: Path, given: dict[str, object]) -> ServerSettings:
    """Return what a server is told, from the options of ``server-config``."""
    from sync.accounts import ClusterSettings, ServerSettings

    cluster = None
    if given["cluster"]:
        if not given["routes"]:
            raise click.UsageError("--cluster needs a --route for each of its servers")
        cluster = ClusterSettings(
            name=str(given["cluster"]), listen=str(given["cluster_listen"]), routes=given["routes"]  # type: ignore[arg-type]
        )  # fmt: skip
    return ServerSettings(
        name=str(given["name"]), listen=str(given["listen"]), store_dir=store_dir.absolute(),
        monitor=given["monitor"], cluster=cluster,  # type: ignore[arg-type]
        tls_cert_file=given["tls_cert"], tls_key_file=given["tls_key"],  # type: ignore[arg-type]
    )  # fmt: skip
