"""ATLAS: how agents and workflows change, and where a workflow's time goes. Pure functions over recorded data."""
