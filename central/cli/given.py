"""What a command is given: the settings of the environment, and what is made of them."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.errors import BadSetting
from shared.given import read_environment
from shared.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from central.archive_loading import Shelf
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


def shelf_of(read: CentralSettings) -> Shelf:
    """Return the archive: its folder, where one is named, and the tables whose rows lie there."""
    from central.archive_loading import Shelf

    return Shelf(catalogue(read), read.archive_dir)


def load_environment(path: Path) -> None:
    """Take the variables of a file like ``deploy/central.env.example``; set ones are kept."""
    for name, value in read_environment(path.read_text(encoding="utf-8"), str(path)).items():
        os.environ.setdefault(name, value)


def now() -> datetime:
    """Return the wall clock."""
    return datetime.now(UTC)
