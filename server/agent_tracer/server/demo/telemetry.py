"""The demo's own OpenTelemetry pipeline: spans counted, delivered, and said so when they are not."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import StatusCode

from agent_tracer.server.limits import DEMO_EXPORT_SECONDS_MAX

SERVICE_NAME: Final = "agent-tracer-demo"
_SPAN_KIND: Final = "openinference.span.kind"


class DemoEndpointError(ValueError):
    """The OTLP endpoint is neither host:port nor an http(s) URL."""


class DemoDeliveryError(RuntimeError):
    """Nobody took the spans: no server at the endpoint, or it refused them."""


@dataclass(frozen=True, slots=True)
class SpanCounts:
    """Ended spans, those among them that are calls of a language model, and those with error status."""

    spans: int
    llm_calls: int
    errors: int


class DemoTelemetry:
    """A tracer provider of its own, its counts, and delivery that can fail loudly."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._tally = _Tally()
        self._watch = _WatchedExporter(exporter)
        self._endpoint = endpoint
        # Sampler and resource are given, so that no OTEL_* variable of the caller thins out the demo.
        self.provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource({"service.name": SERVICE_NAME}),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self._tally)
        self.provider.add_span_processor(BatchSpanProcessor(self._watch))

    @property
    def counts(self) -> SpanCounts:
        """What has ended so far."""
        return self._tally.counts

    def deliver(self) -> None:
        """Sends every ended span. Raises DemoDeliveryError where the endpoint did not take them all."""
        flushed = self.provider.force_flush(timeout_millis=2 * DEMO_EXPORT_SECONDS_MAX * 1000)
        if self._watch.failed or not flushed:
            message = f"nobody took the spans at {self._endpoint}: start the server, or name another endpoint"
            raise DemoDeliveryError(message)


@contextmanager
def demo_telemetry(endpoint: str) -> Iterator[DemoTelemetry]:
    """The pipeline to `endpoint`, shut down afterwards. Raises DemoEndpointError."""
    telemetry = DemoTelemetry(otlp_exporter(endpoint), endpoint)
    try:
        yield telemetry
    finally:
        telemetry.provider.shutdown()


def otlp_exporter(endpoint: str) -> SpanExporter:
    """Speaks gRPC without TLS for `host:port`; HTTP for a URL, to `/v1/traces` where it has no path."""
    url = urlsplit(endpoint)
    if url.scheme in ("http", "https") and url.netloc:
        target = endpoint if url.path.strip("/") else f"{url.scheme}://{url.netloc}/v1/traces"
        return HttpExporter(endpoint=target, timeout=DEMO_EXPORT_SECONDS_MAX)
    host, colon, port = endpoint.rpartition(":")
    if not (host and colon and port.isdecimal()) or "/" in host:
        message = f"the OTLP endpoint {endpoint!r} is neither host:port (gRPC) nor an http:// or https:// URL"
        raise DemoEndpointError(message)
    return GrpcExporter(endpoint=endpoint, insecure=True, timeout=DEMO_EXPORT_SECONDS_MAX)


class _Tally(SpanProcessor):
    def __init__(self) -> None:
        self.counts = SpanCounts(0, 0, 0)

    def on_end(self, span: ReadableSpan) -> None:
        counts, attributes = self.counts, span.attributes or {}
        self.counts = SpanCounts(
            counts.spans + 1,
            counts.llm_calls + (attributes.get(_SPAN_KIND) == "LLM"),
            counts.errors + (span.status.status_code is StatusCode.ERROR),
        )


class _WatchedExporter(SpanExporter):
    """Remembers a failed export, which the batch processor keeps to itself."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self.failed = self.failed or result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
