"""Ways to run both ends: on this machine, in containers, as system services."""

from __future__ import annotations
