"""Calls of the server's own API for Prometheus."""

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry


class PrometheusRpcs:
    """Called after every call with its method (`/package.Service/Method`), gRPC code and seconds.

    The server tells of methods that it has and of no others, so that the labels are bounded. REST and OTLP over gRPC
    are among them, OTLP over HTTP is not: that is no RPC.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counted = Counter(
            "agent_tracer_rpcs",
            "Finished calls of the API, REST included, by gRPC status code.",
            ("service", "method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "agent_tracer_rpc_duration_seconds",
            "What calls of the API took; streams until their end.",
            ("service", "method"),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def __call__(self, method: str, code: str, seconds: float) -> None:
        """A call has ended."""
        series = self._series.get((method, code))
        if series is None:
            service, _, name = method.removeprefix("/").rpartition("/")
            series = self._counted.labels(service, name, code), self._seconds.labels(service, name)
            self._series[method, code] = series
        counted, took = series
        counted.inc()
        took.observe(seconds)
