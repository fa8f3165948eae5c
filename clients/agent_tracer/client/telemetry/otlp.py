"""`OTLPExporter`: spans of one's own to any OTLP endpoint, without touching OpenTelemetry's global state."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Tracer

from agent_tracer.client._shared.environment import target
from agent_tracer.client.telemetry import state
from agent_tracer.client.telemetry.exporters import otlp_exporter
from agent_tracer.client.telemetry.limits import FLUSH_SECONDS_MAX
from agent_tracer.client.telemetry.sending import Losses, QuietExporter, SendingProcessor

__all__ = ["OTLPExporter"]


class OTLPExporter:
    """A tracer provider of its own that sends to one endpoint.

    exporter = OTLPExporter("http://127.0.0.1:4318", "my-service", {"deployment.environment.name": "test"})
    with exporter.start_span("step", attributes={"n": 1}) as span:
        span.set_attribute("done", True)
    """

    def __init__(
        self,
        endpoint: str | None = None,
        service_name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        *,
        api_key: str | None = None,
    ) -> None:
        """Set up sending.

        Args:
            endpoint: `http://host:port` (4317 and `grpc://` mean gRPC, others HTTP), with or without `/v1/traces`;
                else as `instrument` finds it.
            service_name: Goes before OTEL_SERVICE_NAME.
            attributes: Of the resource.
            api_key: Goes before AGENT_TRACER_API_KEY.

        Raises:
            BadEndpointError: The endpoint is no address; a ValueError.
        """
        receiver = target(endpoint, api_key=api_key)
        named = {"service.name": service_name} if service_name else {}
        self.endpoint = receiver.shown
        """Where spans go, a password in it masked."""
        self._losses = Losses(receiver.shown)
        self._sending = SendingProcessor(
            QuietExporter(lambda: otlp_exporter(receiver, "traces"), self._losses), self._losses
        )
        # Its exit handler calls shutdown(), which has a bound.
        self._provider = TracerProvider(resource=Resource.create({**(attributes or {}), **named}))
        self._provider.add_span_processor(self._sending)
        self.tracer: Tracer = self._provider.get_tracer(state.SCOPE, state.version())

    @property
    def tracer_provider(self) -> TracerProvider:
        """For instrumentors that shall send here."""
        return self._provider

    @property
    def dropped_spans(self) -> int:
        """Spans that did not get out."""
        return self._losses.total

    @contextmanager
    def start_span(
        self, name: str, attributes: Mapping[str, Any] | None = None, *, kind: SpanKind | str = SpanKind.INTERNAL
    ) -> Iterator[Span]:
        """A span that is current inside `with`. What is raised is recorded as its error, and goes on unchanged."""
        chosen = SpanKind[kind.upper()] if isinstance(kind, str) else kind
        with self.tracer.start_as_current_span(name, kind=chosen, attributes=attributes) as span:
            yield span

    def flush(self, timeout: float = FLUSH_SECONDS_MAX) -> bool:
        """Send what has ended, in `timeout` seconds at most; False where something did not get out."""
        return self._sending.force_flush(int(timeout * 1000))

    def shutdown(self) -> None:
        """Send what waits, for three seconds at most, and end."""
        self._provider.shutdown()

    def __enter__(self) -> Self:
        """The exporter, ended by `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.shutdown()
