"""Jaeger's legacy collector: POST /api/traces, one Thrift batch a request, 202 where it is taken."""

import asyncio
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_tracer.server.adapters.exporters.connection import Connection
from agent_tracer.server.adapters.exporters.posting import Poster
from agent_tracer.server.adapters.exporters.thrift_spans import by_resource, thrift_batch
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import ExportRefusedError, Payloads, Taken

_THRIFT: Final = "application/x-thrift"


class JaegerThrift:
    """ports.export.ExportTarget of traces."""

    def __init__(self, connection: Connection) -> None:
        """Raises TlsFilesError."""
        self._url = connection.destination.base + connection.destination.query
        self._poster = Poster(connection)

    def prepare(self, signal: Signal, payloads: Sequence[bytes]) -> Sequence[Payloads]:  # noqa: ARG002 - the port's
        """See the port."""
        merged = ExportTraceServiceRequest()
        unreadable: list[Payloads] = []
        for payload in payloads:
            try:
                merged.MergeFrom(ExportTraceServiceRequest.FromString(payload))
            except DecodeError:
                unreadable.append((payload,))
        return [*((part,) for part in by_resource(merged)), *unreadable]

    async def send(self, signal: Signal, payloads: Payloads) -> Taken:  # noqa: ARG002 - the port's
        """See the port."""
        body = await asyncio.to_thread(_thrift, payloads)
        # Collectors before version 2 do not read compressed bodies.
        await self._poster.post(self._url, body, _THRIFT, may_compress=False)
        return Taken()

    async def aclose(self) -> None:
        """See the port."""
        await self._poster.aclose()


def _thrift(payloads: Payloads) -> bytes:
    try:
        return thrift_batch(ExportTraceServiceRequest.FromString(b"".join(payloads)))
    except DecodeError:
        raise ExportRefusedError("the request cannot be read") from None
