"""The same centre as the integration tests use."""

from __future__ import annotations

from tests.integration.conftest import centre, centre_template

__all__ = ["centre", "centre_template"]
