"""The gRPC server: every service on one port, with health and reflection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from agent_tracer.server import limits
from agent_tracer.server.api.ace_service import AceServicer
from agent_tracer.server.api.atlas_service import AtlasServicer
from agent_tracer.server.api.correlation_service import CorrelationServicer
from agent_tracer.server.api.interceptors import CallHook, CallInterceptor
from agent_tracer.server.api.listening import CannotListenError, ListenAddress, check_free
from agent_tracer.server.api.reflection import add_reflection
from agent_tracer.server.api.trace_service import TraceServicer
from agent_tracer.v1 import (
    ace_pb2,
    ace_pb2_grpc,
    atlas_pb2,
    atlas_pb2_grpc,
    correlation_pb2,
    correlation_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)

_MS: Final = 1000

_HealthServicer: Final[Any] = health.aio.HealthServicer  # type: ignore[attr-defined]

_OPTIONS: Final = (
    # Otherwise a second server takes the same port and half of the calls, silently.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", limits.RESPONSE_BYTES_MAX),
    ("grpc.max_concurrent_streams", limits.GRPC_STREAMS_MAX),
    # It counts calls that the client has seen the end of: with more calls than streams, half of them would be refused.
    # What it protects from, streams opened and reset at once, is bounded by the calls at once in all.
    ("grpc.http.overload_protection", 0),
    ("grpc.keepalive_time_ms", limits.GRPC_KEEPALIVE_SECONDS * _MS),
    ("grpc.keepalive_timeout_ms", limits.GRPC_KEEPALIVE_TIMEOUT_SECONDS * _MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", limits.GRPC_PING_SECONDS_MIN * _MS),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service to register: its full proto name, and what adds its handlers.

    Its descriptor must be in protobuf's default pool (its pb2 module imported), for reflection.
    """

    name: str
    add: Callable[[grpc.aio.Server], None]


def trace_service(servicer: TraceServicer) -> Service:
    """TraceService, ready to register."""
    return Service(
        trace_pb2.DESCRIPTOR.services_by_name["TraceService"].full_name,
        partial(trace_pb2_grpc.add_TraceServiceServicer_to_server, servicer),
    )


def ace_service(servicer: AceServicer) -> Service:
    """AceService, ready to register."""
    return Service(
        ace_pb2.DESCRIPTOR.services_by_name["AceService"].full_name,
        partial(ace_pb2_grpc.add_AceServiceServicer_to_server, servicer),
    )


def atlas_service(servicer: AtlasServicer) -> Service:
    """AtlasService, ready to register."""
    return Service(
        atlas_pb2.DESCRIPTOR.services_by_name["AtlasService"].full_name,
        partial(atlas_pb2_grpc.add_AtlasServiceServicer_to_server, servicer),
    )


def correlation_service(servicer: CorrelationServicer) -> Service:
    """CorrelationService, ready to register."""
    return Service(
        correlation_pb2.DESCRIPTOR.services_by_name["CorrelationService"].full_name,
        partial(correlation_pb2_grpc.add_CorrelationServiceServicer_to_server, servicer),
    )


def handler_service(handler: grpc.GenericRpcHandler) -> Service:
    """A service given as a generic handler of one service, ready to register."""
    if not isinstance(handler, grpc.ServiceRpcHandler):
        raise TypeError("the handler does not say which service it is")

    def add(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((handler,))

    return Service(handler.service_name(), add)


class GrpcServer:
    """Bound when made, taking calls from `start` on. `ports` are in the order of the addresses."""

    def __init__(
        self,
        services: Sequence[Service],
        addresses: Sequence[ListenAddress],
        *,
        on_call: CallHook | None = None,
    ) -> None:
        """Needs a running event loop. Raises CannotListenError."""
        self._services = services
        self._calls = CallInterceptor(on_call)
        self._health = _HealthServicer()
        self._server = grpc.aio.server(
            interceptors=(self._calls,),
            options=_OPTIONS,
            maximum_concurrent_rpcs=limits.GRPC_CALLS_MAX,
        )
        self._register()
        self.ports = [_bind(self._server, address) for address in addresses]

    async def start(self, *, serving: bool) -> None:
        """Take calls. Health says not-serving until `set_serving`, unless `serving` is given."""
        await self.set_serving(serving=serving)
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """What health says of the server ("") and of each service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.name for service in self._services)):
            await self._health.set(name, status)

    async def stop(self, grace_seconds: float) -> None:
        """Not-serving, end streams, let calls under way finish for up to the grace, then cancel them."""
        await self._health.enter_graceful_shutdown()
        self._calls.end_streams()
        await self._server.stop(grace_seconds)

    def _register(self) -> None:
        for service in self._services:
            service.add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        add_reflection((*(service.name for service in self._services), health.SERVICE_NAME), self._server)


def _bind(server: grpc.aio.Server, address: ListenAddress) -> int:
    check_free(address)
    try:
        return int(server.add_insecure_port(address.target))
    except RuntimeError:
        raise CannotListenError(address, "the system refuses it") from None
