"""Lagged rank correlation: chance between series with memory is no finding, what follows another is found."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from agent_tracer.server.domain.correlation.lags import LAG_MAX, lagged, ranks
from agent_tracer.server.domain.correlation.levels import Floats
from agent_tracer.server.domain.statistics.multiple import discovery_rates
from tests.unit.domain.correlation.noise import BUCKETS, KINDS, mixed, noise


def targets(rng: np.random.Generator, kind: str) -> Floats:
    """Error share and latency: quiet, with an incident at the end, or drifting."""
    errors, latency = rng.binomial(100, 0.02, BUCKETS) / 100, noise("with memory", rng, 1)[0]
    if kind == "incident":
        errors[-7:] = rng.binomial(100, 0.4, 7) / 100
        latency[-7:] += 12
    return noise("random walk", rng, 2) if kind == "drifting" else np.stack([errors, latency])


def least_rate(p_values: Floats) -> float:
    return min(discovery_rates(list(map(float, p_values))))


@pytest.mark.parametrize("kind", ["quiet", "incident", "drifting"])
@pytest.mark.parametrize("series", [20, 400])
def test_what_varies_by_itself_makes_no_list(kind: str, series: int) -> None:
    rng = np.random.default_rng(series)
    lists = sum(least_rate(lagged(mixed(rng, series), targets(rng, kind)).p_value) <= 0.01 for _ in range(30))
    assert lists <= 2


@pytest.mark.parametrize("lag", range(-LAG_MAX, LAG_MAX + 1))
def test_what_follows_or_precedes_is_found_at_every_lag(lag: int) -> None:
    rng = np.random.default_rng(10 + lag)
    held_against = targets(rng, "quiet")
    series = mixed(rng, 300)
    series[0] = np.roll(held_against[1], lag) + 0.3 * held_against[1].std() * rng.standard_normal(BUCKETS)
    found = lagged(series, held_against)
    rates = discovery_rates(list(map(float, found.p_value)))
    assert rates[0] <= 0.01
    assert min(rates[1:]) > 0.01
    assert found.target[0] == 1
    assert found.rho[0] > 0.8


def test_ranks_are_those_of_scipy_ties_and_gaps_included() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 6, (20, 40)).astype(float)
    assert np.array_equal(ranks(values), rankdata(values, axis=1))
    values[:, 3] = np.nan
    assert np.array_equal(ranks(values), rankdata(values, axis=1, nan_policy="omit"), equal_nan=True)


def test_without_lag_the_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(2)
    one = rng.standard_normal(BUCKETS)
    other = one + 0.5 * rng.standard_normal(BUCKETS)
    found = lagged(np.stack([other, noise("white", rng, 1)[0]]), one[None, :])
    assert found.rho[0] == pytest.approx(spearmanr(one, other)[0], abs=1e-9)


def test_series_that_never_change_or_are_hardly_known_correlate_with_nothing() -> None:
    rng = np.random.default_rng(3)
    held_against = targets(rng, "incident")
    series = np.stack([np.full(BUCKETS, 4.0), np.full(BUCKETS, np.nan), held_against[1].copy()])
    series[2, :-8] = np.nan
    assert list(lagged(series, held_against).p_value[:2]) == [1, 1]
    assert lagged(series, held_against).p_value[2] > 0.01
    assert list(lagged(series, np.full((1, BUCKETS), np.nan)).p_value) == [1, 1, 1]
    assert list(lagged(series, np.empty((0, BUCKETS))).p_value) == [1, 1, 1]


def test_all_kinds_of_noise_are_there() -> None:
    assert mixed(np.random.default_rng(0), 3 * len(KINDS)).shape == (3 * len(KINDS), BUCKETS)
