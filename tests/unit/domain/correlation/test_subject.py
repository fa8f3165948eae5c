"""What of a trace is asked about, and the time that is looked at."""

import pytest

from agent_tracer.server.domain.checks import NS
from agent_tracer.server.domain.correlation.subject import subject_of, ties_of
from agent_tracer.server.domain.correlation.windows import MINUTE_NS, windows
from agent_tracer.server.domain.telemetry import TraceStatus
from agent_tracer.server.domain.trace_records import RECORD_SERVICE
from agent_tracer.server.limits import CORRELATION_BUCKETS_MAX
from tests.unit.domain.correlation.subjects import START_NS, around, key, span, trace


def test_the_deepest_failed_span_is_where_it_failed() -> None:
    spans = [
        span(1, failed=True),
        span(2, 1, failed=True, service="payment"),
        span(3, 2, failed=True, service="ledger", error_type="Refused", message="no"),
        span(4, 1, service="stock"),
    ]
    found = subject_of(trace(services=("shop", "ledger", "payment")), spans, ())
    assert found.failure is not None
    assert (found.failure.component, found.failure.error_type, found.failure.message) == ("ledger", "Refused", "no")
    assert found.services == ["ledger", "shop", "payment"]
    assert found.is_unusual


def test_a_failure_that_a_retry_mended_is_none() -> None:
    spans = [
        span(1, failed=True, service="shop"),
        span(2, 1, failed=True, name="call", service="payment"),
        span(3, 1, start=0.5, name="call", service="payment"),
    ]
    found = subject_of(trace(), spans, ())
    assert found.failure is not None
    assert found.failure.component == "shop"


def test_a_record_without_a_service_is_known_by_its_agent() -> None:
    spans = [span(1, failed=True, service=RECORD_SERVICE, agent_id="planner")]
    found = subject_of(trace(services=(RECORD_SERVICE,)), spans, ())
    assert found.failure is not None
    assert (found.failure.component, found.services) == ("planner", [])


@pytest.mark.parametrize(("seconds", "is_slow"), [(1.9, False), (2.5, True)])
def test_slow_is_twice_the_usual_and_more_than_nearly_all(seconds: float, is_slow: bool) -> None:
    known = [NS + number for number in range(50)]
    one = trace(status=TraceStatus.SUCCESS, end_ns=START_NS + round(seconds * NS))
    spans = [span(1, seconds=seconds), span(2, 1, seconds=seconds - 0.1, service="model")]
    found = subject_of(one, spans, known)
    assert (found.is_slow, found.slowest) == (is_slow, "model")


def test_few_earlier_traces_make_nothing_slow() -> None:
    assert not subject_of(trace(status=TraceStatus.SUCCESS, end_ns=START_NS + 99 * NS), [], [NS] * 5).is_slow


def test_ties_are_links_tasks_and_ids_of_the_trace() -> None:
    spans = [span(1, links=[key(4), key(0), key(4)], task_id="t"), span(2, 1, task_id="t")]
    found = ties_of(trace(session_id="chat", workflow_id="release"), spans)
    assert (found.links, found.tasks, found.session_id, found.workflow_id) == ([key(4)], ["t"], "chat", "release")


def test_the_window_is_around_the_trace_and_the_past_tells_enough_of_it() -> None:
    when = around(5, length_minutes=2)
    assert when.window.start_ns == START_NS - 5 * MINUTE_NS
    assert when.window.end_ns == START_NS + 7 * MINUTE_NS
    assert when.past.end_ns == when.window.start_ns
    assert len(when.before.starts_ns) >= 10 * len(when.during.starts_ns)
    assert when.width_ns == MINUTE_NS


def test_the_window_does_not_reach_beyond_now() -> None:
    when = windows(START_NS, START_NS + NS, 5 * MINUTE_NS, START_NS + 30 * NS)
    assert when.window.end_ns == START_NS + MINUTE_NS


@pytest.mark.parametrize("minutes", [1, 5, 30, 60, 6 * 60, 24 * 60])
def test_buckets_are_few_whatever_the_window(minutes: int) -> None:
    when = around(minutes)
    assert len(when.before.starts_ns) + len(when.during.starts_ns) <= CORRELATION_BUCKETS_MAX + 3
    assert len(when.before.starts_ns) >= 6 * len(when.during.starts_ns) - 6


def test_of_an_endless_trace_the_end_is_looked_at() -> None:
    end_ns = START_NS + 90 * 24 * 60 * MINUTE_NS
    when = windows(START_NS, end_ns, 5 * MINUTE_NS, end_ns + 60 * MINUTE_NS)
    assert when.window.start_ns > START_NS
    assert when.window.end_ns >= end_ns
    assert len(when.during.starts_ns) >= 1
