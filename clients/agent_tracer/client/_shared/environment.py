"""Where telemetry goes: an argument, AGENT_TRACER_URL, OTEL_EXPORTER_OTLP_*, or this machine, in that order.

Sources of the variables: OpenTelemetry, "OTLP Exporter Configuration".
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from opentelemetry.util.re import parse_env_headers

from agent_tracer.client._shared.credentials import split_credentials
from agent_tracer.client._shared.shown import wrong_address

__all__ = [
    "API_KEY",
    "PHOENIX_ENDPOINT",
    "URL",
    "BadEndpointError",
    "Signal",
    "Target",
    "chosen",
    "target",
]

URL: Final = "AGENT_TRACER_URL"
API_KEY: Final = "AGENT_TRACER_API_KEY"
PHOENIX_ENDPOINT: Final = "PHOENIX_COLLECTOR_ENDPOINT"
_DEFAULT_HOST: Final = "127.0.0.1"

Signal = Literal["traces", "logs", "metrics"]
Transport = Literal["grpc", "http/protobuf"]

_OTLP: Final = "OTEL_EXPORTER_OTLP_"
_GRPC_PORTS: Final = frozenset({4317, 50051})
"""Where OTLP over gRPC is by convention, and Agent Tracer's own gRPC port. Its other ports speak both."""
_SCHEMES: Final[Mapping[str, tuple[bool, Transport | None]]] = {
    "http": (True, None),
    "https": (False, None),
    "grpc": (True, "grpc"),
    "grpcs": (False, "grpc"),
}
"""Scheme to whether it is plain text, and the transport where the scheme itself says it."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "grpc": 4317, "grpcs": 4317}
_OTLP_PORTS: Final[Mapping[Transport | None, int]] = {"grpc": 4317, "http/protobuf": 4318, None: 4318}
"""Of a host without scheme and port, by what OTEL_EXPORTER_OTLP_PROTOCOL says."""
_SIGNAL_PATHS: Final = ("/v1/traces", "/v1/logs", "/v1/metrics")
_TRANSPORTS: Final[Mapping[str, Transport]] = {
    "grpc": "grpc",
    "http/protobuf": "http/protobuf",
    "http/json": "http/protobuf",
}


class BadEndpointError(ValueError):
    """An endpoint that is no address. The message names it and where it was set."""


@dataclass(frozen=True, slots=True)
class Target:
    """One OTLP receiver."""

    url: str
    """`http[s]://host:port[/prefix]`, without a slash at its end, a signal's path, and user and password."""
    transport: Transport
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Lower case names; the credentials, else the API key as `authorization: Bearer KEY`. Never logged."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The address's own user and password as `authorization: Basic ...`; empty where it has none. Never logged."""
    insecure: bool = True
    """Plain text, no TLS."""
    exact: bool = False
    """`url` is a signal's own endpoint (OTEL_EXPORTER_OTLP_TRACES_ENDPOINT), which is used as it is written."""

    def signal_url(self, signal: Signal) -> str:
        """Where OTLP over HTTP posts a signal: `http://host:port/v1/traces`."""
        return self.url if self.exact else f"{self.url}/v1/{signal}"

    @property
    def shown(self) -> str:
        """`url` for people, who see that there are credentials."""
        return self.url.replace("://", "://***@", 1) if self.credentials else self.url

    @property
    def traces_url(self) -> str:
        """`signal_url` of traces."""
        return self.signal_url("traces")

    @property
    def grpc_target(self) -> str:
        """`host:port`, as gRPC channels take it."""
        return urlsplit(self.url).netloc


