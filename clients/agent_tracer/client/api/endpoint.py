"""Where the server is: what callers write, and the port that each service has there."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urlsplit

from agent_tracer.client._shared.shown import wrong_address

__all__ = ["DEFAULT_ENDPOINT", "Endpoint", "api_key_or_default", "endpoint_or_default"]

DEFAULT_ENDPOINT: Final = "127.0.0.1:50051"
URL_VARIABLE: Final = "AGENT_TRACER_URL"
KEY_VARIABLE: Final = "AGENT_TRACER_API_KEY"

_GRPC_PORT: Final = 50051
_PORT_MAX: Final = 65_535
_ACE: Final = "agent_tracer.v1.AceService"
_ATLAS: Final = "agent_tracer.v1.AtlasService"
_FRONT_PORT: Final = 3007

_REST_PORTS: Final[Mapping[str, int]] = {_ACE: 3008, _ATLAS: 3009}
"""Each REST port answers its own services alone, in gRPC too; those that are not here are on the front port."""

_ALL_REST_PORTS: Final = frozenset({_FRONT_PORT, *_REST_PORTS.values()})
_OTLP_PORTS: Final = frozenset({4317, 4318})

_TLS_OF_SCHEME: Final[Mapping[str, bool]] = {"": False, "http": False, "https": True, "grpc": False, "grpcs": True}
_PORT_OF_SCHEME: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[^\s/?#@]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host, a port, and whether TLS is spoken there."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """`host`, `host:port`, or a URL of http, https, grpc or grpcs; the gRPC port where none is written.

        A URL of http or https without a port has that scheme's own. Raises ValueError for anything else.
        """
        url = urlsplit(text if "://" in text else f"//{text}")
        try:
            port = url.port
        except ValueError:
            port = 0
        if port is None:
            port = _PORT_OF_SCHEME.get(url.scheme, _GRPC_PORT)
        if url.scheme not in _TLS_OF_SCHEME or not 0 < port <= _PORT_MAX or not _is_host_alone(url):
            message = f"{wrong_address(text)!r} is no endpoint: write host:port or a URL, such as {DEFAULT_ENDPOINT}"
            raise ValueError(message)
        assert url.hostname is not None  # noqa: S101 - _is_host_alone has seen it
        return cls(url.hostname, port, _TLS_OF_SCHEME[url.scheme])

    def of_service(self, name: str) -> "Endpoint":
        """Where the service of this full proto name is, on the server that this endpoint means.

        On the usual REST ports every service has its own, and the OTLP ports have none: from there it goes to the
        service's own, or the gRPC port. Other ports are taken as they are.
        """
        if self.port in _OTLP_PORTS:
            return replace(self, port=_GRPC_PORT)
        if self.port in _ALL_REST_PORTS:
            return replace(self, port=_REST_PORTS.get(name, _FRONT_PORT))
        return self

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https://' if self.tls else ''}{host}:{self.port}"


def endpoint_or_default(endpoint: str | None) -> Endpoint:
    """The endpoint given, or AGENT_TRACER_URL, or the gRPC port of this machine. Raises ValueError."""
    if endpoint is not None:
        return Endpoint.parse(endpoint)
    return Endpoint.parse(os.environ.get(URL_VARIABLE, "").strip() or DEFAULT_ENDPOINT)


def api_key_or_default(api_key: str | None) -> str | None:
    """The key given, or AGENT_TRACER_API_KEY, or none. Raises ValueError for what no header can carry."""
    key = (os.environ.get(KEY_VARIABLE, "") if api_key is None else api_key).strip()
    if not all("!" <= character <= "~" for character in key):
        message = f"the API key (api_key or {KEY_VARIABLE}) holds characters that are not printable ASCII"
        raise ValueError(message)
    return key or None


def _is_host_alone(url: SplitResult) -> bool:
    alone = not (url.username or url.password or url.query or url.fragment or url.path.strip("/"))
    return alone and url.hostname is not None and _HOST.fullmatch(url.hostname) is not None
