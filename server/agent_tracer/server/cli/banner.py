"""What `start` prints once every port answers: addresses, and lines to copy that send and read a first trace."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from agent_tracer.server.app import Started
from agent_tracer.server.cli.console import console
from agent_tracer.server.config import without_secrets

_REST: Final = {
    "tracer": ("port", "traces, correlation, OTLP, metrics"),
    "ace": ("ace_port", "ACE: scores, benchmarks"),
    "atlas": ("atlas_port", "ATLAS: learning, workflows"),
}


def show_banner(started: Started) -> None:
    """Print it to standard output."""
    out = console()
    out.print(Text.assemble(("Agent Tracer", "bold green"), f" is ready after {started.seconds:.1f} s"))
    out.print(_addresses(started))
    for line in started.left_out:
        out.print(Text(line, "yellow"))
    if "tracer" in started.listeners:
        out.print(Text("\nSend a first trace, then read it:", "bold"))
        for line in _first_trace(started):
            out.print(Text(f"  {line}", "cyan"), soft_wrap=True)
    out.print(Text("\nStop with Ctrl-C.", "dim"))


def _addresses(started: Started) -> Table:
    settings = started.settings
    host, otlp = settings.tracer.host, settings.otlp
    table = Table.grid(padding=(0, 2))
    for name in started.listeners:
        field, what = _REST[name]
        table.add_row("  REST", f"http://{host}:{getattr(settings.tracer, field)}", what)
    table.add_row("  gRPC", f"{host}:{settings.tracer.grpc_port}", "every service, with reflection")
    if otlp.enabled and settings.exporter_at(otlp.grpc_port) is None:
        table.add_row("  OTLP", f"{host}:{otlp.grpc_port}", "gRPC, where SDKs send by default")
    if otlp.enabled and settings.exporter_at(otlp.http_port) is None:
        table.add_row("  OTLP", f"http://{host}:{otlp.http_port}", "HTTP: /v1/traces, /v1/logs, /v1/metrics")
    if settings.metrics.prometheus.enabled:
        table.add_row("  Prometheus", f"http://{host}:{settings.metrics.prometheus.port}/metrics", "")
    for name, exporter in settings.exporters.enabled().items():
        table.add_row(
            "  To", without_secrets(exporter.endpoint), f"{', '.join(sorted(exporter.sends))} (exporters.{name})"
        )
    table.add_row("  Data", str(settings.data_dir), "")
    return table


def _first_trace(started: Started) -> list[str]:
    url = f"http://{started.settings.tracer.host}:{started.settings.tracer.port}/api/v1/traces"
    endpoint = f"{started.settings.tracer.host}:{started.settings.tracer.grpc_port}"
    option = "" if endpoint == "127.0.0.1:50051" else f" --endpoint {endpoint}"
    body = '{"traceId":"my-first-trace","agentId":"hello-agent","operation":"greet","duration":120}'
    return [
        f"curl -s {url} -H 'Content-Type: application/json' -d '{body}'",
        f"curl -s {url}/my-first-trace",
        f"{_program()} traces list{option}",
        f"{_program()} demo{option}        # a three-agent workflow, no key needed",
    ]


def _program() -> str:
    """How this program can be called from the shell that started it."""
    name = "agent-tracer"
    return name if shutil.which(name) else os.path.relpath(Path(sys.executable).with_name(name))
