"""Envoy's bootstrap, made from a plan and the API's descriptors. Pure.

Run as a program, it prints the bootstrap of the default settings, which envoy/bootstrap.json keeps.
"""

import json
import sys
from importlib import resources
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.adapters.envoy.contract import Contract, read_contract
from agent_tracer.server.adapters.envoy.filters import http_filters
from agent_tracer.server.adapters.envoy.plan import Address, Bounds, Listener, Plan, plan_of, reachable
from agent_tracer.server.adapters.envoy.proto_json import Message, extension, seconds, socket, typed
from agent_tracer.server.adapters.envoy.replies import local_reply_config
from agent_tracer.server.adapters.envoy.routes import GRPC_CLUSTER, HTTP_CLUSTER, route_config
from agent_tracer.server.config import Settings

KEPT_DESCRIPTOR_PATH: Final = "gen/agent_tracer/descriptors/api.binpb"
"""Where envoy/bootstrap.json finds the descriptor set, from the repository's root."""

_NETWORK: Final = "envoy.filters.network"
_NETWORK_API: Final = "envoy.extensions.filters.network"
_CONNECTIONS: Final = "envoy.extensions.resource_monitors.downstream_connections"
_RUNTIME: Final = {
    # Else a deadline that passed is UNAVAILABLE to gRPC clients, which they retry.
    "envoy.reloadable_features.grpc_timeout_returns_deadline_exceeded": True,
}
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def descriptor_set() -> bytes:
    """The API's descriptor set, as generated from the protos."""
    return resources.files("agent_tracer.descriptors").joinpath("api.binpb").read_bytes()


def bootstrap(plan: Plan, contract: Contract) -> Message:
    """Envoy's bootstrap in proto3 JSON. Raises ContractError where a listener's service is in no proto."""
    return {
        # Port 0: the kernel picks a free one, which Envoy tells in the file of --admin-address-path.
        "admin": {"address": socket("127.0.0.1", 0)},
        "layered_runtime": {"layers": [{"name": "agent-tracer", "static_layer": _RUNTIME}]},
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    f"{_CONNECTIONS}.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=plan.bounds.connections * len(plan.listeners),
                )
            ]
        },
        "static_resources": {
            "listeners": [_listener(plan, listener, contract) for listener in plan.listeners],
            "clusters": [
                _cluster(GRPC_CLUSTER, plan.grpc, plan.bounds, _http2()),
                _cluster(HTTP_CLUSTER, plan.http, plan.bounds, _http1()),
            ],
        },
    }


def _listener(plan: Plan, listener: Listener, contract: Contract) -> Message:
    bounds = plan.bounds
    limit = extension(
        f"{_NETWORK}.connection_limit",
        f"{_NETWORK_API}.connection_limit.v3.ConnectionLimit",
        stat_prefix=listener.name,
        max_connections=bounds.connections,
    )
    http = extension(
        f"{_NETWORK}.http_connection_manager",
        f"{_NETWORK_API}.http_connection_manager.v3.HttpConnectionManager",
        **_connection_manager(plan, listener, contract),
    )
    return {
        "name": listener.name,
        "address": socket(listener.address.host, listener.address.port),
        # With it a second Envoy would share the port in silence instead of failing.
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": bounds.buffer_bytes,
        "filter_chains": [{"filters": [limit, http]}],
    }


def _connection_manager(plan: Plan, listener: Listener, contract: Contract) -> Message:
    bounds = plan.bounds
    return {
        "stat_prefix": listener.name,
        "use_remote_address": True,
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "normalize_path": True,
        # An id with a slash arrives as %2F and must stay one segment.
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "max_request_headers_kb": bounds.header_kib,
        "request_headers_timeout": seconds(bounds.header_seconds),
        "stream_idle_timeout": seconds(bounds.idle_seconds),
        "http2_protocol_options": {
            "max_concurrent_streams": bounds.streams_per_connection,
            "initial_stream_window_size": limits.ENVOY_WINDOW_BYTES,
            "initial_connection_window_size": limits.ENVOY_WINDOW_BYTES,
        },
        "local_reply_config": local_reply_config(bounds),
        "route_config": route_config(listener, contract, bounds),
        "http_filters": http_filters(listener, plan.descriptor_path, bounds),
    }


def _cluster(name: str, address: Address, bounds: Bounds, options: Message) -> Message:
    """A cluster of one server on this machine: no health checks, for they would delay the first request."""
    at = reachable(address)
    thresholds = {
        "max_connections": bounds.requests,
        "max_pending_requests": bounds.waiting,
        "max_requests": bounds.requests,
        "max_retries": limits.ENVOY_RETRIES_MAX,
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": seconds(bounds.connect_seconds),
        "circuit_breakers": {"thresholds": [thresholds]},
        "upstream_connection_options": {
            "tcp_keepalive": {
                "keepalive_time": limits.ENVOY_KEEPALIVE_SECONDS,
                "keepalive_interval": limits.ENVOY_KEEPALIVE_SECONDS,
            }
        },
        "typed_extension_protocol_options": {_HTTP_OPTIONS: typed(_HTTP_OPTIONS, **options)},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(at.host, at.port)}}]}],
        },
    }


def _http2() -> Message:
    return {"explicit_http_config": {"http2_protocol_options": {}}}


def _http1() -> Message:
    return {
        "common_http_protocol_options": {"idle_timeout": seconds(limits.ENVOY_HTTP_BACKEND_IDLE_SECONDS)},
        "explicit_http_config": {"http_protocol_options": {}},
    }


def as_text(message: Message) -> str:
    """The bootstrap as it is kept in a file."""
    return json.dumps(message, indent=1) + "\n"


def default_text() -> str:
    """What envoy/bootstrap.json must hold."""
    plan = plan_of(Settings(), descriptor_path=KEPT_DESCRIPTOR_PATH)
    return as_text(bootstrap(plan, read_contract(descriptor_set())))


if __name__ == "__main__":
    sys.stdout.write(default_text())
