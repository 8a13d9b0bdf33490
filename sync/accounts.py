"""Keys and tokens of everyone who talks to the broker, and the configuration that trusts them.

`ensure_keys` makes a directory of keys; `server_config` the text by which a broker trusts them;
`trust_config` is the part of it that stays the same however the server is run. `creds_path` names
the file by which a program connects; `push_account` tells a running broker of a
site that came later. Secrets are in files of that directory only, never in a text returned here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.errors import BadSetting, NotAuthorised
from sync.nats_grants import (
    MESSAGE_BYTES_MAX,
    Claims,
    account,
    central_account,
    check_site,
    site_account,
    site_user,
    user,
)
from sync.nats_keys import (
    ACCOUNT,
    OPERATOR,
    USER,
    Key,
    creds_text,
    new_key,
    private_directory,
    read_claims,
    read_creds,
    read_or_make_key,
    sign_token,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["check_site"]

#: Names that are no sites, as those are in capitals: the broker's own account, and the centre's.
SYS: Final = "sys"
CENTRAL: Final = "central"
_PUSH_TIMEOUT_S: Final = 5.0

# --- the directory of keys ------------------------------------------------------------------


def ensure_keys(directory: Path, sites: Iterable[str], *, now_s: int = 0) -> None:
    """Have keys, account tokens and credentials of operator, SYS, the centre and these sites.

    What is there stays, byte for byte, unless its rights have changed since. Directories are 0700,
    files 0600. `now_s` dates new tokens (seconds since 1970): give it where an account that a
    running broker knows may change, as the broker keeps the younger one.
    """
    operator = _operator(directory, now_s)
    central_key = _account_key(directory, CENTRAL)
    _ensure_member(directory, operator, SYS, (account({}), user()), now_s)
    _ensure_member(directory, operator, CENTRAL, (central_account(), user()), now_s)
    for site in sites:
        grants = site_account(check_site(site), central_key.public), site_user(site)
        _ensure_member(directory, operator, site, grants, now_s)


def creds_path(directory: Path, who: str) -> Path:
    """Return the credentials of `sys`, `central` or a site."""
    return _folder(directory, who) / "user.creds"


def account_token(directory: Path, who: str) -> str:
    """Return the token that tells a broker of an account; not secret."""
    path = _folder(directory, who) / "account.jwt"
    if not path.exists():
        msg = f"no keys of {who} in {directory}; make them with ensure_keys"
        raise BadSetting(msg)
    return path.read_text().strip()


def known_sites(directory: Path) -> list[str]:
    """Return the sites that have keys here."""
    sites = directory / "sites"
    return sorted(path.name for path in sites.iterdir()) if sites.is_dir() else []


def _folder(directory: Path, who: str) -> Path:
    return directory / who if who in {SYS, CENTRAL} else directory / "sites" / check_site(who)


def _account_key(directory: Path, who: str) -> Key:
    folder = _folder(directory, who)
    private_directory(folder.parent)
    return read_or_make_key(private_directory(folder) / "account.seed", ACCOUNT)


def _operator(directory: Path, now_s: int) -> Key:
    operator = read_or_make_key(private_directory(directory) / "operator.seed", OPERATOR)
    grant = {
        "type": "operator",
        "version": 2,
        "system_account": _account_key(directory, SYS).public,
    }
    path = directory / "operator.jwt"
    _ensure_token(path, operator, (operator.public, "mes-sync"), grant, now_s)
    return operator


def _ensure_member(
    directory: Path, operator: Key, who: str, grants: tuple[Claims, Claims], now_s: int
) -> None:
    account_grant, user_grant = grants
    holder = _account_key(directory, who)
    folder = _folder(directory, who)
    _ensure_token(folder / "account.jwt", operator, (holder.public, who), account_grant, now_s)
    path = folder / "user.creds"
    if path.exists():
        token, login = read_creds(path)
        if _says(token, holder, login.public, user_grant):
            return
    else:
        login = new_key(USER)
    token = sign_token(holder, login.public, who, user_grant, issued_at_s=now_s)
    write_private(path, creds_text(token, login))


def _ensure_token(
    path: Path, issuer: Key, holder: tuple[str, str], grant: Claims, now_s: int
) -> None:
    public, name = holder
    if path.exists() and _says(path.read_text().strip(), issuer, public, grant):
        return
    token = sign_token(issuer, public, name, grant, issued_at_s=now_s)
    write_private(path, f"{token}\n".encode())


def _says(token: str, issuer: Key, subject: str, grant: Claims) -> bool:
    claims = read_claims(token)
    return (claims["iss"], claims["sub"], claims["nats"]) == (issuer.public, subject, grant)


# --- what the broker is told ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """How the servers of one cluster find each other."""

    name: str
    listen: str
    #: Addresses like `nats-route://host:6222` of all its servers.
    routes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one nats-server is told besides whom to trust."""

    name: str
    #: Port -1 lets the system choose; start the server with `--ports_file_dir` to learn it.
    listen: str = "127.0.0.1:-1"
    store_dir: Path
    #: All streams' max_bytes together must fit in.
    file_bytes_max: int = 64 << 30
    memory_bytes_max: int = 256 << 20
    cluster: ClusterSettings | None = None
    #: Address of the monitoring page, like `127.0.0.1:8222`, or None.
    monitor: str | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None


