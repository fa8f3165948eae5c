"""Steps of level: none seen in noise of any kind, real ones found."""

import time

import numpy as np
import pytest

from agent_tracer.server.domain.correlation.levels import rank_biserial, steps
from agent_tracer.server.domain.statistics.multiple import discovery_rates
from tests.unit.domain.correlation.noise import BEFORE, BUCKETS, DURING, KINDS, mixed, noise


def least_rate(p_values: np.ndarray) -> float:
    return min(discovery_rates(list(map(float, p_values))))


@pytest.mark.parametrize("kind", KINDS)
def test_noise_makes_no_list(kind: str) -> None:
    rng = np.random.default_rng(1)
    lists = 0
    for _ in range(60):
        values = noise(kind, rng, 60)
        lists += least_rate(steps(values[:, :BEFORE], values[:, BEFORE:]).p_value) <= 0.01
    assert lists <= 3


def test_thousands_of_series_of_all_kinds_make_no_list() -> None:
    rng = np.random.default_rng(2)
    for _ in range(3):
        values = mixed(rng, 4_500)
        assert least_rate(steps(values[:, :BEFORE], values[:, BEFORE:]).p_value) > 0.05


@pytest.mark.parametrize(("series", "size"), [(20, 4), (2_000, 6)])
def test_a_step_of_some_times_the_noise_is_found(series: int, size: float) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal((series, BUCKETS))
    values[:3, BEFORE:] += size
    rates = discovery_rates(list(map(float, steps(values[:, :BEFORE], values[:, BEFORE:]).p_value)))
    assert max(rates[:3]) <= 0.01
    assert min(rates[3:]) > 0.01


def test_what_never_moved_and_moves_is_found() -> None:
    values = np.zeros((5, BUCKETS))
    values[0, -6:] = 40
    found = steps(values[:, :BEFORE], values[:, BEFORE:])
    assert found.p_value[0] <= 5e-4
    assert list(found.p_value[1:]) == [1, 1, 1, 1]
    assert (found.baseline[0], found.value[0], found.effect[0]) == (0, 40, 1)


def test_a_step_that_happens_all_the_time_is_none() -> None:
    values = np.tile(np.repeat([0.0, 10.0], DURING), (4, 7))[:, -BUCKETS:]
    values += np.random.default_rng(4).normal(0, 0.1, values.shape)
    assert steps(values[:, :BEFORE], values[:, BEFORE:]).p_value.min() > 0.05


def test_single_outliers_are_no_level() -> None:
    values = np.random.default_rng(5).standard_normal((50, BUCKETS))
    values[0, BEFORE + 4] = 500
    assert steps(values[:, :BEFORE], values[:, BEFORE:]).p_value[0] > 0.01


def test_gaps_are_left_out_and_too_many_of_them_say_nothing() -> None:
    rng = np.random.default_rng(6)
    values = rng.standard_normal((3, BUCKETS))
    values[:, BEFORE:] += 8
    values[0][rng.random(BUCKETS) < 0.4] = np.nan
    values[1, :100] = np.nan
    values[2, BEFORE:] = np.nan
    found = steps(values[:, :BEFORE], values[:, BEFORE:])
    assert found.p_value[0] < 1e-3
    assert list(found.p_value[1:]) == [1, 1]


def test_a_past_of_a_few_windows_says_nothing() -> None:
    values = np.zeros((2, 30))
    values[:, 20:] = 9
    assert list(steps(values[:, :20], values[:, 20:]).p_value) == [1, 1]


def test_no_series_are_no_steps() -> None:
    assert len(steps(np.zeros((0, BEFORE)), np.zeros((0, DURING))).p_value) == 0


def test_rank_biserial_is_one_where_all_are_above_and_nought_where_none_differs() -> None:
    before = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, np.nan]])
    during = np.array([[4.0, 5.0], [1.0, np.nan]])
    assert list(rank_biserial(before, during)) == [1, 0]


def test_twenty_thousand_series_take_a_few_seconds_of_one_core() -> None:
    values = np.random.default_rng(7).standard_normal((20_000, BUCKETS))
    started = time.process_time()
    steps(values[:, :BEFORE], values[:, BEFORE:])
    assert time.process_time() - started < 4
