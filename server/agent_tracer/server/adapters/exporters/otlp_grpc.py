"""A backend that takes OTLP over gRPC."""

from collections.abc import Sequence
from typing import Final

import grpc

from agent_tracer.server.adapters.exporters.answers import raise_for_rpc, taken
from agent_tracer.server.adapters.exporters.connection import Connection, untrusted
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_ANSWER_BYTES_MAX
from agent_tracer.server.ports.export import BackendGoneError, Payloads, Taken

_METHODS: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", EXPORT_ANSWER_BYTES_MAX),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),  # the forwarder's own, which it counts
)

_CODES_OF_CONNECTIONS: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a call ends with where the connection is dead; one to a host that vanished is given up by TCP after minutes."""


class OtlpGrpc:
    """ports.export.ExportTarget. The bytes go out as they came in: the stubs serialise nothing."""

    def __init__(self, connection: Connection) -> None:
        """Raises TlsFilesError."""
        self._connection = connection
        self._metadata = tuple(connection.all_headers.items())
        self._tls = connection.tls.texts() if connection.destination.secure else None
        self._channel: grpc.aio.Channel | None = None

    def prepare(self, signal: Signal, payloads: Sequence[bytes]) -> Sequence[Payloads]:  # noqa: ARG002 - the port's
        """See the port."""
        return [tuple(payloads)]

    async def send(self, signal: Signal, payloads: Payloads) -> Taken:
        """See the port."""
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._opened().unary_unary(_METHODS[signal])
        key = self._connection.key
        try:
            answer: bytes = await call(
                b"".join(payloads), timeout=self._connection.timeout_seconds, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            has_failed = self._opened().get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE
            if error.code() in _CODES_OF_CONNECTIONS:
                await self.aclose()  # a channel has pauses of its own between attempts, and its addresses grow old
            if has_failed and error.code() is grpc.StatusCode.UNAVAILABLE:
                raise BackendGoneError(_unreachable(key, error.details() or "")) from None
            raise_for_rpc(key, error)
        return taken(signal, answer)

    async def aclose(self) -> None:
        """See the port."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None:
            target = self._connection.destination.target
            zipped = grpc.Compression.Gzip if self._connection.gzip else grpc.Compression.NoCompression
            if self._tls is None:
                self._channel = grpc.aio.insecure_channel(target, _OPTIONS, zipped)
            else:
                credentials = grpc.ssl_channel_credentials(*self._tls)
                self._channel = grpc.aio.secure_channel(target, credentials, _OPTIONS, zipped)
        return self._channel


def _unreachable(key: str, details: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in details:
        return untrusted(key)
    return f"the backend of {key} cannot be reached"
