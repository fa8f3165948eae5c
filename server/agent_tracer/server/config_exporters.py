"""The section of exporters: backends that telemetry is passed on to."""

import ipaddress
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from agent_tracer.server import limits
from agent_tracer.server.adapters.exporters.destination import (
    Destination,
    destination,
    jaeger_destination,
    loki_destination,
)
from agent_tracer.server.config_problems import Problem
from agent_tracer.server.config_values import HttpUrl, Section

SignalName = Literal["traces", "logs", "metrics"]
ExporterName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - to send to, not to bind
"""Hosts of endpoints on this machine. Whoever connects to the unspecified address arrives at the loopback."""


class ExporterTls(Section):
    """Certificates for an endpoint that begins with https://."""

    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities to trust, or of a self-signed certificate; the system's where absent.",
    )
    cert_file: Path | None = Field(default=None, description="PEM file of the certificate to show to the backend.")
    key_file: Path | None = Field(default=None, description="PEM file of its key; in cert_file where absent.")

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("has key_file without cert_file")
        return self


class Exporter(Section):
    """A backend that what is taken in is passed on to."""

    enabled: bool = Field(default=False, description="Whether telemetry is passed on to it.")
    endpoint: HttpUrl = Field(description="Its address.", examples=["http://localhost:4317"], repr=False)
    protocol: Literal["auto", "grpc", "http/protobuf"] = Field(
        default="auto", description="`auto`: gRPC at port 4317, HTTP elsewhere, as the endpoint says."
    )
    headers: dict[str, SecretStr] = Field(default={}, description="Headers sent along, such as a key. Shown masked.")
    compression: Literal["gzip", "none"] = Field(default="gzip", description="Of what is sent.")
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = Field(
        default=10.0, description="For each request, the answer included."
    )
    tls: ExporterTls = ExporterTls()

    @property
    def sends(self) -> frozenset[SignalName]:
        """The signals that are passed on."""
        return frozenset({"traces"})

    def destination(self) -> Destination:
        """What the endpoint stands for, by the protocol: the port too, where it names none."""
        return destination(self.endpoint, self.protocol)


class PhoenixExporter(Exporter):
    """Arize Phoenix."""

    endpoint: HttpUrl = Field(default="http://localhost:6006", description="Phoenix's address.", repr=False)
    project: str = Field(
        default="default", min_length=1, description="Project of traces whose resource names no project itself."
    )


class JaegerExporter(Exporter):
    """Jaeger."""

    endpoint: HttpUrl = Field(
        default="http://localhost:14268/api/traces",
        description="Jaeger's address: an OTLP port, or the Thrift collector's /api/traces.",
        repr=False,
    )

    def destination(self) -> Destination:
        """Its Thrift collector too."""
        return jaeger_destination(self.endpoint, self.protocol)


class TempoExporter(Exporter):
    """Grafana Tempo."""

    endpoint: HttpUrl = Field(default="http://localhost:4317", description="Tempo's OTLP address.", repr=False)


class LokiExporter(Exporter):
    """Grafana Loki."""

    endpoint: HttpUrl = Field(default="http://localhost:3100/otlp", description="Loki's OTLP address.", repr=False)

    @property
    def sends(self) -> frozenset[SignalName]:
        """Logs alone."""
        return frozenset({"logs"})

    def destination(self) -> Destination:
        """With the path of its OTLP."""
        return loki_destination(self.endpoint, self.protocol)


class OtlpExporter(Exporter):
    """Any other backend that takes OTLP."""

    enabled: bool = Field(default=True, description="Whether telemetry is passed on to it.")
    signals: Annotated[list[SignalName], Field(min_length=1)] = Field(
        default=["traces"], description="What is passed on: traces, logs, metrics."
    )

    @property
    def sends(self) -> frozenset[SignalName]:
        """As the setting says."""
        return frozenset(self.signals)


class Exporters(Section):
    """The backends that telemetry is passed on to."""

    phoenix: PhoenixExporter = PhoenixExporter()
    jaeger: JaegerExporter = JaegerExporter()
    tempo: TempoExporter = TempoExporter()
    loki: LokiExporter = LokiExporter()
    otlp: Annotated[dict[ExporterName, OtlpExporter], Field(max_length=limits.EXPORTERS_MAX)] = Field(
        default={},
        description="Further OTLP backends by name, each with endpoint, signals (`[traces]`), and as the others.",
    )

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:  # noqa: PYI058 - as pydantic's
        """Each exporter with its key below `exporters`, those of the map as `otlp.NAME`."""
        yield from (("phoenix", self.phoenix), ("jaeger", self.jaeger), ("tempo", self.tempo), ("loki", self.loki))
        yield from ((f"otlp.{name}", exporter) for name, exporter in self.otlp.items())

    def enabled(self) -> Mapping[str, Exporter]:
        """Those that are on, by key."""
        return {name: exporter for name, exporter in self if exporter.enabled}


def own_port(port: int, own: Iterable[tuple[str, int]]) -> str | None:
    """The key of the server's own listener on the port."""
    return next((key for key, number in own if number == port), None)


def pointed_at_itself(key: str, listener: str) -> Problem:
    """An exporter that sends to the server that it belongs to: everything would go round for ever."""
    wrong = f"is this server itself ({listener})"
    return Problem(f"exporters.{key}.endpoint", wrong, f"name the backend's address, or give {listener} another port")


def own_endpoints(exporters: Exporters, host: str, own: Iterable[tuple[str, int]]) -> Iterator[Problem]:
    """Enabled exporters whose endpoint names a port of this server, as far as can be told without a name service."""
    ports = list(own)
    for key, exporter in exporters.enabled().items():
        found = exporter.destination()
        listener = own_port(found.port, ports)
        if listener and _is_own(found.host, host):
            yield pointed_at_itself(key, listener)


def _is_own(named: str, host: str) -> bool:
    """Whether a host as written is the address that the server is bound to."""
    bound = ipaddress.ip_address(host)
    if named == "localhost":
        return bound.is_loopback or bound.is_unspecified
    try:
        address = reached_address(named)
    except ValueError:
        return False
    return address == bound or (bound.is_unspecified and address.is_loopback)


def reached_address(named: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where a connection to an address arrives. Raises ValueError where it is none."""
    address = ipaddress.ip_address(named.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:
        return ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004
    return address
