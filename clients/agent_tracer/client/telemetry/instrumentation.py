"""`instrument()`: OpenTelemetry set up to send here, in one call that never raises into the agent."""

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Final, Self

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Tracer

from agent_tracer.client._shared.environment import chosen, target
from agent_tracer.client._shared.shown import without_secrets
from agent_tracer.client.telemetry import state
from agent_tracer.client.telemetry.continuing import ContinuingProvider, continued
from agent_tracer.client.telemetry.exporters import otlp_exporter
from agent_tracer.client.telemetry.libraries import Libraries
from agent_tracer.client.telemetry.limits import EXIT_SECONDS_MAX, FLUSH_SECONDS_MAX
from agent_tracer.client.telemetry.processor import AgentSpanProcessor
from agent_tracer.client.telemetry.sending import Losses, QuietExporter, SendingProcessor, bounded

__all__ = ["Instrumentation", "instrument"]

_logger: Final = logging.getLogger("agent_tracer.client")
_lock: Final = threading.RLock()


class Instrumentation:
    """A running set-up. Where telemetry is off, every method does nothing, and `enabled` is False."""

    def __init__(self, endpoint: str = "", why_off: str = "") -> None:
        self.endpoint = without_secrets(endpoint)
        """Where spans go, a password in it masked; empty where telemetry is off."""
        self.why_off = why_off
        """Why telemetry is off; empty where it is on."""
        self._losses = Losses(endpoint)
        self._signal_losses = Losses(endpoint)
        self._processor: AgentSpanProcessor | None = None
        self._signals: list[Any] = []
        self._libraries: Libraries | None = None
        self._active: state.Active | None = None
        self._provider: trace.TracerProvider | None = None
        self._ended = False

    @property
    def enabled(self) -> bool:
        """Whether spans are sent."""
        return self._processor is not None and not self._ended

    @property
    def tracer(self) -> Tracer:
        """A tracer for spans of your own."""
        return self._active.tracer if self._active is not None else state.tracer()

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """The provider that spans go through, for instrumentors that are switched on by hand."""
        return self._provider or trace.get_tracer_provider()

    @property
    def dropped_spans(self) -> int:
        """Spans that did not get out: the queue was full, the server did not take them, the exit came first."""
        return self._losses.total

    @property
    def dropped_spans_by_reason(self) -> dict[str, int]:
        """`dropped_spans` by `queue full`, `not taken`, `not sent at exit`."""
        return dict(self._losses.by_reason)

    @property
    def dropped_log_records(self) -> int:
        """Log records that did not get out."""
        return self._signal_losses.total

    @property
    def duplicate_spans(self) -> int:
        """Spans left out because a framework's span tells the same model call."""
        return 0 if self._processor is None else self._processor.dropped_duplicates

    @property
    def instrumented(self) -> tuple[str, ...]:
        """Libraries whose instrumentors are switched on, or will be when they are imported."""
        libraries = self._libraries
        return () if libraries is None else tuple(sorted({*libraries.on, *libraries.waiting}))

    def flush(self, timeout: float = FLUSH_SECONDS_MAX) -> bool:
        """Send what has ended, in `timeout` seconds at most. False where something was lost since the last flush."""
        if self._processor is None or self._ended:
            return False
        deadline = time.monotonic() + timeout
        try:
            sent = [self._processor.force_flush(int(timeout * 1000))]
            sent += [signal.flush(deadline - time.monotonic()) for signal in self._signals]
        except Exception:
            _logger.debug("flush failed", exc_info=True)
            return False
        return all(sent)

    def shutdown(self) -> None:
        """Switch the instrumentors off, send what waits for three seconds at most, and end."""
        with _lock:
            if self._ended:
                return
            self._ended = True
            state.deactivate(self._active)
            if _Current.handle is self:
                _Current.handle = None
        deadline = time.monotonic() + EXIT_SECONDS_MAX
        if self._libraries is not None and not sys.is_finalizing():
            self._libraries.switch_off()
        self._end(lambda: self._processor.shutdown() if self._processor is not None else None)
        for signal in self._signals:
            self._end(lambda signal=signal: signal.shutdown(bounded(deadline)))  # type: ignore[misc]

    def __enter__(self) -> Self:
        """The set-up itself, ended by `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self.shutdown()

    @staticmethod
    def _end(shutdown: Callable[[], object]) -> None:
        try:
            shutdown()
        except Exception:
            _logger.debug("shutdown failed", exc_info=True)


class _Current:
    handle: Instrumentation | None = None
    made: ContinuingProvider | None = None
    """The global provider, if an earlier call made it: OpenTelemetry lets it be set once."""
    told: ClassVar[set[str]] = set()
    """What the log has been told already."""


def instrument(  # noqa: PLR0913 - what there is to set up
    service_name: str | None = None,
    endpoint: str | None = None,
    *,
    api_key: str | None = None,
    resource_attributes: Mapping[str, Any] | None = None,
    capture_content: bool = True,
    auto: bool | Collection[str] = True,
    logs: bool | int | None = None,
    metrics: bool | None = None,
    set_global: bool = True,
) -> Instrumentation:
    """Send this process's spans to Agent Tracer, and those of whatever instrumented libraries are installed.

    Every OTEL_* variable keeps its meaning. What cannot be set up is logged once and leaves telemetry off: nothing is
    raised. A second call gives the first one's handle. A tracer provider of the SDK's that is there already is kept,
    with its resource and sampler, and gets one more processor.

    Args:
        service_name: Goes before OTEL_SERVICE_NAME.
        endpoint: `http://host:port`. Goes before AGENT_TRACER_URL, which goes before OTEL_EXPORTER_OTLP_ENDPOINT;
            `http://127.0.0.1:4318` where none says anything.
        api_key: Goes before AGENT_TRACER_API_KEY; sent as `authorization: Bearer KEY`.
        resource_attributes: More attributes of the process, such as deployment.environment.name.
        capture_content: False keeps prompts, answers, arguments and results out of the spans, whatever the
            environment says. True lets them in unless the environment forbids it.
        auto: True for every installed instrumentor of models and agents, names for those, False for none.
        logs: True to send the log records that reach the root logger too, or the least level of those. No logger's
            level is changed, nor what the program prints. None asks OTEL_LOGS_EXPORTER.
        metrics: True to send metrics too. None asks OTEL_METRICS_EXPORTER.
        set_global: False leaves OpenTelemetry's global providers alone.
    """
    with _lock:
        if _Current.handle is not None:
            return _Current.handle
        try:
            handle = _set_up(
                service_name,
                endpoint,
                api_key,
                dict(resource_attributes or {}),
                content=state.content_allowed(wanted=capture_content),
                set_global=set_global,
            )
            if handle.enabled:
                _add_signals(handle, endpoint, api_key, logs, metrics, set_global=set_global)
                _switch_on(handle, auto)
        except Exception as error:  # noqa: BLE001 - telemetry is no reason for an agent to fail
            why = f"{type(error).__name__}: {error}"
            if why not in _Current.told:
                _Current.told.add(why)
                _logger.warning("telemetry is off: %s", why)
            handle = Instrumentation(why_off=why)
        if handle.enabled:
            _Current.handle = handle
            _at_exit(handle)
        return handle


def _set_up(  # noqa: PLR0913 - as instrument()
    service_name: str | None,
    endpoint: str | None,
    api_key: str | None,
    attributes: dict[str, Any],
    *,
    content: bool,
    set_global: bool,
) -> Instrumentation:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Instrumentation(why_off="OTEL_SDK_DISABLED is true")
    exporters = chosen("traces")
    if "none" in exporters:
        return Instrumentation(why_off="OTEL_TRACES_EXPORTER is none")
    receiver = target(endpoint, api_key=api_key)
    handle = Instrumentation(receiver.shown)
    resource = _resource(service_name, attributes)
    base = continued()
    provider = _provider(resource, base, set_global=set_global)
    quiet = QuietExporter(lambda: otlp_exporter(receiver, "traces"), handle._losses, contents=content)  # noqa: SLF001
    sending: SpanProcessor = SendingProcessor(quiet, handle._losses)  # noqa: SLF001
    processor = AgentSpanProcessor(sending)
    provider.add_span_processor(processor)
    if "console" in exporters:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    handle._processor, handle._provider = processor, provider  # noqa: SLF001
    handle._active = state.activate(provider, base, capture_content=content)  # noqa: SLF001
    return handle


def _resource(service_name: str | None, attributes: dict[str, Any]) -> Resource:
    """OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, below what the caller says."""
    return Resource.create({**attributes, **({"service.name": service_name} if service_name else {})})


def _provider(resource: Resource, base: Any, *, set_global: bool) -> TracerProvider:  # noqa: ANN401 - a Context or None
    """The provider to add to: the process's own SDK provider, else a new one."""
    current = trace.get_tracer_provider() if set_global else None
    if isinstance(current, TracerProvider):
        if current is _Current.made and _Current.made is not None:
            _Current.made._update_resource(resource)  # noqa: SLF001 - ours, set up anew after its shutdown
        elif base is not None and not trace.get_current_span().get_span_context().is_valid:
            attach(base)  # this thread's spans at least: tracers of a foreign provider are what they are
        return current
    # Ends with the handle, within its bounds, not by a handler of its own.
    made = ContinuingProvider(resource=resource, shutdown_on_exit=False)
    made.base = base
    if set_global:
        trace.set_tracer_provider(made)
        _Current.made = made
    return made


