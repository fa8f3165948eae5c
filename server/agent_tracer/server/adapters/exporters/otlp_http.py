"""A backend that takes OTLP over HTTP, in protobuf."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.exporters.answers import taken
from agent_tracer.server.adapters.exporters.connection import Connection
from agent_tracer.server.adapters.exporters.posting import Poster
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import Payloads, Taken

_PROTOBUF: Final = "application/x-protobuf"


class OtlpHttp:
    """ports.export.ExportTarget. The bytes go out as they came in."""

    def __init__(self, connection: Connection) -> None:
        """Raises TlsFilesError."""
        self._urls = {signal: connection.destination.url(signal) for signal in Signal}
        self._poster = Poster(connection)

    def prepare(self, signal: Signal, payloads: Sequence[bytes]) -> Sequence[Payloads]:  # noqa: ARG002 - the port's
        """See the port."""
        return [tuple(payloads)]

    async def send(self, signal: Signal, payloads: Payloads) -> Taken:
        """See the port."""
        body, content_type = await self._poster.post(self._urls[signal], b"".join(payloads), _PROTOBUF)
        return taken(signal, body, is_json="json" in content_type)

    async def aclose(self) -> None:
        """See the port."""
        await self._poster.aclose()
