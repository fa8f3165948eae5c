"""Fixtures of all tests, and what they run in."""

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures.engine import engine, tenant
from tests.fixtures.program import program
from tests.fixtures.servers import jaeger, loki, phoenix
from tests.fixtures.surroundings import forget_settings

__all__ = ["engine", "jaeger", "loki", "phoenix", "program", "tenant"]

# Properties are about values. How long an example takes says how busy the machine is.
settings.register_profile("values", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("values")


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Before the first test module is imported, after pytest has read its own settings."""
    forget_settings()
