"""The way of a build's spans to their receivers, each on its own thread, with a bound on what the build waits."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NoOpTracer, Tracer

from agent_tracer.client._shared.environment import Target
from agent_tracer.client.buildkit.receivers import CONNECT_SECONDS_MAX, exporter, is_listening, receivers

FINISH_SECONDS_MAX: Final = 10.0
"""How long a build waits for its spans to be taken, all in all, by a server that is there but slow."""
_DELAY_MS: Final = 1_000
_SCOPE: Final = "agent_tracer.client.buildkit"
_SERVICE: Final = "agent-tracer-ci"
_PHOENIX_PROJECT: Final = "openinference.project.name"

logger = logging.getLogger(_SCOPE)


class Ids(RandomIdGenerator):
    """The trace's id and the first span's where they are known before, random ones else."""

    def __init__(self, trace_id: int | None = None, span_id: int | None = None) -> None:
        self._trace_id = trace_id
        self._span_id = span_id

    def generate_trace_id(self) -> int:
        """Of a root span."""
        return self._trace_id or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Whether W3C's flag for random ids may be set: not for an id that is a hash."""
        return self._trace_id is None

    def generate_span_id(self) -> int:
        """The known one once, for the span that is made first."""
        known, self._span_id = self._span_id, None
        return known or super().generate_span_id()


class Sending:
    """A tracer whose spans go to every receiver that the environment names. Nothing here raises."""

    def __init__(self, ids: Ids) -> None:
        self._roads: list[_Road] = []
        try:
            self.tracer = self._tracer(ids)
        except Exception as error:  # noqa: BLE001 - whatever a setting breaks, the build goes on
            logger.warning("no spans are sent: %s", error)
            self.tracer = NoOpTracer()

    def _tracer(self, ids: Ids) -> Tracer:
        provider = TracerProvider(id_generator=ids, resource=_resource(), shutdown_on_exit=False)
        for receiver in receivers():
            road = _Road(receiver)
            self._roads.append(road)
            provider.add_span_processor(road)
        return provider.get_tracer(_SCOPE)

    def finish(self, seconds: float = FINISH_SECONDS_MAX) -> bool:
        """Send what is left, for at most so long; warn of what was not taken. Whether everything was."""
        deadline = time.monotonic() + seconds
        threads = [threading.Thread(target=road.shutdown, daemon=True) for road in self._roads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        lost = [road for road in self._roads if road.taken < road.ended]
        for road in lost:
            logger.warning(
                "%d of %d spans were not taken by %s; the build is not touched by that",
                road.ended - road.taken,
                road.ended,
                road.shown,
            )
        return not lost


class _Road(SpanProcessor):
    """To one receiver, counting. Its exporter is made on the sending thread: the build does not wait for imports."""

    def __init__(self, receiver: Target) -> None:
        self.shown = receiver.shown
        self.ended = 0
        self.taken = 0
        self._batches = BatchSpanProcessor(_Late(receiver, self._count), schedule_delay_millis=_DELAY_MS)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue it; a full queue drops the oldest."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.ended += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        """Send what is queued."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanProcessor."""
        return self._batches.force_flush(timeout_millis)

    def _count(self, spans: int) -> None:
        self.taken += spans


class _Late(SpanExporter):
    """An exporter that is made while the build works, and that gives up soon where nobody listens."""

    def __init__(self, receiver: Target, count: Callable[[int], None]) -> None:
        self._receiver = receiver
        self._count = count
        self._making = threading.Lock()
        self._made: SpanExporter | None = None
        self._is_away = False
        threading.Thread(target=self._exporter, daemon=True).start()

    def _exporter(self) -> SpanExporter:
        with self._making:
            self._made = self._made or exporter(self._receiver)
            return self._made

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter."""
        self._is_away = not is_listening(self._receiver, 0.0 if self._is_away else CONNECT_SECONDS_MAX)
        if self._is_away:
            return SpanExportResult.FAILURE
        result = self._exporter().export(spans)
        if result is SpanExportResult.SUCCESS:
            self._count(len(spans))
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        if self._made is not None:
            self._made.shutdown()


def _resource() -> Resource:
    """As OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say, which go before ours."""
    own: dict[str, str] = {}
    if project := os.environ.get("PHOENIX_PROJECT_NAME", "").strip():
        own[_PHOENIX_PROJECT] = project
    found = Resource.create(own)
    unnamed = str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return found.merge(Resource({SERVICE_NAME: _SERVICE})) if unnamed else found
