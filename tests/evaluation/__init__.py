"""Measurements against known truth that take longer than a unit test may."""
