"""Fixtures of all tests."""

from tests.fixtures.engine import engine, tenant
from tests.fixtures.program import program
from tests.fixtures.servers import jaeger, loki, phoenix

__all__ = ["engine", "jaeger", "loki", "phoenix", "program", "tenant"]
