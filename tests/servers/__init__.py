"""Recipes of the foreign servers that benchmarks and integration tests compare with or talk to.

`python -m tests.servers install NAME...` builds or installs them, pinned, into a folder of the user's cache.
"""
