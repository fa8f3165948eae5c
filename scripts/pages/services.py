"""Services, methods and REST paths."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from agent_tracer.server.adapters.envoy.bootstrap import descriptor_set
from agent_tracer.server.adapters.envoy.plan import SERVICES
from agent_tracer.server.api.otlp_signals import OTLP_SERVICES
from agent_tracer.server.config import Settings
from scripts.pages.markdown import code, page, table

_PROTOS: Final = Path(__file__).resolve().parents[2] / "proto/agent_tracer/v1"


def rpc_comments() -> Mapping[str, str]:
    """The comment above each `rpc` of the protos, by the method's full name."""
    found: dict[str, str] = {}
    for path in sorted(_PROTOS.glob("*.proto")):
        service, comment = "", []
        for line in path.read_text().splitlines():
            text = line.strip()
            if text.startswith("//"):
                comment.append(text.removeprefix("//").strip())
                continue
            if match := re.match(r"service (\w+)", text):
                service = match[1]
            elif match := re.match(r"rpc (\w+)", text):
                found[f"agent_tracer.v1.{service}.{match[1]}"] = " ".join(comment)
            comment = []
    return found


def rest_paths(method: MethodDescriptorProto) -> str:
    """`GET /api/v1/traces` and its like, from google.api.http."""
    rule: http_pb2.HttpRule = method.options.Extensions[annotations_pb2.http]  # type: ignore[index]
    shown = []
    for binding in (rule, *rule.additional_bindings):
        verb = binding.WhichOneof("pattern")
        if verb is not None:
            shown.append(code(f"{verb.upper()} {getattr(binding, verb)}"))
    return ", ".join(shown)


def api() -> str:
    """Services, methods and REST paths, from the descriptor set."""
    port_settings = {"tracer": "port", "ace": "ace_port", "atlas": "atlas_port"}
    ports = {
        service: getattr(Settings().tracer, port_settings[listener])
        for listener, services in SERVICES.items()
        for service in services
    }
    comments = rpc_comments()
    parts = []
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        for service in file.service:
            name = f"{file.package}.{service.name}"
            rows = [
                (
                    code(m.name) + (" (stream)" if m.server_streaming else ""),
                    rest_paths(m),
                    comments[f"{name}.{m.name}"],
                )
                for m in service.method
            ]
            parts += [
                f"## {service.name}",
                f"`{name}` in [{Path(file.name).name}](../../proto/{file.name}), REST on port {ports[name]}.",
                table(("method", "REST", ""), rows),
            ]
    grpc = Settings().tracer.grpc_port
    otlp = [(code(s.grpc_name), code(f"POST {s.http_path}")) for s in OTLP_SERVICES.values()]
    others = (
        (code(health.SERVICE_NAME), "whether the server, and each service, takes calls"),
        (code(reflection.SERVICE_NAME), "so that `grpcurl` and the like know every method"),
    )
    http = (
        (code("GET /metrics"), "[metrics](metrics.md) for Prometheus"),
        (code("GET /healthz"), "200 as long as the process answers"),
        (code("GET /readyz"), "200 or 503, with the state of each component as JSON"),
        (code("GET /openapi.json"), "OpenAPI 3.1 of all REST paths"),
        (code("GET /.well-known/agent-card.json"), "the server as an [agent card](../ossa.md)"),
    )
    return page(
        "API",
        "proto/agent_tracer/v1/",
        f"gRPC: every service on port {grpc}, with reflection. REST: Envoy makes JSON of the same services (proto3 "
        "JSON mapping, `camelCase` names), each on its port; native gRPC works there too. Fields are described in the "
        "protos.",
        *parts,
        "## OTLP",
        f"OpenTelemetry's own services, on port {grpc}, on its usual ports {Settings().otlp.grpc_port} (gRPC) and "
        f"{Settings().otlp.http_port} (HTTP, protobuf and JSON, plain or gzip), and through Envoy on the port of "
        "TraceService.",
        table(("gRPC", "HTTP"), otlp),
        "## Beside them",
        table(("gRPC", ""), others),
        table(("HTTP", ""), http),
    )
