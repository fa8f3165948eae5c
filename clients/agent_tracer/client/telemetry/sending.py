"""Spans on their way out: a bounded queue on the SDK's batch processor, a quiet exporter, a count of what is lost."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent_tracer.client._shared.shown import without_user
from agent_tracer.client.telemetry.limits import (
    EXIT_SECONDS_MAX,
    EXIT_SECONDS_MAX_FAILING,
    FLUSH_SECONDS_MAX,
    SCHEDULE_DELAY_MS,
)

__all__ = ["Losses", "QuietExporter", "SendingProcessor", "silenced"]

_logger: Final = logging.getLogger("agent_tracer.client")

_NOISY: Final = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.sdk.metrics._internal.export",
    "urllib3.connectionpool",
)
"""Loggers that write a line for every try that fails."""

Reason = Literal["queue full", "not taken", "not sent at exit"]


class Losses:
    """Spans that did not get out, by reason. The first is told in the log, once in a process."""

    def __init__(self, where: str) -> None:
        self._where = without_user(where)
        self._lock = threading.Lock()
        self._told = False
        self.by_reason: dict[str, int] = {}

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_reason.values())

    def add(self, count: int, reason: Reason, detail: str = "") -> None:
        """Count, and tell the first."""
        if count <= 0:
            return
        with self._lock:
            self.by_reason[reason] = self.by_reason.get(reason, 0) + count
            told, self._told = self._told, True
        if not told:
            _logger.warning(
                "%d telemetry items for %s are lost (%s%s); further losses are counted, not told",
                count,
                self._where,
                reason,
                f": {without_user(detail)}" if detail else "",
            )

    def reset_after_fork(self) -> None:
        """A child counts its own."""
        self._lock = threading.Lock()
        self.by_reason = {}


class _Silence(logging.Filter):
    """Takes the lines that exporters write in a thread that is sending for us, and keeps the first: what went wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self.sending, "on", False):
            return True
        with suppress(Exception):
            self.sending.first = self.sending.first or record.getMessage()
        return False


_SILENCE: Final = _Silence()


class silenced:  # noqa: N801 - used as a statement
    """Within it, exporters log nothing; what they would have said first is in `line`."""

    def __enter__(self) -> Self:
        """Begin."""
        for name in _NOISY:
            logging.getLogger(name).addFilter(_SILENCE)  # adding it again changes nothing
        _SILENCE.sending.on, _SILENCE.sending.first = True, ""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        _SILENCE.sending.on = False

    @property
    def line(self) -> str:
        """The first line, without its line breaks."""
        return " ".join(str(getattr(_SILENCE.sending, "first", "")).split())


class QuietExporter(SpanExporter):
    """An exporter that neither raises nor logs; built anew in a forked child, whose sockets are not its parent's."""

    def __init__(self, build: Callable[[], SpanExporter], losses: Losses) -> None:
        self._build = build
        self._losses = losses
        self._exporter: SpanExporter | None = build()
        self.failing = False
        self._under_way = 0
        self._given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send; what is not taken is counted."""
        detail = ""
        self._under_way = len(spans)
        with silenced() as quiet:
            try:
                if self._exporter is None:
                    self._exporter = self._build()
                result = self._exporter.export(spans)
            except Exception as error:  # noqa: BLE001 - telemetry is no reason for an agent to fail
                result, detail = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
            detail = detail or quiet.line
        self.failing = result is not SpanExportResult.SUCCESS
        self._under_way = 0
        if self.failing and not self._given_up:
            self._losses.add(len(spans), "not taken", detail)
        return result

    def shutdown(self) -> None:
        """Give up what is being tried."""
        if self._exporter is not None:
            with silenced(), suppress(Exception):
                self._exporter.shutdown()

    def give_up(self) -> int:
        """How many spans are being tried at this moment, which nobody waits for any more."""
        self._given_up = True
        return self._under_way

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's interface
        """Nothing waits here."""
        return True

    def reset_after_fork(self) -> None:
        """Forget connections that are the parent's."""
        self._exporter = None
        self.failing = False
        self._under_way = 0


class SendingProcessor(BatchSpanProcessor):
    """The SDK's batch processor, whose full queue is counted instead of logged, and whose waits have ends."""

    def __init__(self, exporter: QuietExporter, losses: Losses) -> None:
        delay = None if os.environ.get("OTEL_BSP_SCHEDULE_DELAY", "").strip() else SCHEDULE_DELAY_MS
        super().__init__(exporter, schedule_delay_millis=delay)
        self._quiet = exporter
        self._losses = losses
        self._ended = False
        _resets.add(self)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, or count it as lost: a full queue never waits."""
        if self._ended or span.context is None or not span.context.trace_flags.sampled:
            return
        batches = self._batch_processor
        if len(batches._queue) >= batches._max_queue_size:  # noqa: SLF001 - the SDK itself logs each
            self._losses.add(1, "queue full")
            return
        batches.emit(span)

    def force_flush(self, timeout_millis: int | None = None) -> bool:
        """Send what waits. False where the time is over or the server did not take it."""
        if self._ended:
            return False
        seconds = FLUSH_SECONDS_MAX if timeout_millis is None else timeout_millis / 1000
        before = self._losses.total
        # In a thread, because the SDK's own flush has no time limit.
        worker = threading.Thread(target=self._batch_processor.force_flush, name="agent-tracer flush", daemon=True)
        try:
            worker.start()
        except RuntimeError:  # an interpreter that ends starts no threads; shutdown() sends the rest
            return False
        worker.join(max(seconds, 0))
        return not worker.is_alive() and self._losses.total == before

    def shutdown(self, timeout_millis: float | None = None) -> None:
        """Send what waits, for a bounded time; the rest is counted."""
        if self._ended:
            return
        self._ended = True
        bound = EXIT_SECONDS_MAX_FAILING if self._quiet.failing else EXIT_SECONDS_MAX
        seconds = bound if timeout_millis is None else timeout_millis / 1000
        batches = self._batch_processor
        worker = batches._worker_thread  # noqa: SLF001 - to wait for the batch that is given up
        batches.shutdown(timeout_millis=int(seconds * 1000))
        worker.join(EXIT_SECONDS_MAX_FAILING)
        self._losses.add(self._quiet.give_up() + len(batches._queue), "not sent at exit")  # noqa: SLF001

    def reset_after_fork(self) -> None:
        """A child starts with nothing lost and connections of its own. The SDK has emptied its queue already."""
        self._losses.reset_after_fork()
        self._quiet.reset_after_fork()


_resets: Final["weakref.WeakSet[SendingProcessor]"] = weakref.WeakSet()


def _after_fork() -> None:
    for processor in list(_resets):
        processor.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def bounded(deadline: float) -> float:
    """Milliseconds until a moment of time.monotonic, at least a tenth of a second."""
    return max(deadline - time.monotonic(), 0.1) * 1000
