"""Logs and metrics of the agent's process, where they are asked for."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber, set_logger_provider
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from agent_tracer.client._shared.environment import Signal, Target
from agent_tracer.client.telemetry.exporters import otlp_exporter
from agent_tracer.client.telemetry.sending import Losses, Tries, end, silenced, within

__all__ = ["Logs", "Metrics"]

_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
    (logging.NOTSET, SeverityNumber.DEBUG),
)
_OWN: Final = ("opentelemetry.", "agent_tracer.client.", "urllib3.", "grpc.")
"""Loggers of what sends, each with those below it: a log line about a log line that cannot be sent never ends."""


class _Fresh:
    """An exporter that is built anew in a forked child, whose connections must not be its parent's."""

    def __init__(self, target: Target, signal: Signal) -> None:
        self._made = (target, signal)
        self._pid, self._exporter = os.getpid(), otlp_exporter(target, signal)

    @property
    def exporter(self) -> Any:  # noqa: ANN401 - one of four classes
        if self._pid != os.getpid():
            self._pid, self._exporter = os.getpid(), otlp_exporter(*self._made)
        return self._exporter


class _QuietMetricExporter(MetricExporter):
    def __init__(self, fresh: _Fresh) -> None:
        made = fresh.exporter
        super().__init__(made._preferred_temporality, made._preferred_aggregation)  # noqa: SLF001 - as the SDK reads them
        self._fresh = fresh
        self.failing = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        with silenced():
            try:
                result: MetricExportResult = self._fresh.exporter.export(metrics_data, timeout_millis=timeout_millis)
            except Exception:  # noqa: BLE001 - the next interval's numbers are there soon
                result = MetricExportResult.FAILURE
        self.failing = result is not MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the SDK's interface
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        with silenced():
            self._fresh.exporter.shutdown(timeout_millis=timeout_millis)


class _QuietLogExporter(LogRecordExporter):
    def __init__(self, fresh: _Fresh, losses: Losses) -> None:
        self._fresh = fresh
        self.tries = Tries(losses)

    def export(self, batch: Any) -> LogRecordExportResult:  # noqa: ANN401 - differs between versions of the SDK
        taken = self.tries.tried(batch, self._sent)
        return LogRecordExportResult.SUCCESS if taken else LogRecordExportResult.FAILURE

    def _sent(self, batch: Any) -> LogRecordExportResult:  # noqa: ANN401 - see export
        result: LogRecordExportResult = self._fresh.exporter.export(batch)
        return result

    def shutdown(self) -> None:
        with silenced():
            self._fresh.exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's interface
        return True


class _Handler(logging.Handler):
    """Python's log records as OpenTelemetry's, in the span that they were written in."""

    def __init__(self, provider: LoggerProvider, level: int, full: Callable[[], bool], losses: Losses) -> None:
        super().__init__(level)
        self._provider = provider
        self._full = full
        self._losses = losses

    def emit(self, record: logging.LogRecord) -> None:
        if f"{record.name}.".startswith(_OWN):
            return
        if self._full():  # the SDK would log each
            self._losses.add(1, "queue full")
            return
        try:
            self._provider.get_logger(record.name).emit(_converted(record, self.format(record)))
        except Exception as error:  # noqa: BLE001 - the program's own handlers tell of a line that cannot be written
            self._losses.add(1, "not taken", f"{type(error).__name__}: {error}")


def _converted(record: logging.LogRecord, body: str) -> LogRecord:
    attributes: dict[str, Any] = {"code.function.name": record.funcName, "code.line.number": record.lineno}
    if record.exc_info and (kind := record.exc_info[0]) is not None:
        attributes |= {"exception.type": kind.__qualname__, "exception.message": str(record.exc_info[1])}
    return LogRecord(
        timestamp=int(record.created * 1e9),
        observed_timestamp=time.time_ns(),
        severity_text=record.levelname,
        severity_number=next(number for level, number in _SEVERITIES if record.levelno >= level),
        body=body,
        attributes=attributes,
    )


class _Hook:
    """Gives a handler what reaches the root logger, without being one of the root logger's handlers.

    Those decide what a program prints: with one of ours among them basicConfig() does nothing, records of a program
    that has set up no logging are not shown, and dictConfig() and fileConfig() throw ours out.
    """

    def __init__(self, handler: logging.Handler) -> None:
        self._handler: logging.Handler | None = handler
        self._before = before = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            before(logger, record)
            handler = self._handler
            if handler is not None and record.levelno >= handler.level and _reaches_root(logger):
                handler.handle(record)

        self._ours = call_handlers
        logging.Logger.callHandlers = call_handlers  # type: ignore[assignment, method-assign]

    def remove(self) -> None:
        """Undo it; where others have hooked in after it, it stays and does nothing."""
        self._handler = None
        if logging.Logger.callHandlers is self._ours:
            logging.Logger.callHandlers = self._before  # type: ignore[method-assign]


def _reaches_root(logger: logging.Logger) -> bool:
    while logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


class Logs:
    """The root logger's records, sent."""

    def __init__(self, target: Target, resource: Resource, losses: Losses, *, level: int, set_global: bool) -> None:
        self._provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._losses = losses
        self._quiet = _QuietLogExporter(_Fresh(target, "logs"), losses)
        processor = BatchLogRecordProcessor(self._quiet)
        self._provider.add_log_record_processor(processor)
        self._batches = batches = processor._batch_processor  # noqa: SLF001 - its queue's length is nowhere else
        full = lambda: len(batches._queue) >= batches._max_queue_size  # noqa: E731, SLF001
        self._hook = _Hook(_Handler(self._provider, level, full, losses))
        if set_global:
            set_logger_provider(self._provider)

    def flush(self, seconds: float) -> bool:
        """Send what waits. False where the time is over, or where records were lost since the last flush."""
        ended = within(seconds, self._batches.force_flush)
        return not self._losses.grew() and ended

    def shutdown(self, seconds: float) -> None:
        """Take no more; send what waits for a bounded time, and count the rest."""
        self._hook.remove()
        end(self._batches, self._quiet.tries, self._losses, seconds)


class Metrics:
    """What the process and its libraries measure, sent every OTEL_METRIC_EXPORT_INTERVAL."""

    def __init__(self, target: Target, resource: Resource, *, set_global: bool) -> None:
        self._quiet = _QuietMetricExporter(_Fresh(target, "metrics"))
        self._reader = PeriodicExportingMetricReader(self._quiet)
        self.provider = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        if set_global:
            set_meter_provider(self.provider)

    def flush(self, seconds: float) -> bool:
        """Send what was measured. False where the time is over or the server did not take it."""
        return within(seconds, lambda: self._collect(seconds)) and not self._quiet.failing

    def _collect(self, seconds: float) -> None:
        with silenced():
            try:
                self._reader.force_flush(max(seconds, 0) * 1000)
            except Exception:  # noqa: BLE001 - the SDK raises where the time is over
                self._quiet.failing = True

    def shutdown(self, seconds: float) -> None:
        """Send what was measured, for a bounded time."""
        with silenced():
            self._reader.shutdown(seconds * 1000)
