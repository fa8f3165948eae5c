"""OTLP over gRPC. Requests stay the bytes that they arrive as: the journal keeps these very bytes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import grpc
from grpc.aio import ServicerContext

from agent_tracer.server.api.errors import abort, status_of
from agent_tracer.server.api.otlp_signals import OTLP_SERVICES, export_response
from agent_tracer.server.domain.ids import DEFAULT_TENANT, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.ingest import Ingest

Context: TypeAlias = ServicerContext[bytes, bytes]


def default_tenant(_context: Context) -> TenantId:
    """Everybody's telemetry belongs to the one tenant that there is without keys."""
    return DEFAULT_TENANT


def otlp_handlers(
    ingest: Ingest, tenant_of: Callable[[Context], TenantId] = default_tenant
) -> Sequence[grpc.GenericRpcHandler]:
    """The trace, logs and metrics services, for `grpc.aio.Server.add_generic_rpc_handlers`.

    Errors end a call with the status that `status_of` gives: INVALID_ARGUMENT for what cannot be decoded,
    RESOURCE_EXHAUSTED (with RetryInfo where trying again helps), UNAVAILABLE while stopping.
    """
    return [
        grpc.method_handlers_generic_handler(
            service.grpc_name,
            # Without (de)serialisers grpc passes the bytes through.
            {"Export": grpc.unary_unary_rpc_method_handler(_export(ingest, signal, tenant_of))},
        )
        for signal, service in OTLP_SERVICES.items()
    ]


def _export(
    ingest: Ingest, signal: Signal, tenant_of: Callable[[Context], TenantId]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def export(payload: bytes, context: Context) -> bytes:
        try:
            outcome = await ingest.export(signal, tenant_of(context), payload)
        except Exception as error:  # noqa: BLE001 - status_of knows them all, and logs what it does not foresee
            await abort(context, status_of(error))
        return export_response(signal, outcome).SerializeToString()

    return export
