"""All that is fuzzed without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz.catalogues import CATALOGUES
from tests.fuzz.imports import IMPORTS
from tests.fuzz.messages import MESSAGES
from tests.fuzz.questions import QUESTIONS

if TYPE_CHECKING:
    from tests.fuzz.target import Target

TARGETS: Final[tuple[Target, ...]] = (*MESSAGES, *QUESTIONS, *CATALOGUES, *IMPORTS)
