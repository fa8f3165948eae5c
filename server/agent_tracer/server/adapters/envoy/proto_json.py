"""Envoy's configuration messages in proto3 JSON: the few shapes that every part of the bootstrap uses."""

from collections.abc import Mapping
from typing import Any, Final

Message = dict[str, Any]
"""An Envoy configuration message. Its shape is Envoy's API, which `envoy --mode validate` checks."""

_TYPE: Final = "type.googleapis.com/"
ROUTER: Final = "envoy.filters.http.router"
TRANSCODER: Final = "envoy.filters.http.grpc_json_transcoder"
COMPRESSOR: Final = "envoy.filters.http.compressor"
DECOMPRESSOR: Final = "envoy.filters.http.decompressor"
BUFFER: Final = "envoy.filters.http.buffer"
ENCODING_CHECK: Final = "agent_tracer.encoding"
GZIP_CHECK: Final = "agent_tracer.gzip"
RBAC: Final = "envoy.filters.http.rbac"
CORS: Final = "envoy.filters.http.cors"


def typed(name: str, **fields: object) -> Message:
    """A google.protobuf.Any of the message type."""
    return {"@type": _TYPE + name, **fields}


def extension(name: str, message: str, **fields: object) -> Message:
    """A named extension (a filter, a library) with its configuration."""
    return {"name": name, "typed_config": typed(message, **fields)}


def socket(host: str, port: int) -> Message:
    """A core.v3.Address."""
    return {"socket_address": {"address": host, "port_value": port}}


def seconds(value: float) -> str:
    """A google.protobuf.Duration."""
    return f"{value:g}s"


def switched_off(*filters: str) -> Mapping[str, Message]:
    """`typed_per_filter_config` of a route that these HTTP filters pass by."""
    return {name: typed("envoy.config.route.v3.FilterConfig", disabled=True) for name in filters}
