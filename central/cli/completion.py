"""``mes-central completion``."""

from __future__ import annotations

from shared.completion import completion_of

completion = completion_of("mes-central")
