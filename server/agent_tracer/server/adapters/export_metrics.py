"""Prometheus series of the exporters."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.export import SKIP_REASONS
from agent_tracer.server.services.forwarding import ForwarderState


class ExportCounters:
    """The counters, in one registry; `of` binds an exporter's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._sent = Counter(
            "agent_tracer_exporter_sent",
            "Spans, log records and data points that the backend has taken.",
            ("exporter", "signal"),
            registry=registry,
        )
        self._retries = Counter(
            "agent_tracer_exporter_retries", "Requests sent again.", ("exporter", "signal"), registry=registry
        )
        self._skipped = Counter(
            "agent_tracer_exporter_skipped",
            "Spans, log records and data points that the backend did not take.",
            ("exporter", "signal", "reason"),
            registry=registry,
        )

    def of(self, exporter: str, signals: frozenset[Signal]) -> "BoundExportCounters":
        """ports.export.ExportMetrics of one exporter; all its series exist from now on."""
        return BoundExportCounters(exporter, signals, self._sent, self._retries, self._skipped)


class BoundExportCounters:
    """Counts of one exporter."""

    def __init__(
        self, exporter: str, signals: frozenset[Signal], sent: Counter, retries: Counter, skipped: Counter
    ) -> None:
        self._sent = {s: sent.labels(exporter, s.name.lower()) for s in signals}
        self._retries = {s: retries.labels(exporter, s.name.lower()) for s in signals}
        self._skipped = {(s, r): skipped.labels(exporter, s.name.lower(), r) for s in signals for r in SKIP_REASONS}

    def sent(self, signal: Signal, items: int) -> None:
        """See the port."""
        self._sent[signal].inc(items)

    def retried(self, signal: Signal) -> None:
        """See the port."""
        self._retries[signal].inc()

    def skipped(self, signal: Signal, reason: str, items: int) -> None:
        """See the port."""
        self._skipped[signal, reason].inc(items)


class ExportLagCollector(Collector):
    """How far each exporter is behind, read when Prometheus scrapes."""

    def __init__(self, states: Mapping[str, Callable[[], ForwarderState]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus-client asks for them."""
        size = GaugeMetricFamily(
            "agent_tracer_exporter_lag_bytes", "Journal that the backend does not have yet.", labels=("exporter",)
        )
        age = GaugeMetricFamily(
            "agent_tracer_exporter_lag_seconds",
            "Age of the oldest request that the backend does not have.",
            labels=("exporter",),
        )
        up = GaugeMetricFamily(
            "agent_tracer_exporter_up", "Whether the backend took what it was last sent.", labels=("exporter",)
        )
        for name, state_of in self._states.items():
            state = state_of()
            size.add_metric((name,), state.lag_bytes)
            age.add_metric((name,), state.lag_seconds)
            up.add_metric((name,), 0 if state.trouble else 1)
        yield from (size, age, up)
