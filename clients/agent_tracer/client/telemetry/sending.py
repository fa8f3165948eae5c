"""Spans on their way out: a bounded queue on the SDK's batch processor, a quiet exporter, a count of what is lost."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from agent_tracer.client._shared.shown import without_secrets
from agent_tracer.client.telemetry.limits import (
    EXIT_LAST_WORD_SECONDS,
    EXIT_SECONDS_MAX,
    EXIT_SECONDS_MAX_FAILING,
    FAILING_SECONDS_MAX,
    FLUSH_SECONDS_MAX,
    SCHEDULE_DELAY_MS,
)
from agent_tracer.client.telemetry.parts import parts
from agent_tracer.client.telemetry.withheld import without_contents

if TYPE_CHECKING:
    from opentelemetry.sdk._shared_internal import BatchProcessor

__all__ = ["Losses", "QuietExporter", "SendingProcessor", "Tries", "bounded", "end", "silenced", "within"]

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
        self._where = without_secrets(where)
        self._lock = threading.Lock()
        self._told = False
        self.by_reason: dict[str, int] = {}
        self._asked = 0

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
                f": {without_secrets(detail)}" if detail else "",
            )

    def grew(self) -> bool:
        """Whether something was lost since this was asked last."""
        before, self._asked = self._asked, self.total
        return self._asked > before

    def reset_after_fork(self) -> None:
        """A child counts its own."""
        self._lock = threading.Lock()
        self.by_reason, self._asked = {}, 0


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


def _failure(part: Sequence[Any], send: Callable[[Sequence[Any]], Enum]) -> str | None:
    """Why a request was not taken; None where it was."""
    with silenced() as quiet:
        try:
            return None if send(part).name == "SUCCESS" else quiet.line
        except Exception as error:  # noqa: BLE001 - telemetry is no reason for an agent to fail
            return f"{type(error).__name__}: {error}"


class Tries:
    """What is known of an exporter's tries: whether the last batch failed whole, and how many items of it are left."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self.failing = False
        self._under_way = 0
        self._pid = os.getpid()
        self._given_up = False

    def tried(self, items: Sequence[Any], send: Callable[[Sequence[Any]], Enum]) -> bool:
        """Send, in requests that a server takes, neither raising nor logging; what is not taken is counted.

        Whether all was taken.
        """
        self._pid, self._under_way = os.getpid(), len(items)
        patience, taken = FAILING_SECONDS_MAX, []
        for part in parts(items):
            begun = time.monotonic()
            detail = _failure(part, send) if patience > 0 else "the server does not answer"
            taken.append(detail is None)
            self._under_way -= len(part)
            if detail is not None:
                patience -= time.monotonic() - begun
                if not self._given_up:
                    self._losses.add(len(part), "not taken", detail)
        self.failing = not any(taken)
        return all(taken)

    def give_up(self) -> int:
        """How many items are being tried at this moment, which nobody waits for any more."""
        self._given_up = True
        return self._under_way if self._pid == os.getpid() else 0  # a fork's parent tries its own


class QuietExporter(SpanExporter):
    """An exporter that neither raises nor logs; built anew in a forked child, whose sockets are not its parent's."""

    def __init__(self, build: Callable[[], SpanExporter], losses: Losses, *, contents: bool = True) -> None:
        self._build = build
        self._contents = contents
        self._exporter: SpanExporter | None = build()
        self.tries = Tries(losses)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send; what is not taken is counted."""
        taken = self.tries.tried(spans, self._sent)
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def _sent(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._exporter is None:
            self._exporter = self._build()
        return self._exporter.export(spans if self._contents else [without_contents(span) for span in spans])

    def shutdown(self) -> None:
        """Give up what is being tried."""
        if self._exporter is not None:
            with silenced(), suppress(Exception):
                self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's interface
        """Nothing waits here."""
        return True

    def reset_after_fork(self) -> None:
        """Forget connections that are the parent's."""
        self._exporter = None
        self.tries.failing = False


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether work ends in so many seconds. In a thread of its own, because the SDK's flushes have no time limit."""
    worker = threading.Thread(target=work, name="agent-tracer flush", daemon=True)
    try:
        worker.start()
    except RuntimeError:  # an interpreter that ends starts no threads; shutdown() sends the rest
        return False
    worker.join(max(seconds, 0))
    return not worker.is_alive()


def end(batches: "BatchProcessor[Any]", tries: Tries, losses: Losses, seconds: float) -> None:
    """Send what waits, for so many seconds; the rest is counted."""
    worker = batches._worker_thread  # noqa: SLF001 - to wait for the batch that is given up
    batches.shutdown(timeout_millis=int(max(seconds - EXIT_LAST_WORD_SECONDS, 0) * 1000))
    worker.join(EXIT_LAST_WORD_SECONDS)
    losses.add(tries.give_up() + len(batches._queue), "not sent at exit")  # noqa: SLF001


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
        """Send what waits. False where the time is over, or where spans were lost since the last flush."""
        if self._ended:
            return False
        seconds = FLUSH_SECONDS_MAX if timeout_millis is None else timeout_millis / 1000
        ended = within(seconds, self._batch_processor.force_flush)
        return not self._losses.grew() and ended

    def shutdown(self, timeout_millis: float | None = None) -> None:
        """Send what waits, for a bounded time; the rest is counted."""
        if self._ended:
            return
        self._ended = True
        bound = EXIT_SECONDS_MAX_FAILING if self._quiet.tries.failing else EXIT_SECONDS_MAX
        seconds = bound if timeout_millis is None else timeout_millis / 1000
        end(self._batch_processor, self._quiet.tries, self._losses, seconds)

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
    """Seconds until a moment of time.monotonic, at least a tenth."""
    return max(deadline - time.monotonic(), 0.1)
