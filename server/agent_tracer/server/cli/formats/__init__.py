"""Telemetry files in and out: OTLP protobuf, OTLP/JSON and Jaeger JSON. Pure conversion, no server."""

from agent_tracer.server.cli.formats.detect import FormatError
from agent_tracer.server.cli.formats.otlp_files import write_otlp_json, write_otlp_protobuf
from agent_tracer.server.cli.formats.reading import read_requests
from agent_tracer.server.cli.formats.shift import ShiftError, latest_ns, shifted

__all__ = [
    "FormatError",
    "ShiftError",
    "latest_ns",
    "read_requests",
    "shifted",
    "write_otlp_json",
    "write_otlp_protobuf",
]
