"""Jaeger 2 with its store in memory: takes OTLP and the older Thrift over HTTP, gives traces back over HTTP."""

from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.fixtures.program import free_ports
from tests.servers.child import HOST, Child, answers, eventually

_STORE: Final = "memory"


class Jaeger(Child):
    """`otlp_grpc` and `thrift_http` are `host:port`; `otlp_http`, `thrift_url` and `query` are URLs."""

    recipe = "jaeger"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        otlp_grpc, otlp_http, thrift, query, query_grpc, health = free_ports(6)
        self.otlp_grpc = f"{HOST}:{otlp_grpc}"
        self.otlp_http = f"http://{HOST}:{otlp_http}"
        self.thrift_http = f"{HOST}:{thrift}"
        self.thrift_url = f"http://{self.thrift_http}/api/traces"
        self.query = f"http://{HOST}:{query}"
        self.query_grpc = f"{HOST}:{query_grpc}"
        self._health = f"{HOST}:{health}"

    def _command(self) -> list[str]:
        pipeline = {"receivers": ["otlp", "jaeger"], "exporters": ["jaeger_storage_exporter"]}
        config = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
                "pipelines": {"traces": pipeline},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "healthcheckv2": {"use_v2": True, "http": {"endpoint": self._health}},
                "jaeger_query": {
                    "storage": {"traces": _STORE},
                    "http": {"endpoint": self.query.removeprefix("http://")},
                    "grpc": {"endpoint": self.query_grpc},
                },
                "jaeger_storage": {"backends": {_STORE: {"memory": {"max_traces": 100_000}}}},
            },
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": self.otlp_grpc},
                        "http": {"endpoint": self.otlp_http.removeprefix("http://")},
                    }
                },
                "jaeger": {"protocols": {"thrift_http": {"endpoint": self.thrift_http}}},
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": _STORE}},
        }
        (self.folder / "jaeger.yaml").write_text(yaml.safe_dump(config))
        return [self.program, "--config", "jaeger.yaml"]

    def _environment(self) -> dict[str, str]:
        # It would send spans of its own calls to whatever listens at port 4317.
        return {"OTEL_TRACES_SAMPLER": "always_off"}

    def _is_ready(self) -> bool:
        return answers(f"http://{self._health}/status")

    def trace(self, trace_id: str, spans_min: int = 1, seconds_max: float = 30.0) -> dict[str, Any]:
        """A trace of so many spans at least, once it is there, as Jaeger's UI reads it: `spans`, `processes`."""

        def look() -> dict[str, Any] | None:
            answer = httpx.get(f"{self.query}/api/traces/{trace_id}", trust_env=False)
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            (found,) = answer.raise_for_status().json()["data"]
            return dict(found) if len(found["spans"]) >= spans_min else None

        found = eventually(look, seconds_max)
        assert found, f"Jaeger has no trace {trace_id} of {spans_min} spans or more"
        return found

    def services(self) -> list[str]:
        """The services that it knows of."""
        return list(httpx.get(f"{self.query}/api/services", trust_env=False).raise_for_status().json()["data"] or [])
