"""Reads telemetry of a time as series (ports.telemetry_window)."""

from agent_tracer.server.adapters.clickhouse.telemetry.window import ClickHouseTelemetry

__all__ = ["ClickHouseTelemetry"]
