"""Which times are compared, and when an incident began."""

import math

import pytest

from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.rca.onset import Cut, onset
from agent_tracer.server.domain.rca.subject import component_of, known_as, metric_of, signals
from agent_tracer.server.domain.rca.view import MetricSeries, Series, ServiceSeries
from agent_tracer.server.domain.rca.windows import (
    ALERT_LAG_NS,
    NS,
    bucket_width,
    frame,
    free,
    going_on,
    nearest,
    spacing,
    stretches,
)
from agent_tracer.server.domain.telemetry import TimeRange

MINUTE = 60 * NS
START = 1_000_000 * MINUTE + 4 * NS
QUIET = [10.0, 11.0, 9.0, 10.0, 10.5, 9.5]


def incident(**fields: object) -> Incident:
    given = {"service": "", "labels": {}, "title": ""} | fields
    return Incident(
        "i", str(given["title"]), IncidentStatus.OPEN, "", str(given["service"]), START, None, IncidentSource.API,
        labels=given["labels"],  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_hour_is_compared_by_the_minute_and_buckets_begin_at_the_incident() -> None:
    place = frame(START, None, START + 60 * MINUTE, 60 * MINUTE)
    assert place.width_ns == MINUTE
    assert START in place.buckets
    assert place.earliest_ns == START - ALERT_LAG_NS
    assert place.window == TimeRange(START - 60 * MINUTE, place.earliest_ns)


def test_a_longer_window_takes_longer_buckets() -> None:
    assert [bucket_width(hours * 60 * MINUTE) // MINUTE for hours in (1, 6, 12, 24, 168)] == [1, 1, 2, 5, 30]


def test_an_incident_without_end_is_looked_at_for_five_buckets_or_five_values_of_its_metrics() -> None:
    assert frame(START, None, START + 60 * MINUTE, 60 * MINUTE).end_ns == START + 5 * MINUTE
    assert frame(START, None, START + 60 * MINUTE, 60 * MINUTE, 5 * MINUTE).end_ns == START + 25 * MINUTE


def test_an_incident_of_this_minute_has_no_buckets_in_the_future() -> None:
    assert frame(START, None, START + 90 * NS, 60 * MINUTE).end_ns == START + 2 * MINUTE
    assert frame(START, None, START, 60 * MINUTE).end_ns == START + MINUTE


def test_a_short_window_keeps_three_quarters_for_what_is_usual() -> None:
    place = frame(START, None, START + 60 * MINUTE, 8 * MINUTE)
    assert (START - place.earliest_ns) // MINUTE == 2


def test_buckets_that_another_incident_touches_are_not_free() -> None:
    starts = [START + at * MINUTE for at in range(6)]
    taken = [TimeRange(START + 90 * NS, START + 100 * NS), TimeRange(START + 4 * MINUTE, START + 5 * MINUTE)]
    assert free(starts, MINUTE, taken) == [starts[0], starts[2], starts[3], starts[5]]
    assert free(starts, MINUTE, [*taken, TimeRange(START, START + 10 * MINUTE)]) == []


def test_an_incident_that_was_never_closed_does_not_go_on_for_ever() -> None:
    assert going_on(START, None, MINUTE).end_ns == START + 5 * MINUTE
    assert going_on(START, START + 90 * MINUTE, MINUTE).end_ns == START + 90 * MINUTE


def test_spacing_is_that_of_most_points() -> None:
    assert spacing([0, 300, 600, 660, 960]) == 300
    assert spacing([0, 300]) == 0


def test_the_nearest_buckets_are_in_order_of_time() -> None:
    assert nearest([1, 5, 9, 21, 30], 10, 3) == [1, 5, 9]
    assert nearest([5, 1], 0, 0) == []
    assert stretches([0, 1, 2, 7, 8, 20], 1) == 3


@pytest.mark.parametrize(
    ("later", "began"),
    [
        ([10.0, 10.2, 30.0, 31.0, 32.0], 2),
        ([30.0, 31.0, 10.0, 31.0, 32.0], 3),
        ([10.0, 30.0, math.nan, math.nan, 32.0], 1),
        ([10.0, 11.0, 10.0, 9.0, 10.0], 5),
    ],
)
def test_an_incident_began_when_its_signal_left_for_good(later: list[float], began: int) -> None:
    starts = [START + at * MINUTE for at in range(-5, 2)]
    signal = Series(QUIET, [*later, 33.0, 33.0])
    assert onset([signal], starts, START) == starts[0] + began * MINUTE


def test_too_few_values_before_say_nothing_of_the_onset() -> None:
    starts = [START + at * MINUTE for at in range(-5, 2)]
    assert onset([Series([10.0, 10.0], [99.0] * 7)], starts, START) == START
    assert onset([], starts, START) == START


def test_a_signal_that_was_always_nought_may_leave_it() -> None:
    starts = [START - MINUTE, START]
    assert onset([Series([0.0] * 10, [0.6, 0.6])], starts, START) == START - MINUTE


def test_a_cut_moves_what_came_before_the_onset() -> None:
    assert Cut([0, 1], [3]).values(Series([1.0], [2.0, 3.0, 4.0, 5.0])) == Series([1.0, 2.0, 3.0], [5.0])


def test_the_component_is_found_in_the_labels_of_monitors() -> None:
    assert component_of(incident(service="cart", labels={"service": "other"})) == "cart"
    assert component_of(incident(labels={"job": "scrape", "service_name": "cart"})) == "cart"
    assert component_of(incident(labels={"severity": "high"})) == ""
    assert known_as("Cart_Service", {"cart-service", "till"}) == "cart-service"
    assert known_as("nobody", {"cart"}) == "nobody"


def test_the_metric_is_the_labelled_one_or_the_one_that_the_words_name() -> None:
    own = [MetricSeries("cart", name, Series([], [])) for name in ("error_ratio", "http_error_ratio", "cpu")]
    assert metric_of(incident(labels={"metric": "cpu"}), "cart", own) == "cpu"
    assert metric_of(incident(title="HTTP error ratio of the cart is high"), "cart", own) == "http_error_ratio"
    assert metric_of(incident(title="cart is slow"), "cart", own) == "cart is slow"


def test_the_onset_is_looked_for_in_the_alerts_metric_where_it_is_stored() -> None:
    moved, other = Series([1.0], [2.0]), Series([3.0], [4.0])
    calls = ServiceSeries("cart", Series([2.0], [0.0]), Series([1.0], [0.0]), other, other)
    metrics = [MetricSeries("cart", "latency_p95", moved), MetricSeries("till", "latency_p95", other)]
    assert signals("cart", "latency p95", metrics, [calls]) == [moved]
    found = signals("cart", "something else", metrics, [calls])
    assert found[:2] == [moved, other]
    assert found[2].before == [0.5]
    assert math.isnan(found[2].during[0]), "without calls there is no error rate"
