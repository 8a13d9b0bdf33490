"""The campaign's time: one true clock, and for each site one that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

#: All that happens happens about then; the month of ``catalogue.CREATED``.
NOON_MS = 1_795_669_200_000
MINUTE = 60_000


@dataclass
class Clock:
    """What time it is, in truth and at each site."""

    now_ms: int = NOON_MS
    #: How far each site's clock is ahead.
    skew: dict[str, int] = field(default_factory=dict)
    #: The site whose agent or program is at work; "" at the centre.
    site: str = ""

    def true(self) -> int:
        """Return the true time, which the centre and the broker have."""
        return self.now_ms

    def of(self, site: str) -> int:
        """Return what a site's clock shows."""
        return self.now_ms + self.skew.get(site, 0)

    def here(self) -> int:
        """Return what the clock shows where somebody is at work."""
        return self.of(self.site)
