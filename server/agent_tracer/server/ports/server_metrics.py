"""What the server counts about itself while it takes telemetry in."""

from collections.abc import Mapping
from typing import Protocol

from agent_tracer.server.domain.signals import Signal


class IngestMetrics(Protocol):
    """Counts of items: spans, log records, data points. Each call costs at most a microsecond or two.

    received = accepted + rejected, at any moment at which no export is under way. `reason` comes from a fixed
    set, so that it can be a label.
    """

    def received(self, signal: Signal, count: int) -> None:
        """Items of a request that could be read."""
        ...

    def accepted(self, signal: Signal, count: int) -> None:
        """Items that are durable in the journal."""
        ...

    def rejected(self, signal: Signal, reason: str, count: int) -> None:
        """Items of which nothing was kept."""
        ...

    def malformed(self, signal: Signal) -> None:
        """A request that could not be read, so that nobody knows how many items it held."""
        ...


class LoadMetrics(Protocol):
    """What the loader counts. accepted = stored + quarantined + what the journal still holds for the loader.

    A request that was committed in part before a crash counts again when it is repeated.
    """

    def stored(self, signal: Signal, requests: int, items: int) -> None:
        """Requests that are in the store now, and the spans, log records or data points in them."""
        ...

    def quarantined(self, signal: Signal, items: int) -> None:
        """A request that the store cannot read; it is kept aside. Its items count as stored nowhere."""
        ...

    def committed(self, seconds: float) -> None:
        """A commit is done, of whatever signals, and took so long."""
        ...


class ScoreMetrics(Protocol):
    """Scores, published for dashboards and alerts."""

    def scored(self, agent_id: str, scores: Mapping[str, float]) -> None:
        """An agent's latest scores, 0 to 1, by dimension ("overall" among them). Kept for SCORED_AGENTS_MAX agents."""
        ...
