"""What a command is given: the settings of the environment, and what is made of them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.errors import BadSetting
from shared.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from central.settings import CentralSettings
    from shared.catalog import Catalog


def settings(*, needs_database: bool = True, **given: Any) -> CentralSettings:
    """Return the settings; ``given`` ones go before the environment.

    Where there are keys but no credentials are named, the centre's of these keys are taken.
    """
    from central.settings import CentralSettings

    if not needs_database:
        given.setdefault("database_url", os.environ.get("MES_DATABASE_URL", ""))
    read = read_settings(CentralSettings, os.environ, **given)
    if read.nats_creds is None and read.keys_dir is not None:
        from sync.accounts import CENTRAL, creds_path

        path = creds_path(read.keys_dir, CENTRAL)
        return replace(read, nats_creds=path) if path.exists() else read
    return read


def admin_url(read: CentralSettings) -> str:
    """Return the address under which the database may be migrated."""
    return read.admin_url or read.database_url


def keys_dir(read: CentralSettings) -> Path:
    """Return the folder of keys; raise BadSetting where none is named."""
    if read.keys_dir is None:
        raise BadSetting("MES_KEYS_DIR is not set: name a folder that only this account can read")
    return read.keys_dir


def catalogue(read: CentralSettings) -> Catalog:
    """Return the catalogue of the packaged and the plant's own files."""
    from shared.catalog_file import load_catalog

    return load_catalog(*read.catalogue_dirs)


def load_environment(path: Path) -> None:
    """Take the variables of a file like ``deploy/central.env.example``; set ones are kept."""
    for name, value in read_environment(path.read_text(encoding="utf-8"), str(path)).items():
        os.environ.setdefault(name, value)


def read_environment(text: str, name: str) -> Mapping[str, str]:
    """Return the variables of such a text; raise BadSetting naming the line that is none."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        variable, equals, value = bare.partition("=")
        if not equals or not variable.isidentifier():
            raise BadSetting(f"{name}, line {number}: NAME=value is expected")
        found[variable] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    """Return a value without the quotes around all of it; those within stay."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def now() -> datetime:
    """Return the wall clock."""
    return datetime.now(UTC)