def _add_signals(  # noqa: PLR0913 - as instrument()
    handle: Instrumentation,
    endpoint: str | None,
    api_key: str | None,
    logs: bool | int | None,  # noqa: FBT001
    metrics: bool | None,  # noqa: FBT001
    *,
    set_global: bool,
) -> None:
    send_logs = "otlp" in chosen("logs") if logs is None else logs is not False
    send_metrics = "otlp" in chosen("metrics") if metrics is None else metrics
    if not send_logs and not send_metrics:
        return
    from agent_tracer.client.telemetry.signals import Logs, Metrics  # noqa: PLC0415 - most set-ups need neither

    resource = getattr(handle.tracer_provider, "resource", None) or Resource.create({})
    if send_logs and "none" not in chosen("logs"):
        level = logging.NOTSET if logs is None or isinstance(logs, bool) else logs
        receiver = target(endpoint, api_key=api_key, signal="logs")
        losses = handle._signal_losses  # noqa: SLF001 - the handle's own
        handle._signals.append(Logs(receiver, resource, losses, level=level, set_global=set_global))  # noqa: SLF001
    if send_metrics and "none" not in chosen("metrics"):
        receiver = target(endpoint, api_key=api_key, signal="metrics")
        handle._signals.append(Metrics(receiver, resource, set_global=set_global))  # noqa: SLF001


def _switch_on(handle: Instrumentation, auto: bool | Collection[str]) -> None:  # noqa: FBT001 - as instrument()
    names = [auto] if isinstance(auto, str) else auto
    if names is False or handle._active is None:  # noqa: SLF001 - the handle's own
        return
    handle._libraries = Libraries(handle.tracer_provider, handle._active.capture_content)  # noqa: SLF001
    handle._libraries.switch_on(None if names is True else names)  # noqa: SLF001


def _at_exit(handle: Instrumentation) -> None:
    atexit.register(handle.shutdown)
    # Children of multiprocessing leave without atexit, and clear its own finalizers when they start.
    with contextlib.suppress(ImportError):
        from multiprocessing import util  # noqa: PLC0415 - not every process may fork

        util.register_after_fork(handle, _in_child)


def _in_child(handle: Instrumentation) -> None:
    from multiprocessing import util  # noqa: PLC0415 - see above

    util.Finalize(None, handle.shutdown, exitpriority=0)
