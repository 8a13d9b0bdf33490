"""Everything on one machine: embedded servers, the demo and the plant simulator."""

from __future__ import annotations
