"""Which metrics are listed: families, what a usual trace leaves out, what is told of each."""

from collections.abc import Sequence

import numpy as np
import pytest

from agent_tracer.server.domain.correlation.levels import Floats
from agent_tracer.server.domain.correlation.metrics import related_metrics
from agent_tracer.server.domain.rca.view import MetricSeries, Series, ServiceSeries
from tests.unit.domain.correlation.noise import BEFORE, BUCKETS, mixed, noise
from tests.unit.domain.correlation.subjects import subject, usual_subject


def series(values: Floats) -> Series:
    return Series(values[:BEFORE].tolist(), values[BEFORE:].tolist())


def metrics(values: Floats, component: str = "other") -> list[MetricSeries]:
    return [MetricSeries(component, f"m{number}", series(row)) for number, row in enumerate(values)]


def service(latency: Floats, errors: Floats | None = None) -> Sequence[ServiceSeries]:
    calls = np.full(BUCKETS, 100.0)
    failed = np.zeros(BUCKETS) if errors is None else errors
    return [ServiceSeries("payment", series(calls), series(failed), series(failed), series(latency))]


def test_a_metric_that_always_follows_latency_is_told_of_a_failed_trace_and_not_of_a_usual_one() -> None:
    rng = np.random.default_rng(1)
    latency = noise("with memory", rng, 1)[0]
    values = mixed(rng, 200)
    values[7] = 3 * latency + 0.2 * rng.standard_normal(BUCKETS)
    found = related_metrics(subject(), metrics(values), service(latency))
    assert [one.name for one in found] == ["m7"]
    assert found[0].correlation > 0.8
    assert related_metrics(usual_subject(), metrics(values), service(latency)) == []


def test_what_follows_latency_is_told_of_a_usual_trace_too_while_latency_is_unusual() -> None:
    rng = np.random.default_rng(2)
    latency = rng.standard_normal(BUCKETS)
    latency[BEFORE:] += 8
    values = mixed(rng, 100)
    values[7] = np.roll(latency, 2) + 0.3 * rng.standard_normal(BUCKETS)
    assert "m7" in {one.name for one in related_metrics(usual_subject(), metrics(values), service(latency))}


def test_the_traces_own_services_are_a_family_so_that_others_do_not_drown_them() -> None:
    rng = np.random.default_rng(3)
    near = metrics(noise("white", rng, 10), "payment")
    step = noise("with memory", rng, 1)[0]
    step[BEFORE:] += 12
    near[0] = MetricSeries("payment", "pool", series(step))
    far = metrics(noise("white", rng, 4_000))
    assert "pool" in {one.name for one in related_metrics(subject(), [*near, *far], ())}


def test_what_was_not_read_counts_among_what_was_tested() -> None:
    rng = np.random.default_rng(4)
    values = noise("white", rng, 30)
    values[0, BEFORE:] += 2.6
    (found,) = related_metrics(subject(), metrics(values), ())
    (of_more,) = related_metrics(subject(), metrics(values), (), left_out=20) or [found]
    assert of_more.q_value >= found.q_value
    assert related_metrics(subject(), metrics(values), (), left_out=10**9) == []


def test_a_metric_is_told_with_its_levels_before_and_around() -> None:
    rng = np.random.default_rng(5)
    values = 100 + noise("white", rng, 20)
    values[3, -4:] -= 30
    (found,) = related_metrics(subject(), metrics(values, "payment"), ())
    assert (found.name, found.component, found.correlation) == ("m3", "payment", 1.0)
    assert found.baseline == pytest.approx(100, abs=1)
    assert found.value == pytest.approx(70, abs=2)
    assert found.q_value <= 0.05


def test_an_hour_of_past_is_enough_for_what_is_large() -> None:
    rng = np.random.default_rng(6)
    values = 100 + noise("white", rng, 20)
    values[3, -5:] += 30
    values[:, :70] = np.nan
    found = related_metrics(subject(), metrics(values, "payment"), (), place=7)
    assert [one.name for one in found] == ["m3"]


def test_infinite_and_missing_values_are_nothing() -> None:
    values = np.full((3, BUCKETS), np.nan)
    values[1, ::2] = np.inf
    assert related_metrics(subject(), metrics(values), service(np.full(BUCKETS, np.nan))) == []
    assert related_metrics(subject(), [], ()) == []
