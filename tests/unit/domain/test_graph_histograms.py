"""Histograms of durations: what they keep, how far off a quantile is, that they add up."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.graph.histograms import BIN_MAX, RATIO, Histogram, bin_of, histogram_of, merged

durations = st.lists(st.integers(-5, 10**15), max_size=60)


@given(durations)
def test_every_value_is_counted(values: Sequence[int]) -> None:
    assert histogram_of(values).total == len(values)


@given(st.lists(durations, max_size=5))
def test_merging_is_the_same_as_counting_together(groups: Sequence[Sequence[int]]) -> None:
    together = histogram_of([value for group in groups for value in group])
    assert merged(histogram_of(group) for group in groups) == together
    assert merged([merged(map(histogram_of, groups[:2])), *map(histogram_of, groups[2:])]) == together


@given(st.lists(st.integers(1_001, 10**15), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_half_a_bin(values: Sequence[int], share: float) -> None:
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert histogram_of(values).quantile_ns(share) == pytest.approx(exact, rel=RATIO**0.5 - 1 + 1e-9)


@given(st.integers(1_001, 10**17))
def test_bins_follow_one_another(value: int) -> None:
    number = bin_of(value)
    assert 0 < number <= BIN_MAX
    assert 0 <= bin_of(math.ceil(value * RATIO)) - number <= 2


def test_what_takes_no_time_has_a_bin() -> None:
    assert histogram_of([0, -1, 1_000]) == Histogram((0,), (3,))
    assert histogram_of([0]).quantile_ns(0.95) == 0
    assert Histogram().quantile_ns(0.95) == 0


def test_a_quantile_of_a_few_is_one_of_them() -> None:
    second = 1_000_000_000
    found = histogram_of([second] * 19 + [100 * second])
    assert found.quantile_ns(0.95) == pytest.approx(second, rel=0.025)
    assert found.quantile_ns(0.96) == pytest.approx(100 * second, rel=0.025)
