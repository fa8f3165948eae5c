"""Services whose contract stands and whose answers do not exist yet: every call says so."""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from agent_tracer.server.domain.errors import NotBuiltError
from agent_tracer.v1 import correlation_pb2

_SERVICES: Final[tuple[ServiceDescriptor, ...]] = (correlation_pb2.DESCRIPTOR.services_by_name["CorrelationService"],)


def unbuilt_handlers() -> Sequence[grpc.GenericRpcHandler]:
    """The services, for `grpc.aio.Server.add_generic_rpc_handlers`."""
    return [_refusing(service) for service in _SERVICES]


def _refusing(service: ServiceDescriptor) -> grpc.GenericRpcHandler:
    handlers = {method.name: _handler(method) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _handler(method: MethodDescriptor) -> Any:  # noqa: ANN401
    async def refuse(_request: bytes, _context: object) -> NoReturn:
        message = f"{method.full_name} is part of the API, but this server does not answer it yet"
        raise NotBuiltError(message)

    return grpc.unary_unary_rpc_method_handler(refuse)
