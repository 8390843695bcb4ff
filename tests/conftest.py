"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Speed is judged in benchmarks, never in a test that fails on a busy machine.
settings.register_profile(
    "line", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("line")
