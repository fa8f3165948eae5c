"""The journal's and the loader's state for Prometheus, read when it scrapes."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent_tracer.server.adapters.journal import JournalStats


class JournalCollector(Collector):
    """Register it in the server's registry."""

    def __init__(self, stats: Callable[[], JournalStats]) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus-client asks for them."""
        stats = self._stats()
        yield GaugeMetricFamily("agent_tracer_journal_bytes", "Disk that the journal holds.", stats.held_bytes)
        yield GaugeMetricFamily("agent_tracer_journal_bytes_max", "Disk that it may hold.", stats.bytes_max)
        yield CounterMetricFamily(
            "agent_tracer_journal_records", "Requests made durable.", value=stats.appended_records
        )
        yield CounterMetricFamily(
            "agent_tracer_journal_refused", "Requests refused for want of room.", value=stats.refused_records
        )
        yield CounterMetricFamily("agent_tracer_journal_syncs", "Groups synced to disk.", value=stats.sync_count)
        yield CounterMetricFamily(
            "agent_tracer_journal_sync_seconds", "Time that the syncs took.", value=stats.sync_seconds
        )
        yield CounterMetricFamily(
            "agent_tracer_journal_damaged", "Damaged places that reading went over.", value=stats.damaged_ranges
        )
        lag = GaugeMetricFamily(
            "agent_tracer_journal_lag_bytes", "What a reader has still to read.", labels=("reader",)
        )
        skipped = CounterMetricFamily(
            "agent_tracer_journal_skipped_records",
            "Requests that a reader lost because the budget was used up.",
            labels=("reader",),
        )
        for reader in stats.readers:
            lag.add_metric((reader.name,), reader.lag_bytes)
            skipped.add_metric((reader.name,), reader.skipped_records)
        yield lag
        yield skipped
