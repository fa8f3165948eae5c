"""Scores as Prometheus gauges."""

from collections.abc import Mapping

from prometheus_client import Gauge
from prometheus_client.registry import CollectorRegistry

from agent_tracer.server.limits import SCORED_AGENTS_MAX


class PrometheusScores:
    """ports.server_metrics.ScoreMetrics: `agent_tracer_ace_score{agent_id, dimension}`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(
            "agent_tracer_ace_score",
            "An agent's last score, 0 to 1; a dimension without evidence has none.",
            ("agent_id", "dimension"),
            registry=registry,
        )
        self._published: dict[str, Mapping[str, float]] = {}

    def scored(self, agent_id: str, scores: Mapping[str, float]) -> None:
        """See the port."""
        self._forget(agent_id)
        self._published[agent_id] = dict(scores)
        for dimension, score in scores.items():
            self._gauge.labels(agent_id, dimension).set(score)
        if len(self._published) > SCORED_AGENTS_MAX:
            self._forget(next(iter(self._published)))

    def _forget(self, agent_id: str) -> None:
        for dimension in self._published.pop(agent_id, {}):
            self._gauge.remove(agent_id, dimension)
