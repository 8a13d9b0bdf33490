"""``completion`` of both commands of a site."""

from __future__ import annotations

from shared.completion import completion_of

completion = completion_of("mes-sync")
