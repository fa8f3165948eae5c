"""What an exporter's endpoint stands for: protocol, address, paths. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from agent_tracer.server.domain.signals import Signal

GRPC, HTTP, THRIFT = "grpc", "http/protobuf", "thrift"
_GRPC_PORT: Final = 4317
_THRIFT_PORT: Final = 14268
_THRIFT_PATH: Final = "/api/traces"
_PATHS: Final = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs", Signal.METRICS: "/v1/metrics"}
_LOKI_PUSH: Final = "/loki/api/v1/push"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to send. `base` is `scheme://host:port/path` without a signal's path; no user or password in it.

    `headers` are those that the endpoint's user and password make.
    """

    protocol: str
    secure: bool
    host: str
    port: int
    base: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def target(self) -> str:
        """As gRPC writes it."""
        return f"{_bracketed(self.host)}:{self.port}"

    def url(self, signal: Signal) -> str:
        """Where OTLP over HTTP takes the signal."""
        return self.base + _PATHS[signal] + self.query


def destination(endpoint: str, protocol: str = "auto") -> Destination:
    """Of a generic OTLP endpoint. Port 4317 without a path is gRPC, everything else HTTP, unless `protocol` says so.

    A path that ends as a signal's does is taken as given for it, and its like for the others.
    """
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    for end in _PATHS.values():
        path = path.removesuffix(end)
    if protocol == "auto":
        protocol = GRPC if parts.port == _GRPC_PORT and not parts.path.strip("/") else HTTP
    secure = parts.scheme == "https"
    host = parts.hostname or "localhost"
    plain = _GRPC_PORT if protocol == GRPC else 80
    port = parts.port or (443 if secure else plain)
    query = f"?{parts.query}" if parts.query else ""
    base = f"{parts.scheme}://{_bracketed(host)}:{port}{path}"
    return Destination(protocol, secure, host, port, base, query, _credentials(parts.username, parts.password))


def jaeger_destination(endpoint: str, protocol: str = "auto") -> Destination:
    """Jaeger's: port 14268, or the path /api/traces, is its Thrift collector; everything else is OTLP."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    is_thrift = path.endswith(_THRIFT_PATH) or (parts.port == _THRIFT_PORT and not path)
    if protocol != "auto" or not is_thrift:
        return destination(endpoint, protocol)
    found = destination(endpoint, HTTP)
    return replace(found, protocol=THRIFT, base=found.base if path else found.base + _THRIFT_PATH)


def loki_destination(endpoint: str, protocol: str = "auto") -> Destination:
    """Loki's: OTLP is below /otlp, also where the endpoint names its root or its push API."""
    root = endpoint.rstrip("/").removesuffix(_LOKI_PUSH)
    if not urlsplit(root).path.strip("/"):
        root += "/otlp"
    return destination(root, HTTP if protocol == "auto" else protocol)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _credentials(user: str | None, password: str | None) -> Mapping[str, str]:
    """HTTP basic authentication (RFC 7617)."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
