"""Where each request goes.

A REST request is routed twice: by its own path, which decides buffering and compression, and, after the
transcoder, by its gRPC path, which decides cluster and deadline.
"""

from collections.abc import Iterable
from typing import Final

from agent_tracer.server.adapters.envoy import proto_json as names
from agent_tracer.server.adapters.envoy.contract import Contract
from agent_tracer.server.adapters.envoy.plan import Bounds, Listener
from agent_tracer.server.adapters.envoy.proto_json import Message, seconds, switched_off, typed

GRPC_CLUSTER: Final = "grpc"
HTTP_CLUSTER: Final = "http"

FRONT_PATHS: Final = (
    "/metrics",
    "/healthz",
    "/readyz",
    "/v1/traces",
    "/v1/logs",
    "/v1/metrics",
    "/.well-known/agent-card.json",
    "/openapi.json",
)
"""What the server's own HTTP listener answers, under the same paths."""

_FRONT_UNARY: Final = tuple(
    f"/opentelemetry.proto.collector.{signal}.v1.{signal.capitalize()}Service/"
    for signal in ("trace", "logs", "metrics")
)
_FRONT_STREAMS: Final = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)

_BODY_FILTERS: Final = (
    names.COMPRESSOR,
    names.ENCODING_CHECK,
    names.DECOMPRESSOR,
    names.BUFFER,
    names.GZIP_CHECK,
)

LOOPBACK_HOST: Final = r"(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]+)?"
LOOPBACK_ORIGIN: Final = f"https?://{LOOPBACK_HOST}"
"""Regular expressions of a Host and an Origin header of this machine's own pages and programs."""


_NOT_HERE: Final = {"status": 404, "body": {"inline_string": "this port does not answer that service"}}


def route_config(listener: Listener, contract: Contract, bounds: Bounds) -> Message:
    """A `route_config` with every route of the listener; the first that matches is taken."""
    routes: list[Message] = []
    if listener.is_front:
        routes += _front(bounds)
    for service in listener.services:
        for stream in contract.streams_of(service):
            routes.append(_grpc({"path": stream.grpc_path}, _endless()))
            routes += [_rest_stream(path) for path in stream.rest_paths]
        routes.append(_grpc({"prefix": f"/{service}/"}, _unary(bounds)))
    # Native gRPC to a service of another port ends here; without this the last route would take it.
    routes.append({"match": {"prefix": "/", "grpc": {}}, "direct_response": _NOT_HERE})
    # CORS asks for a cluster here; no request reaches it, for the transcoder refuses what it does not know.
    routes.append({"match": {"prefix": "/"}, "route": {"cluster": GRPC_CLUSTER, **_unary(bounds)}})
    host = {"name": listener.name, "domains": ["*"], "routes": routes, "typed_per_filter_config": _cors()}
    return {
        "name": listener.name,
        "virtual_hosts": [host],
        "response_headers_to_remove": ["grpc-accept-encoding"],
    }


def _front(bounds: Bounds) -> Iterable[Message]:
    for path in FRONT_PATHS:
        yield {
            "match": {"path": path},
            "route": {
                "cluster": HTTP_CLUSTER,
                "timeout": seconds(bounds.unary_seconds),
                "retry_policy": _retry("reset-before-request,connect-failure"),
            },
            # The server inflates OTLP bodies itself, so that the limit is the same on every port.
            "typed_per_filter_config": switched_off(
                names.TRANSCODER, names.ENCODING_CHECK, names.DECOMPRESSOR, names.GZIP_CHECK
            ),
        }
    for prefix in _FRONT_UNARY:
        yield _grpc({"prefix": prefix}, _unary(bounds), names.TRANSCODER)
    for prefix in _FRONT_STREAMS:
        yield _grpc({"prefix": prefix}, _endless(), names.TRANSCODER)


def _grpc(match: Message, action: Message, *passed_by: str) -> Message:
    """A route of gRPC requests, native or transcoded. Its bodies are streams, which must not be held back."""
    return {
        "match": {**match, "grpc": {}},
        "route": {"cluster": GRPC_CLUSTER, **action},
        "typed_per_filter_config": switched_off(*_BODY_FILTERS, *passed_by),
    }


def _rest_stream(path: str) -> Message:
    return {
        "match": {"safe_regex": {"regex": path}},
        "route": {"cluster": GRPC_CLUSTER, **_endless()},
        # gzip would hold the messages back until it has a block of them.
        "typed_per_filter_config": switched_off(names.COMPRESSOR),
    }


def _unary(bounds: Bounds) -> Message:
    longest = seconds(bounds.unary_seconds)
    return {
        "timeout": longest,
        # The deadline is the caller's `grpc-timeout`, but at most the longest; the server is told it.
        "max_stream_duration": {"max_stream_duration": longest, "grpc_timeout_header_max": longest},
        "retry_policy": _retry("refused-stream,connect-failure"),
    }


def _endless() -> Message:
    return {"timeout": "0s", "idle_timeout": "0s", "max_stream_duration": {"grpc_timeout_header_max": "0s"}}


def _retry(causes: str) -> Message:
    """One more try where the request cannot have reached the server."""
    return {"retry_on": causes, "num_retries": 1}


def _cors() -> Message:
    policy = typed(
        "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[{"safe_regex": {"regex": LOOPBACK_ORIGIN}}],
        allow_methods="GET,POST,DELETE,OPTIONS",
        allow_headers="authorization,content-type,content-encoding,grpc-timeout",
        expose_headers="grpc-status,grpc-message",
        max_age="600",
    )
    return {names.CORS: policy}