def target(
    endpoint: str | None = None, *, api_key: str | None = None, signal: Signal = "traces", phoenix: bool = False
) -> Target:
    """The receiver of a signal, by arguments and environment.

    Args:
        endpoint: `http://host:port`, with or without `/v1/traces`; `host:port`; `host`; `grpc://host:port`. Goes before
            AGENT_TRACER_URL, which goes before OTEL_EXPORTER_OTLP_{SIGNAL}_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT.
        api_key: Goes before AGENT_TRACER_API_KEY.
        signal: Whose variables are read (OTEL_EXPORTER_OTLP_TRACES_HEADERS and so on).
        phoenix: Whether PHOENIX_COLLECTOR_ENDPOINT is the last choice before this machine.

    Raises:
        BadEndpointError: The address is none.
    """
    source, text, exact = _address(endpoint, signal, phoenix=phoenix)
    parts = _split(text, source, signal)
    insecure, transport = _SCHEMES[parts.scheme]
    base = _without_signal_path(parts.path)
    # A signal's endpoint is exact only if it has a path: `http://host:4318` would post to `/`, which nobody serves.
    exact = exact and parts.path.strip("/") != ""
    path = parts.path if exact else base
    url, credentials = split_credentials(f"{'http' if insecure else 'https'}://{parts.netloc}{path}")
    headers = _headers(signal, None if source == PHOENIX_ENDPOINT and not api_key else _key(api_key))
    return Target(
        url=url,
        transport=transport or _transport(parts, signal),
        headers=headers | credentials,
        credentials=credentials,
        insecure=insecure,
        exact=exact,
    )


def _address(endpoint: str | None, signal: Signal, *, phoenix: bool) -> tuple[str, str, bool]:
    """Which setting names the address, the address, and whether it is one signal's own."""
    own = f"{_OTLP}{signal.upper()}_ENDPOINT"
    if endpoint and endpoint.strip():
        return "endpoint", endpoint.strip(), False
    for name in (URL, own, f"{_OTLP}ENDPOINT", *((PHOENIX_ENDPOINT,) if phoenix else ())):
        if value := os.environ.get(name, "").strip():
            return name, value, name == own
    return "the default", _DEFAULT_HOST, False


def _split(text: str, source: str, signal: Signal) -> SplitResult:
    bare = "://" not in text
    try:
        parts = urlsplit(f"http://{text}" if bare else text)
        port = parts.port  # raises for what is no port
    except ValueError:
        raise _bad(text, source) from None
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment or any(map(str.isspace, text)):
        raise _bad(text, source)
    if port is None:
        port = _OTLP_PORTS[_protocol(signal)] if bare else _DEFAULT_PORTS[scheme]
        parts = parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{port}")
    return parts._replace(scheme=scheme)


def _bad(text: str, source: str) -> BadEndpointError:
    return BadEndpointError(f"{source}: {wrong_address(text)!r} is no address; write http://host:port")


def _without_signal_path(path: str) -> str:
    path = path.rstrip("/")
    for ending in _SIGNAL_PATHS:
        path = path.removesuffix(ending)
    return path.rstrip("/")


def _transport(parts: SplitResult, signal: Signal) -> Transport:
    """As OTEL_EXPORTER_OTLP_PROTOCOL says, else by path and port."""
    by_port: Transport = "grpc" if parts.port in _GRPC_PORTS and not parts.path.strip("/") else "http/protobuf"
    return _protocol(signal) or by_port


def _protocol(signal: Signal) -> Transport | None:
    """A protocol that does not exist is passed over."""
    for name in (f"{_OTLP}{signal.upper()}_PROTOCOL", f"{_OTLP}PROTOCOL"):
        if known := _TRANSPORTS.get(os.environ.get(name, "").strip().lower()):
            return known
    return None


def _key(api_key: str | None) -> str | None:
    return api_key or os.environ.get(API_KEY, "").strip() or None


def _headers(signal: Signal, api_key: str | None) -> dict[str, str]:
    """A signal's headers replace the general ones, as the specification says; the key replaces an `authorization`."""
    text = os.environ.get(f"{_OTLP}{signal.upper()}_HEADERS") or os.environ.get(f"{_OTLP}HEADERS", "")
    headers = {name.lower(): value for name, value in parse_env_headers(text, liberal=True).items()}
    return headers | {"authorization": f"Bearer {api_key}"} if api_key else headers


def chosen(signal: Signal) -> frozenset[str]:
    """What OTEL_{SIGNAL}_EXPORTER names: `otlp`, `console`, `none`, ...; empty where it says nothing."""
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return frozenset(name for part in text.split(",") if (name := part.strip().lower()))