def trust_config(directory: Path, resolver_dir: Path) -> str:
    """Return the part of a nats-server's configuration that lets it know all accounts here.

    In `resolver_dir` the server keeps what it is told later; what is younger there than here stays.
    """
    tokens = [account_token(directory, who) for who in (SYS, CENTRAL, *known_sites(directory))]
    operator = (directory / "operator.jwt").read_text().strip()
    lines = [
        f"operator: {operator}",
        f"system_account: {read_claims(operator)['nats']['system_account']}",
        "resolver {",
        "  type: full",
        f"  dir: {json.dumps(str(resolver_dir))}",
        "  allow_delete: true",
        '  interval: "2m"',
        "}",
        "resolver_preload {",
        *sorted(f"  {read_claims(token)['sub']}: {token}" for token in tokens),
        "}",
    ]
    return "\n".join(lines) + "\n"


def server_config(directory: Path, server: ServerSettings) -> str:
    """Return the whole configuration of a nats-server that knows all accounts of this directory."""
    text = _SERVER.format(
        name=json.dumps(server.name),
        listen=json.dumps(server.listen),
        max_payload=MESSAGE_BYTES_MAX,
        store_dir=json.dumps(str(server.store_dir / "jetstream")),
        file_bytes_max=server.file_bytes_max,
        memory_bytes_max=server.memory_bytes_max,
    )
    return text + _optional_config(server) + trust_config(directory, server.store_dir / "accounts")


_SERVER: Final = """\
server_name: {name}
listen: {listen}
max_payload: {max_payload}
jetstream {{
  store_dir: {store_dir}
  domain: hub
  max_file_store: {file_bytes_max}
  max_memory_store: {memory_bytes_max}
  # Without it the broker acknowledges what a power cut then takes away.
  sync_interval: always
  limits {{
    # A batch of large messages over a slow link may pause for longer than the usual 10 s.
    batch {{ max_inflight_per_stream: 64, max_inflight_total: 2000, timeout: "60s" }}
  }}
}}
"""


def _optional_config(server: ServerSettings) -> str:
    text = ""
    if server.monitor:
        text += f"http: {json.dumps(server.monitor)}\n"
    if server.tls_cert_file and server.tls_key_file:
        cert, key = json.dumps(str(server.tls_cert_file)), json.dumps(str(server.tls_key_file))
        text += f"tls {{ cert_file: {cert}, key_file: {key}, timeout: 3 }}\n"
    if server.cluster:
        cluster = server.cluster
        routes = ", ".join(map(json.dumps, cluster.routes))
        text += (
            f"cluster {{ name: {json.dumps(cluster.name)}, listen: {json.dumps(cluster.listen)},"
            f" routes: [{routes}] }}\n"
        )
    return text


class Asker(Protocol):
    """What can put a question to the broker, as `sys`."""

    async def request(self, subject: str, payload: bytes, *, timeout_s: float = ...) -> bytes:
        """Return the answer."""
        ...


async def push_account(asker: Asker, token: str) -> None:
    """Tell a running broker, or its whole cluster, of an account, new or changed.

    `asker` is a link with the credentials of `sys`. Raises NotAuthorised when the token is refused.
    """
    subject = "$SYS.REQ.CLAIMS.UPDATE"
    raw = await asker.request(subject, token.encode(), timeout_s=_PUSH_TIMEOUT_S)
    answer: dict[str, Any] = json.loads(raw)
    if refusal := answer.get("error"):
        msg = f"the broker refuses the account: {refusal.get('description', refusal)}"
        raise NotAuthorised(msg)
