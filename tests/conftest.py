"""Fixtures of all tests."""

from tests.fixtures.engine import engine, tenant
from tests.fixtures.program import program

__all__ = ["engine", "program", "tenant"]
