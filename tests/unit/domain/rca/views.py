"""Views of small made-up incidents: a shop whose front calls cart and catalog, and cart a database."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.domain.rca.view import (
    Change,
    EdgeSeries,
    Incident,
    IncidentView,
    LogSeries,
    MetricSeries,
    Series,
    ServiceSeries,
    Window,
)

MINUTE_NS: Final = 60 * 10**9
START_NS: Final = 1_700_000_000 * 10**9
QUIET: Final = 30
NOISY: Final = 5
CALLS: Final = (("front", "cart"), ("front", "catalog"), ("cart", "database"))
SERVICES: Final = ("front", "cart", "catalog", "database")
BEFORE: Final = Window([START_NS - at * MINUTE_NS for at in range(QUIET, 0, -1)], MINUTE_NS)
DURING: Final = Window([START_NS + at * MINUTE_NS for at in range(NOISY)], MINUTE_NS)


def series(before: float, during: float) -> Series:
    """Steady but for a ripple of a hundredth, then another level."""
    return Series([before * (1 + 0.01 * (at % 3)) for at in range(QUIET)], [before, *[during] * (NOISY - 1)])


def metric(component: str, name: str, before: float, during: float) -> MetricSeries:
    return MetricSeries(component, name, series(before, during))


def log(component: str, template: str, before: float, during: float, severity: int = 9) -> LogSeries:
    return LogSeries(component, template, severity, Series([before] * QUIET, [during] * NOISY))


def service(component: str, own_errors: float = 0.0, self_ms: float = 5.0) -> ServiceSeries:
    calls, errors = Series([100.0] * QUIET, [100.0] * NOISY), Series([0.0] * QUIET, [own_errors] * NOISY)
    return ServiceSeries(component, calls, errors, errors, Series([5.0] * QUIET, [self_ms] * NOISY))


def edge(caller: str, callee: str, gap_ms: float = 2.0) -> EdgeSeries:
    calls, errors = Series([50.0] * QUIET, [50.0] * NOISY), Series([0.0] * QUIET, [0.0] * NOISY)
    return EdgeSeries(caller, callee, calls, errors, Series([2.0] * QUIET, [gap_ms] * NOISY))


def view(
    *,
    metrics: Sequence[MetricSeries] = (),
    logs: Sequence[LogSeries] = (),
    services: Sequence[ServiceSeries] | None = None,
    edges: Sequence[EdgeSeries] | None = None,
    changes: Sequence[Change] = (),
    measure: str = "latency_mean",
) -> IncidentView:
    """An alert of front; services and edges are healthy where not given. Of a `measure` that is no metric here, none is missed."""
    latency = [
        metric(name, "latency_mean", 0.02, 0.02) for name in SERVICES if name not in {m.component for m in metrics}
    ]
    return IncidentView(
        Incident("front", measure, START_NS), BEFORE, DURING,
        metrics=[*metrics, *latency], logs=logs,
        services=[service(name) for name in SERVICES] if services is None else services,
        edges=[edge(*pair) for pair in CALLS] if edges is None else edges, changes=changes,
    )  # fmt: skip


def slow_chain(scale: float = 1.0) -> list[MetricSeries]:
    """Latency that arises in the database and spreads to cart and front."""
    return [
        metric(name, "latency_mean", 0.02 * scale, (0.02 + excess) * scale)
        for name, excess in (("front", 0.41), ("cart", 0.405), ("database", 0.4), ("catalog", 0.0))
    ]
