"""Keys and signed tokens as nats-server wants them in operator mode, and the files they live in.

A token is a JWT with the header algorithm `ed25519-nkey`: version 2 claims, signed with the nkey of
the issuer. Writing them takes a page; the packages that offer it pull in far more than that.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import nkeys

from shared.errors import BadSetting

if TYPE_CHECKING:
    from pathlib import Path

Claims = dict[str, Any]

_nkeys: Any = nkeys  # it has no types
_HEADER: Final = {"typ": "JWT", "alg": "ed25519-nkey"}
_SEED_BYTES: Final = 32
_CREDS: Final = """-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

************************* IMPORTANT *************************
Whoever holds this file is this user. Keep it readable by the program alone.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""

OPERATOR: Final[int] = _nkeys.PREFIX_BYTE_OPERATOR
ACCOUNT: Final[int] = _nkeys.PREFIX_BYTE_ACCOUNT
USER: Final[int] = _nkeys.PREFIX_BYTE_USER


@dataclass(frozen=True, slots=True)
class Key:
    """A pair of keys; never shown, its public half is `public`."""

    _seed: bytes

    def __repr__(self) -> str:
        """Return the public half, so that no log can hold the other."""
        return f"Key({self.public})"

    @property
    def public(self) -> str:
        """The name under which the server knows the holder."""
        return str(self._pair().public_key.decode())

    @property
    def seed(self) -> bytes:
        """The secret half, for its file alone."""
        return self._seed

    def sign(self, text: bytes) -> bytes:
        """Return the signature of a text."""
        return bytes(self._pair().sign(text))

    def _pair(self) -> Any:
        return _nkeys.from_seed(bytearray(self._seed))


def new_key(kind: int) -> Key:
    """Return a key of the kind OPERATOR, ACCOUNT or USER, made by the system's own randomness."""
    return Key(bytes(_nkeys.encode_seed(os.urandom(_SEED_BYTES), kind)))


def sign_token(
    issuer: Key,
    holder: str,
    name: str,
    grant: Claims,
    *,
    issued_at_s: int,
    expires_at_s: int | None = None,
) -> str:
    """Return the token by which `issuer` grants something to the holder of that public key."""
    claims = {
        "iat": issued_at_s,
        "iss": issuer.public,
        "name": name,
        "nats": grant,
        "sub": holder,
    }
    if expires_at_s is not None:
        claims["exp"] = expires_at_s
    # The server takes a token with a known id for one that it already has.
    digest = hashlib.sha256(_compact(claims)).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    body = f"{_base64(_compact(_HEADER))}.{_base64(_compact(claims))}"
    return f"{body}.{_base64(issuer.sign(body.encode()))}"


def read_claims(token: str) -> Claims:
    """Return what a token of ours says; its signature is for the server to check."""
    try:
        part = token.split(".")[1]
        claims: Claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError) as error:
        msg = "not a token; restore the keys directory from its backup, or make new keys"
        raise BadSetting(msg) from error
    return claims


def _compact(claims: Claims) -> bytes:
    return json.dumps(claims, separators=(",", ":"), sort_keys=True).encode()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


# --- files ----------------------------------------------------------------------------------


def private_directory(path: Path) -> Path:
    """Return the directory, made if need be, and refuse one that others can look into."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        msg = f"{path} holds keys and is open to others; run `chmod 700 {path}`"
        raise BadSetting(msg)
    return path


def write_private(path: Path, text: bytes) -> None:
    """Put the text in place whole or not at all, readable by the owner alone."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_or_make_key(path: Path, kind: int) -> Key:
    """Return the key of a file, made if need be."""
    if not path.exists():
        write_private(path, new_key(kind).seed + b"\n")
    return _key(path.read_bytes(), path)


def creds_text(token: str, key: Key) -> bytes:
    """Return the file by which a user connects."""
    return _CREDS.format(token=token, seed=key.seed.decode()).encode()


def read_creds(path: Path) -> tuple[str, Key]:
    """Return token and key of such a file."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in "-*"]
    if len(lines) < 2:
        msg = f"{path} is not a credentials file; delete it and make the keys again"
        raise BadSetting(msg)
    return lines[0], _key(lines[-1].encode(), path)


def _key(seed: bytes, path: Path) -> Key:
    key = Key(seed.strip())
    try:
        key.public  # noqa: B018 - reading it checks the seed
    except Exception as error:
        msg = f"{path} holds no key; restore the keys directory from its backup"
        raise BadSetting(msg) from error
    return key
