"""The exporters, as the settings have them. Part of the composition root (app.py)."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from prometheus_client.registry import CollectorRegistry

from agent_tracer.server.adapters.export_metrics import ExportCounters, ExportLagCollector
from agent_tracer.server.adapters.exporters.connection import Connection, ConnectionSettingError, TlsFiles
from agent_tracer.server.adapters.exporters.destination import GRPC, THRIFT, Destination
from agent_tracer.server.adapters.exporters.jaeger_thrift import JaegerThrift
from agent_tracer.server.adapters.exporters.otlp_grpc import OtlpGrpc
from agent_tracer.server.adapters.exporters.otlp_http import OtlpHttp
from agent_tracer.server.adapters.exporters.phoenix import Phoenix
from agent_tracer.server.adapters.journal import FileJournal
from agent_tracer.server.config import Settings
from agent_tracer.server.config_exporters import (
    Exporter,
    PhoenixExporter,
    own_port,
    pointed_at_itself,
    reached_address,
)
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_HOLD_SECONDS, EXPORT_RESOLVE_SECONDS, EXPORT_STOP_SECONDS
from agent_tracer.server.ports.export import ExportTarget
from agent_tracer.server.services.forwarding import Forwarder, ForwarderState
from agent_tracer.server.services.health import Component

Check = Callable[[], Awaitable[Component]]
_log: Final = structlog.get_logger("exporters")


class ExporterError(Exception):
    """An exporter cannot be used as it is set. The text names the setting."""


@dataclass(frozen=True, slots=True)
class Exporting:
    """What passes telemetry on, one for each exporter that is on."""

    forwarders: Sequence[Forwarder]

    def tasks(self) -> Sequence[tuple[Coroutine[None, None, None], str]]:
        """What runs as long as the server does, each with its name."""
        return [(forwarder.run(), f"the exporter {forwarder.name}") for forwarder in self.forwarders]

    def checks(self) -> Sequence[tuple[str, Check]]:
        """For /readyz: a backend that is down is told, but the server is ready without it."""
        return [(f"exporters.{forwarder.name}", _check(forwarder)) for forwarder in self.forwarders]

    async def finish(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        """Once the journal is closed: a short time to send the rest; the cursors keep what is left."""
        for forwarder in self.forwarders:
            forwarder.stop()
        if tasks:
            await asyncio.wait(tasks, timeout=EXPORT_STOP_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def exporting_of(settings: Settings, journal: FileJournal, registry: CollectorRegistry) -> Exporting:
    """Opens the exporters' readers; nothing is connected yet. Raises ExporterError."""
    counters = ExportCounters(registry)
    forwarders = []
    for key, exporter in settings.exporters.enabled().items():
        found = exporter.destination()
        await _refuse_itself(settings, key, found)
        signals = frozenset(Signal[name.upper()] for name in exporter.sends)
        forwarders.append(
            Forwarder(
                name=key,
                signals=signals,
                journal=journal,
                reader=journal.reader(f"exporter-{key.replace('.', '-')}", required=False),
                target=await asyncio.to_thread(_target, key, exporter, found),
                metrics=counters.of(key, signals),
                hold_seconds=EXPORT_HOLD_SECONDS if isinstance(exporter, PhoenixExporter) else 0.0,
            )
        )
    registry.register(ExportLagCollector({forwarder.name: partial(_state, forwarder) for forwarder in forwarders}))
    return Exporting(forwarders)


def _state(forwarder: Forwarder) -> ForwarderState:
    return forwarder.state


def _check(forwarder: Forwarder) -> Check:
    async def check() -> Component:
        state = forwarder.state
        return Component(ok=True, detail=state.trouble or state.notice)

    return check


def _target(key: str, exporter: Exporter, found: Destination) -> ExportTarget:
    try:
        connection = Connection(
            key=f"exporters.{key}",
            destination=found,
            headers={name: value.get_secret_value() for name, value in exporter.headers.items()},
            timeout_seconds=exporter.timeout_seconds,
            gzip=exporter.compression == "gzip",
            tls=TlsFiles(exporter.tls.ca_file, exporter.tls.cert_file, exporter.tls.key_file),
        )
        made = _ADAPTERS.get(found.protocol, OtlpHttp)(connection)
    except ConnectionSettingError as error:
        raise ExporterError(f"exporters.{key}.{error}") from None
    return Phoenix(made, exporter.project) if isinstance(exporter, PhoenixExporter) else made


_ADAPTERS: Final[dict[str, Callable[[Connection], ExportTarget]]] = {GRPC: OtlpGrpc, THRIFT: JaegerThrift}


async def _refuse_itself(settings: Settings, key: str, found: Destination) -> None:
    """What the settings alone could not tell: a name that leads to this machine. Raises ExporterError."""
    listener = own_port(found.port, settings.own_ports())
    if listener is None:
        return
    try:
        async with asyncio.timeout(EXPORT_RESOLVE_SECONDS):
            loop = asyncio.get_running_loop()
            addresses = await loop.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        _log.warning("the address of a backend is not known yet", exporter=key)
        return
    if any(_is_own(str(address[0]), settings.tracer.host) for *_, address in addresses):
        raise ExporterError(str(pointed_at_itself(key, listener)))


def _is_own(address: str, host: str) -> bool:
    """Whether a connection to the address would reach a listener bound to the host."""
    if ipaddress.ip_address(host).is_unspecified:
        return _is_of_this_machine(address)
    return reached_address(address) == ipaddress.ip_address(host)


def _is_of_this_machine(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
