"""What does not read the archive does not load what reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["central.agent", "central.migrate", "central.cli.partitions"])
def test_ingest_and_migration_load_neither_parquet_nor_duckdb(module):
    asked = f"import {module}, sys; print({{'pyarrow', 'duckdb'}} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
