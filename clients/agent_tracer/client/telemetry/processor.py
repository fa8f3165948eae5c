"""The one span processor that instrument() adds: identity on start, one span a model call, then the queue."""

import logging
import os
import weakref
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from agent_tracer.client.telemetry import identity
from agent_tracer.client.telemetry.duplicates import ModelCalls

__all__ = ["AgentSpanProcessor"]

_logger: Final = logging.getLogger("agent_tracer.client")


class AgentSpanProcessor(SpanProcessor):
    """Works for spans of every library; a fault of its own is logged once and costs no more than the span's extras."""

    def __init__(self, sending: SpanProcessor) -> None:
        self._sending = sending
        self._calls = ModelCalls(sending.on_end)
        self._faulty = False
        _processors.add(self)

    @property
    def dropped_duplicates(self) -> int:
        """Spans that told a model call again and were left out."""
        return self._calls.dropped

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Write who is working, unless the span says it itself."""
        try:
            if found := identity.inherited(span, parent_context):
                span.set_attributes(found)
            self._calls.started(span, parent_context)
        except Exception as error:  # noqa: BLE001 - telemetry is no reason for an agent to fail
            self._fault(error)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand on what is no repetition."""
        try:
            self._calls.ended(span)
        except Exception as error:  # noqa: BLE001 - telemetry is no reason for an agent to fail
            self._fault(error)

    def shutdown(self) -> None:
        """Send what waits, for a bounded time."""
        self._calls.release()
        self._sending.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what has ended."""
        return self._sending.force_flush(timeout_millis)

    def reset_after_fork(self) -> None:
        """Forget what is the parent's."""
        self._calls.forget()

    def _fault(self, error: Exception) -> None:
        if not self._faulty:
            self._faulty = True
            _logger.warning("a span could not be prepared; told once", exc_info=error)


_processors: Final["weakref.WeakSet[AgentSpanProcessor]"] = weakref.WeakSet()


def _after_fork() -> None:
    for processor in list(_processors):
        processor.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
