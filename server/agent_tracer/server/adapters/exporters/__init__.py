"""Backends that telemetry is passed on to, each an ExportTarget."""
