"""What was to be expected: by the component's own calls and by time, whatever the rest of an installation does."""

import math

import pytest

from agent_tracer.server.domain.rca.exposure import by_calls, by_time, growth
from agent_tracer.server.domain.rca.span_evidence import error_evidence, log_evidence
from agent_tracer.server.domain.rca.view import Series, ServiceSeries
from tests.unit.domain.rca.views import NOISY, QUIET, log, service, view


def traffic(component: str, before: float, during: float, failed: tuple[float, float] = (0.0, 0.0)) -> ServiceSeries:
    errors = Series([failed[0]] * QUIET, [failed[1]] * NOISY)
    steady = Series([5.0] * QUIET, [5.0] * NOISY)
    return ServiceSeries(component, Series([before] * QUIET, [during] * NOISY), errors, errors, steady)


def test_a_batch_job_elsewhere_does_not_make_steady_lines_too_few() -> None:
    services = [traffic("cart", 20, 20), traffic("sweeper", 0, 5000)]
    assert list(log_evidence(view(logs=[log("cart", "order placed", 20, 20, 9)], services=services))) == []


def test_spans_of_another_service_tell_nothing_of_one_that_only_logs() -> None:
    services = [traffic("cron", 0.1, 3)]
    assert list(log_evidence(view(logs=[log("cart", "order placed", 20, 20, 9)], services=services))) == []


def test_a_chronic_error_line_is_none_the_more_unusual_for_traffic_that_falls() -> None:
    services = [traffic("cart", 24, 1.5)]
    logs = [log("cart", "licence server did not answer", 10, 10, 17)]
    assert list(log_evidence(view(logs=logs, services=services))) == []


def test_lines_of_calls_grow_with_their_own_services_calls() -> None:
    services = [traffic("cart", 20, 200)]
    assert list(log_evidence(view(logs=[log("cart", "order placed", 20, 200, 9)], services=services))) == []
    (found,) = log_evidence(view(logs=[log("cart", "order placed", 20, 2, 9)], services=services))
    assert found.feature == "log_less"
    assert found.before == pytest.approx(200 * NOISY)


def test_who_gets_no_calls_at_all_is_expected_to_write_by_the_clock() -> None:
    (found,) = log_evidence(view(logs=[log("cart", "order placed", 20, 0, 9)], services=[traffic("cart", 20, 0)]))
    assert (found.feature, found.before) == ("log_less", 20 * NOISY)


def test_only_buckets_in_which_lines_are_known_count() -> None:
    nan = math.nan
    counts = Series([nan, nan, 10], [10, 10, 10])
    assert by_time(counts) == 3
    assert by_calls(counts, Series([500, 500, 10], [20, 20, 20])) == 6


def test_the_clock_is_believed_only_where_calls_do_not_explain_the_count_and_it_does() -> None:
    calls = Series([20], [20, 20, 20, 20])
    assert growth(Series([20], [5, 5, 5, 5]), Series([20], [200, 200, 200, 200])) == 40
    assert growth(Series([20], [20, 20, 20, 20]), Series([20], [200, 200, 200, 200])) == 4
    assert growth(Series([2], [2, 2, 3, 3]), calls) == 4


def test_failures_are_expected_by_the_calls_of_their_own_service() -> None:
    chronic = traffic("cart", 100, 10, (10.0, 1.0))
    assert list(error_evidence(view(services=[chronic, traffic("sweeper", 10, 10)]))) == []
    masked = [traffic("cart", 100, 100, (5.0, 60.0)), traffic("sweeper", 0, 50_000)]
    (found,) = error_evidence(view(services=masked))
    assert (found.component, found.before) == ("cart", 5.0 * NOISY)


def test_services_of_steady_calls_have_no_failures_to_show() -> None:
    assert list(error_evidence(view(services=[service("cart")]))) == []
