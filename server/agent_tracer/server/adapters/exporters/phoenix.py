"""Arize Phoenix: OTLP with a project on each resource and spans in OpenInference's words."""

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from agent_tracer.server.domain.openinference import PROJECT, translate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import ExportTarget, Payloads, Taken


class Phoenix:
    """ports.export.ExportTarget around one that speaks OTLP."""

    def __init__(self, inner: ExportTarget, project: str) -> None:
        """`project`: of the resources that name none themselves by openinference.project.name."""
        self._inner: Final = inner
        self._project: Final = project

    def prepare(self, signal: Signal, payloads: Sequence[bytes]) -> Sequence[Payloads]:
        """See the port."""
        if signal is not Signal.TRACES:
            return self._inner.prepare(signal, payloads)
        return self._inner.prepare(signal, [self._translated(payload) for payload in payloads])

    async def send(self, signal: Signal, payloads: Payloads) -> Taken:
        """See the port."""
        return await self._inner.send(signal, payloads)

    async def aclose(self) -> None:
        """See the port."""
        await self._inner.aclose()

    def _translated(self, payload: bytes) -> bytes:
        try:
            request = ExportTraceServiceRequest.FromString(payload)
        except DecodeError:
            return payload
        for group in request.resource_spans:
            self._file(group.resource)
            for scope in group.scope_spans:
                for span in scope.spans:
                    translate(span)
        return request.SerializeToString()

    def _file(self, resource: Resource) -> None:
        if not any(pair.key == PROJECT for pair in resource.attributes):
            resource.attributes.add(key=PROJECT).value.string_value = self._project
