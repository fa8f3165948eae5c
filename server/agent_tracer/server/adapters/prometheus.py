"""The server's own metrics, for Prometheus. Labels come from fixed sets; all series exist from the start."""

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.ingest import REJECT_REASONS


class PrometheusMetrics:
    """IngestMetrics, and the loader's counts, in one registry.

    What other parts know at any time (the journal's size and lags) is not copied here: its collector is
    registered in the same registry.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        received = _per_signal(registry, "received", "Spans, log records and data points that came in.")
        accepted = _per_signal(registry, "accepted", "Those of them that are durable in the journal.")
        malformed = _per_signal(registry, "malformed_requests", "Requests that were refused unread.")
        rejected = Counter(
            "agent_tracer_rejected",
            "Spans, log records and data points that were refused, by reason.",
            ("signal", "reason"),
            registry=registry,
        )
        self._received = {signal: received.labels(_label(signal)) for signal in Signal}
        self._accepted = {signal: accepted.labels(_label(signal)) for signal in Signal}
        self._malformed = {signal: malformed.labels(_label(signal)) for signal in Signal}
        self._rejected = {
            (signal, reason): rejected.labels(_label(signal), reason)
            for signal in Signal
            for reason in map(str, REJECT_REASONS)
        }
        stored = _per_signal(registry, "stored", "Spans, log records and data points that are in the store.")
        loaded = _per_signal(registry, "loaded_requests", "Requests moved from the journal to the store.")
        set_aside = _per_signal(
            registry, "quarantined", "Spans, log records and data points in requests that lie in quarantine."
        )
        quarantined = _per_signal(
            registry,
            "quarantined_requests",
            "Requests that the store refused and that lie in its quarantine table with the reason.",
        )
        self._stored = {signal: stored.labels(_label(signal)) for signal in Signal}
        self._loaded = {signal: loaded.labels(_label(signal)) for signal in Signal}
        self._set_aside = {signal: set_aside.labels(_label(signal)) for signal in Signal}
        self._quarantined = {signal: quarantined.labels(_label(signal)) for signal in Signal}
        self._commit_seconds = Histogram(
            "agent_tracer_commit_seconds",
            "What commits to the store took.",
            buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
            registry=registry,
        )

    def received(self, signal: Signal, count: int) -> None:
        """Items of a request that could be read."""
        self._received[signal].inc(count)

    def accepted(self, signal: Signal, count: int) -> None:
        """Items that are durable in the journal."""
        self._accepted[signal].inc(count)

    def rejected(self, signal: Signal, reason: str, count: int) -> None:
        """Items of which nothing was kept; `reason` is one of REJECT_REASONS."""
        self._rejected[signal, reason].inc(count)

    def malformed(self, signal: Signal) -> None:
        """A request that could not be read."""
        self._malformed[signal].inc()

    def stored(self, signal: Signal, requests: int, items: int) -> None:
        """Requests that are in the store now, and the items in them."""
        self._loaded[signal].inc(requests)
        self._stored[signal].inc(items)

    def quarantined(self, signal: Signal, items: int) -> None:
        """A request that the loader has set aside, with so many items."""
        self._quarantined[signal].inc()
        self._set_aside[signal].inc(items)

    def committed(self, seconds: float) -> None:
        """A commit is done and took so long."""
        self._commit_seconds.observe(seconds)


def _label(signal: Signal) -> str:
    return signal.name.lower()


def _per_signal(registry: CollectorRegistry, name: str, text: str) -> Counter:
    return Counter(f"agent_tracer_{name}", text, ("signal",), registry=registry)
