"""Metrics that left their level around a trace, or that move with the errors or the latency of its services."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_tracer.server.domain.correlation.cutting import cut_at
from agent_tracer.server.domain.correlation.findings import RelatedMetric, Subject
from agent_tracer.server.domain.correlation.lags import lagged
from agent_tracer.server.domain.correlation.levels import FARTHEST_MIN, Floats, steps
from agent_tracer.server.domain.rca.view import MetricSeries, Series, ServiceSeries
from agent_tracer.server.domain.statistics.multiple import discovery_rates
from agent_tracer.server.limits import CORRELATION_SERVICES_MAX

TARGET_MOVED: Final = 0.05
"""Chance under which the errors or the latency of the trace's services are taken to have changed around it."""

KINDS_OF_TEST: Final = 2

BLOCKS_WANTED: Final = 8
"""Lengths of the window that should be known before it; where they are not, less of the window is looked at."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One entry a series: the smaller chance of both tests, twice; the greater correlation of those that show it."""

    p_value: Floats
    correlation: Floats
    baseline: Floats
    value: Floats


def related_metrics(
    subject: Subject,
    metrics: Sequence[MetricSeries],
    services: Sequence[ServiceSeries],
    *,
    left_out: int = 0,
    place: int = 0,
) -> list[RelatedMetric]:
    """The most correlated first. `left_out`: series that were not read since others moved more.

    `place`: of the bucket of the window in which the trace began.

    Metrics of the trace's own services and all others are two families: of the former there are few, and a finding
    among them is likelier. Each has half of the error.
    """
    if not metrics:
        return []
    tested = _tested(subject, [metric.values for metric in metrics], targets(subject, services), place)
    own = [at for at, metric in enumerate(metrics) if metric.component in subject.services]
    others = [at for at, metric in enumerate(metrics) if metric.component not in subject.services]
    families = [family for family in (own, others) if family]
    q_values: dict[int, float] = {}
    for family in families:
        rates = discovery_rates([float(tested.p_value[at]) for at in family], len(family) + left_out)
        q_values |= {at: min(1.0, len(families) * rate) for at, rate in zip(family, rates, strict=True)}
    limit = cut_at(unusual=subject.is_unusual)
    found = [_related(metrics[at], tested, at, q) for at, q in q_values.items() if q <= limit]
    return sorted(found, key=lambda one: (-one.correlation, one.q_value, one.component, one.name))


def _related(metric: MetricSeries, tested: Tested, at: int, q_value: float) -> RelatedMetric:
    return RelatedMetric(
        name=metric.name,
        component=metric.component,
        value=float(tested.value[at]),
        baseline=float(tested.baseline[at]),
        correlation=float(tested.correlation[at]),
        q_value=q_value,
    )


def targets(subject: Subject, services: Sequence[ServiceSeries]) -> list[Series]:
    """Share of failed calls, and median time of their own, of the trace's services."""
    by_name = {one.component: one for one in services}
    known = [by_name[name] for name in subject.services if name in by_name][:CORRELATION_SERVICES_MAX]
    return [series for one in known for series in (_ratio(one.errors, one.calls), one.self_ms)]


def _ratio(errors: Series, calls: Series) -> Series:
    return Series(
        *(
            [part / whole if whole > 0 else float("nan") for part, whole in zip(parts, wholes, strict=True)]
            for parts, wholes in ((errors.before, calls.before), (errors.during, calls.during))
        )
    )


def _tested(subject: Subject, series: Sequence[Series], held_against: Sequence[Series], place: int) -> Tested:
    before, during = _arrays(series)
    moved = steps(before, _focused(before, during, place))
    chance, correlation = moved.p_value, np.where(moved.p_value < 1, np.abs(moved.effect), 0.0)
    if held_against and _is_anything_up(subject, held_against):
        both = np.concatenate(_arrays(held_against), axis=1)
        along = lagged(np.concatenate([before, during], axis=1), both)
        # The greater correlation of the two, where its own test says that it is no chance.
        told = np.where(along.p_value <= chance, np.abs(along.rho), correlation)
        both_low = np.maximum(along.p_value, chance) <= cut_at(unusual=subject.is_unusual)
        correlation = np.where(both_low, np.maximum(correlation, np.abs(along.rho)), told)
        chance = np.minimum(1.0, KINDS_OF_TEST * np.minimum(chance, along.p_value))
    return Tested(chance, correlation, moved.baseline, moved.value)


def _focused(before: Floats, during: Floats, place: int) -> Floats:
    """Of a window that is too long for how much is known before it, the part around the trace."""
    known = int(np.isfinite(before).any(axis=0).sum())
    length = known // BLOCKS_WANTED
    if not FARTHEST_MIN <= length < during.shape[1]:
        return during
    first = min(max(0, place - length // 2), during.shape[1] - length)
    return during[:, first : first + length]


def _is_anything_up(subject: Subject, held_against: Sequence[Series]) -> bool:
    """What always goes together says nothing about a trace that went as usual at a usual time."""
    if subject.is_unusual:
        return True
    chances = steps(*_arrays(held_against)).p_value
    return bool(chances.min() * len(chances) <= TARGET_MOVED)


def _arrays(series: Sequence[Series]) -> tuple[Floats, Floats]:
    before = np.array([one.before for one in series], dtype=np.float64)
    during = np.array([one.during for one in series], dtype=np.float64)
    # Infinite values have no level.
    return np.where(np.isfinite(before), before, np.nan), np.where(np.isfinite(during), during, np.nan)
