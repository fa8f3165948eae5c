"""What is noticed of one series, and what is not."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from agent_tracer.server.domain.detection.episodes import APART_BUCKETS
from agent_tracer.server.domain.detection.figures import Alarm, Figures, Measure, alarms, bounds
from agent_tracer.server.domain.detection.limits import Floats, medians, sums

DAY = 288
FIRST_HOUR = 480_000
FIRST = FIRST_HOUR * 12


def figures(latency_ms: Floats, calls: float | Floats = 5.0, errors: float | Floats = 0.0) -> Figures:
    nought = np.zeros(len(latency_ms))
    return Figures(FIRST_HOUR, nought + calls, nought + errors, latency_ms, nought, nought)


def noticed(of: Figures, from_day: float = 0) -> list[Alarm]:
    from_hour = int(from_day * 24)
    known = bounds(of, FIRST_HOUR + from_hour)
    return alarms(of, known, FIRST + from_hour * 12, FIRST + len(of.calls))


def days(count: int, seed: int = 1) -> Floats:
    """Latencies that double by day, and stray by a tenth."""
    at = np.arange(count * DAY)
    stray = np.random.default_rng(seed).normal(1, 0.1, len(at))
    return np.asarray((150 + 50 * np.sin(2 * np.pi * at / DAY)) * stray)


def buckets(found: list[Alarm]) -> list[int]:
    return sorted({alarm.bucket - FIRST for alarm in found})


def test_days_that_are_alike_are_quiet() -> None:
    assert noticed(figures(days(14))) == []


def test_what_is_usual_by_day_is_noticed_at_night() -> None:
    latency = days(10)
    night = 9 * DAY + DAY * 3 // 4
    assert latency[night] < 140
    latency[night : night + 24] = 200
    assert night in buckets(noticed(figures(latency)))


def test_a_daily_job_is_usual_and_the_same_at_another_hour_is_not() -> None:
    latency = days(10)
    latency[100::DAY] = 2_000
    latency[9 * DAY + 200] = 2_000
    assert buckets(noticed(figures(latency))) == [9 * DAY + 200]


def test_nothing_is_said_before_two_days_are_known() -> None:
    latency = days(3)
    latency[2 * DAY - 20] = latency[2 * DAY + 20] = 5_000
    assert buckets(noticed(figures(latency))) == [2 * DAY + 20]


def test_a_shift_that_stays_becomes_usual_within_a_day() -> None:
    latency = days(12)
    latency[8 * DAY :] *= 3
    found = buckets(noticed(figures(latency)))
    assert found[0] <= 8 * DAY + 6
    assert found[-1] < 9 * DAY


def test_what_was_seen_twice_is_no_news() -> None:
    latency = days(12)
    for day in (5, 6, 9):
        latency[day * DAY + 130 : day * DAY + 133] = 1_000
    found = buckets(noticed(figures(latency)))
    assert {bucket // DAY for bucket in found} == {5, 6}


def test_limits_of_one_hour_are_those_of_many() -> None:
    latency = days(10)
    latency[9 * DAY + 30 : 9 * DAY + 34] = 900
    assert noticed(figures(latency), from_day=9) == [
        one for one in noticed(figures(latency)) if one.bucket >= FIRST + 9 * DAY
    ]


def test_latency_that_falls_to_a_fraction_is_noticed() -> None:
    latency = days(10)
    latency[9 * DAY + 30 : 9 * DAY + 40] = 2
    found = noticed(figures(latency))
    assert {(alarm.measure, alarm.sign) for alarm in found} == {(Measure.LATENCY, -1)}


def test_a_gap_is_not_a_fall() -> None:
    calls = np.full(10 * DAY, 500.0)
    calls[9 * DAY : 9 * DAY + 40] = 0
    assert noticed(figures(days(10), calls)) == []


def test_one_failed_call_of_one_is_no_error_rate() -> None:
    errors = np.zeros(10 * DAY)
    errors[9 * DAY + 7] = 1
    assert noticed(figures(days(10), 1.0, errors)) == []


def test_failures_of_few_calls_add_up() -> None:
    errors = np.zeros(10 * DAY)
    errors[9 * DAY : 9 * DAY + 6] = 1
    found = noticed(figures(days(10), 1.0, errors))
    assert {alarm.measure for alarm in found} == {Measure.ERROR_RATE}
    assert buckets(found)[-1] == 9 * DAY + 5, "a call that succeeds ends it, though the window remembers the others"


def test_an_error_rate_is_told_however_often_it_was_seen() -> None:
    errors = np.zeros(12 * DAY)
    for day in (4, 6, 8, 10):
        errors[day * DAY + 40 : day * DAY + 90] = 4
    found = noticed(figures(days(12), 5.0, errors))
    assert {bucket // DAY for bucket in buckets(found)} == {4, 6, 8, 10}


def test_what_was_always_nought_is_no_burst_when_it_begins() -> None:
    at = np.arange(10 * DAY)
    tokens = np.where(at >= 9 * DAY, 5_000.0, 0.0)
    nought = np.zeros(len(at))
    assert noticed(Figures(FIRST_HOUR, nought + 5, nought, nought + 100, tokens, nought)) == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, n: 100 + 10 * random.normal(size=n),
        lambda random, n: np.exp(1.5 * random.normal(size=n)),
        lambda random, n: 1 + random.pareto(1.1, size=n),
        lambda random, n: 2 + 60 * (np.convolve(random.random(n) < 1 / 150, np.ones(6))[:n] > 0) * random.random(n),
    ],
    ids=["normal", "lognormal", "pareto", "bursts"],
)
def test_series_without_incidents_raise_less_than_one_a_week(
    draw: Callable[[np.random.Generator, int], Floats],
) -> None:
    """Also such as have no mean, or bursts at random: the limits are made of each series itself."""
    random = np.random.default_rng(7)
    weeks, count = 5, 6
    starts = 0
    for _ in range(count):
        found = buckets(noticed(figures(draw(random, weeks * 7 * DAY))))
        starts += sum(1 for before, at in pairwise([-DAY, *found]) if at - before > APART_BUCKETS)
    assert starts / (weeks * count) < 1


def test_a_windows_median_is_of_what_was_observed() -> None:
    values = np.array([1.0, np.nan, 3.0, 8.0, np.nan, 2.0, 4.0])
    single, half_hour, _ = medians(values)
    assert np.array_equal(single, values, equal_nan=True)
    assert np.array_equal(half_hour, [1, np.nan, 2, 3, np.nan, 2.5, 3.5], equal_nan=True)


def test_sums_of_windows_begin_with_the_series() -> None:
    assert sums(np.ones(8))[1].tolist() == [1, 2, 3, 4, 5, 6, 6, 6]
