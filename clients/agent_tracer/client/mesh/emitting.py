"""Sends CloudEvents of an agent, and records received ones as logs of the spans that they name."""

import contextlib
import queue
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from opentelemetry import _logs as logs
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from agent_tracer.client._shared.identity import AGENT_ID
from agent_tracer.client._shared.posting import PostError, post
from agent_tracer.client.mesh import events
from agent_tracer.client.mesh.calls import SCOPE
from agent_tracer.client.mesh.events import CloudEvent
from agent_tracer.client.mesh.faults import guarded, note
from agent_tracer.client.mesh.messages import Capture

Sink = Callable[[CloudEvent], object]

QUEUE_EVENTS_MAX: Final = 1024
"""Events that wait for a receiver; more are dropped and counted: an agent does not wait for its audience."""
POST_SECONDS: Final = 10.0
_TRACE_ID_DIGITS: Final = 32
_SPAN_ID_DIGITS: Final = 16


class EventEmitter:
    """Sends the events of one agent to a callable, or by POST to a URL from a thread of its own. Raises nothing.

    `binary`: CloudEvents' binary mode instead of the structured one, for a URL.
    """

    def __init__(self, sink: Sink | str, agent_id: str = "", *, source: str = "", binary: bool = False) -> None:
        self._agent_id = agent_id
        self._source = source
        self._sink: Sink = _Poster(sink, binary=binary) if isinstance(sink, str) else sink

    def started(self, data: Any = None) -> None:  # noqa: ANN401  # anything that JSON has, here and below
        """The agent began to work."""
        self.emit(events.AGENT_STARTED, data)

    def completed(self, data: Any = None) -> None:  # noqa: ANN401
        """The agent has done its work."""
        self.emit(events.AGENT_COMPLETED, data)

    def failed(self, data: Any = None) -> None:  # noqa: ANN401
        """The agent could not do its work."""
        self.emit(events.AGENT_FAILED, data)

    def tool_called(self, tool: str, data: Any = None) -> None:  # noqa: ANN401
        """The agent called a tool; its name is the event's subject."""
        self.emit(events.TOOL_CALLED, data, subject=tool)

    @guarded(lambda: None)
    def emit(self, type: str, data: Any = None, *, subject: str = "") -> None:  # noqa: A002, ANN401
        """Send an event of any type, with the current span's ids."""
        made = CloudEvent.now(type, agent_id=self._agent_id, source=self._source, subject=subject, data=data)
        self._sink(made)

    def close(self, timeout_seconds: float = POST_SECONDS) -> None:
        """Wait, at most so long, until what was emitted is sent."""
        if isinstance(self._sink, _Poster):
            self._sink.close(timeout_seconds)


class _Poster:
    def __init__(self, url: str, *, binary: bool) -> None:
        self._url = url
        self._binary = binary
        self._waiting: queue.Queue[CloudEvent | None] = queue.Queue(QUEUE_EVENTS_MAX)
        self._thread = threading.Thread(target=self._run, name="agent-mesh-events", daemon=True)
        self._thread.start()

    def __call__(self, event: CloudEvent) -> None:
        self._waiting.put_nowait(event)

    def close(self, timeout_seconds: float) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=timeout_seconds)
            self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            self._post(event)

    @guarded(lambda: None)
    def _post(self, event: CloudEvent) -> None:
        headers, body = event.binary() if self._binary else event.structured()
        try:
            post(self._url, body, headers, seconds=POST_SECONDS)
        except PostError as error:
            note(f"events, status {error.status}" if error.status else "events", error, f": {error}")


def record(
    event: CloudEvent,
    *,
    capture_messages: bool = False,
    redact: Callable[[str], str] | None = None,
    logger_provider: Any = None,  # noqa: ANN401  # an SDK's, of any version
) -> None:
    """Write an event as a log record of the span that it names. Its data only when asked for. Raises nothing."""
    try:
        logger = logs.get_logger(SCOPE, logger_provider=logger_provider)
        logger.emit(_log_record(event, Capture(redact) if capture_messages else None))
    except Exception as fault:  # noqa: BLE001  # as of every guarded function
        note("record", fault)


def _log_record(event: CloudEvent, capture: Capture | None) -> logs.LogRecord:
    failed = event.type.endswith(".failed")
    attributes = {
        AGENT_ID: event.agent_id,
        "ossa.agent.id": event.agent_id,
        "ossa.interaction.id": event.interaction_id,
        "cloudevents.event_id": event.id,
        "cloudevents.event_source": event.source,
        "cloudevents.event_type": event.type,
        "cloudevents.event_subject": event.subject,
    }
    if event.type == events.TOOL_CALLED:
        attributes["gen_ai.tool.name"] = event.subject
    context = _context(event)
    if context is None:
        attributes["ossa.trace.id"] = event.trace_id
    return logs.LogRecord(
        timestamp=_nanoseconds(event.time),
        context=context,
        severity_number=logs.SeverityNumber.ERROR if failed else logs.SeverityNumber.INFO,
        severity_text="ERROR" if failed else "INFO",
        body=event.type if capture is None or event.data is None else capture.text(event.data),
        attributes={key: value for key, value in attributes.items() if value},
        event_name=event.type,
    )


def _context(event: CloudEvent) -> Context | None:
    """The span that the event names; None for ids that are none of OpenTelemetry's."""
    if len(event.trace_id) != _TRACE_ID_DIGITS or len(event.span_id) != _SPAN_ID_DIGITS:
        return None
    try:
        span = SpanContext(int(event.trace_id, 16), int(event.span_id, 16), is_remote=True, trace_flags=TraceFlags(1))
    except ValueError:
        return None
    return trace.set_span_in_context(NonRecordingSpan(span), Context()) if span.is_valid else None


def _nanoseconds(time: str) -> int | None:
    try:
        return int(datetime.fromisoformat(time).timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError):
        return None
