"""An OpenTelemetry Collector that passes on what it receives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.fixtures.certificates import Certificate
from tests.fixtures.program import free_ports
from tests.servers.child import HOST, Child, listens

Exporter = Mapping[str, Any]
_SIGNALS: Final = ("traces", "logs", "metrics")
_AUTH: Final = "bearertokenauth"
DEBUG: Final[Mapping[str, Exporter]] = {"debug": {"verbosity": "detailed"}}
"""Everything received, field by field, into the log."""


def to_grpc(target: str, *, compression: str = "gzip", **more: Any) -> dict[str, Exporter]:
    """An exporter to `host:port` that takes OTLP over gRPC without TLS."""
    return {"otlp_grpc": {"endpoint": target, "compression": compression, "tls": {"insecure": True}, **more}}


def to_http(url: str, *, compression: str = "gzip", **more: Any) -> dict[str, Exporter]:
    """An exporter to a base URL below which `/v1/traces` and its like take OTLP; `encoding` proto unless json."""
    return {"otlp_http": {"endpoint": url, "compression": compression, **more}}


class Collector(Child):
    """Takes OTLP at `grpc` (`host:port`) and `http` (a base URL), of every signal, and gives all to each exporter.

    With `tls`, takes nothing else; with `token`, only calls with the header `authorization: Bearer TOKEN`.
    """

    recipe = "otelcol"

    def __init__(
        self,
        folder: Path,
        exporters: Mapping[str, Exporter] = DEBUG,
        *,
        tls: Certificate | None = None,
        token: str = "",
    ) -> None:
        super().__init__(folder)
        grpc, http = free_ports(2)
        self.grpc = f"{HOST}:{grpc}"
        self.http = f"{'https' if tls else 'http'}://{HOST}:{http}"
        self._exporters = exporters
        self._tls = tls
        self._token = token

    def _command(self) -> list[str]:
        extensions = {_AUTH: {"token": self._token}} if self._token else {}
        pipeline = {"receivers": ["otlp"], "exporters": list(self._exporters)}
        config = {
            "extensions": extensions,
            "receivers": {"otlp": {"protocols": self._protocols()}},
            "exporters": dict(self._exporters),
            "service": {
                "extensions": list(extensions),
                "pipelines": dict.fromkeys(_SIGNALS, pipeline),
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        (self.folder / "otelcol.yaml").write_text(yaml.safe_dump(config))
        return [self.program, "--config", "otelcol.yaml"]

    def _protocols(self) -> dict[str, Any]:
        more: dict[str, Any] = {"auth": {"authenticator": _AUTH}} if self._token else {}
        if self._tls:
            more["tls"] = {"cert_file": str(self._tls.certificate), "key_file": str(self._tls.key)}
        return {
            "grpc": {"endpoint": self.grpc, **more},
            "http": {"endpoint": self.http.partition("://")[2], **more},
        }

    def _is_ready(self) -> bool:
        # Receivers are what it starts last.
        return listens(self.grpc) and listens(self.http.partition("://")[2])
