"""What Envoy is to serve: listeners, backends, bounds. Pure data, of which `bootstrap` makes Envoy's form."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.config import Settings

_V1: Final = "agent_tracer.v1"

SERVICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tracer": (f"{_V1}.TraceService", f"{_V1}.CorrelationService"),
        "ace": (f"{_V1}.AceService",),
        "atlas": (f"{_V1}.AtlasService",),
    }
)
"""The services of each listener, in the order that the listeners are made."""

FRONT: Final = "tracer"
"""The listener that also carries OTLP, health, metrics and reflection."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address; the host is an IP address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Listener:
    """A REST port: its name in SERVICES, its address, and the setting that chooses the port."""

    name: str
    address: Address
    setting: str

    @property
    def services(self) -> tuple[str, ...]:
        """Full names of the gRPC services that this port answers, in JSON and natively."""
        return SERVICES[self.name]

    @property
    def is_front(self) -> bool:
        """Whether OTLP, health, metrics and reflection are here too."""
        return self.name == FRONT


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that Envoy enforces; each field's reason is at its constant in `limits`."""

    request_bytes: int = limits.MESSAGE_BYTES_MAX
    response_bytes: int = limits.ENVOY_RESPONSE_BYTES_MAX
    buffer_bytes: int = limits.ENVOY_BUFFER_BYTES
    header_kib: int = limits.ENVOY_HEADER_KIB_MAX
    unary_seconds: float = limits.ENVOY_UNARY_SECONDS_MAX
    idle_seconds: float = limits.ENVOY_IDLE_SECONDS_MAX
    header_seconds: float = limits.ENVOY_HEADER_SECONDS_MAX
    connect_seconds: float = limits.ENVOY_CONNECT_SECONDS_MAX
    connections: int = limits.ENVOY_CONNECTIONS_MAX
    streams_per_connection: int = limits.ENVOY_STREAMS_PER_CONNECTION_MAX
    requests: int = limits.ENVOY_REQUESTS_MAX
    waiting: int = limits.ENVOY_WAITING_MAX


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that Envoy is told. `descriptor_path` is where it reads the descriptor set."""

    listeners: tuple[Listener, ...]
    grpc: Address
    http: Address
    descriptor_path: str
    bounds: Bounds = field(default_factory=Bounds)


def reachable(address: Address) -> Address:
    """Where a server that listens on the address can be called from the same machine."""
    ip = ipaddress.ip_address(address.host)
    if not ip.is_unspecified:
        return address
    return Address("127.0.0.1" if ip.version == 4 else "::1", address.port)  # noqa: PLR2004 - the IP version


_PORT_SETTINGS: Final = {"tracer": "port", "ace": "ace_port", "atlas": "atlas_port"}


def plan_of(
    settings: Settings,
    *,
    listeners: Iterable[str] = tuple(SERVICES),
    descriptor_path: str,
    http_port: int | None = None,
) -> Plan:
    """The plan that the settings ask for.

    `listeners` are names of SERVICES; `http_port` is that of the server's own HTTP listener, `otlp.http_port`
    where None.
    """
    tracer = settings.tracer
    chosen = set(listeners)
    return Plan(
        listeners=tuple(
            Listener(name, Address(tracer.host, getattr(tracer, setting)), f"tracer.{setting}")
            for name, setting in _PORT_SETTINGS.items()
            if name in chosen
        ),
        grpc=Address(tracer.host, tracer.grpc_port),
        http=Address(tracer.host, settings.otlp.http_port if http_port is None else http_port),
        descriptor_path=descriptor_path,
    )
