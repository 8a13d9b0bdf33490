"""A plugin of pytest for runs on mutants: what fails is enough, how it fails need not be small."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    deadline=None,
    database=None,
    print_blob=False,
    # A mutant may make things slow; that is not what it is killed for.
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
