"""Benchmarks: `python -m tests.benchmarks [NAME...]`. They measure, and are no part of a test run."""
