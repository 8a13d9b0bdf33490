"""Imports CSV files into a site's store: by a map, exactly once, without stopping at bad lines."""

from __future__ import annotations

from edge.csv_import.map_file import read_map
from edge.csv_import.run import Order, Outcome, Part, run_import

__all__ = ["Order", "Outcome", "Part", "read_map", "run_import"]
