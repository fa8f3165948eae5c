"""FindCorrelations as messages: digits, levels, numbers that JSON lacks."""

import math

import pytest

from agent_tracer.server.api.correlations_convert import correlations_from, correlations_to, level
from agent_tracer.server.domain.correlation.findings import Hint, RelatedEvent, RelatedLog, RelatedMetric
from agent_tracer.server.domain.ids import TraceId
from agent_tracer.server.domain.telemetry import TraceStatus
from agent_tracer.server.services.correlations import Correlated, CorrelationRequest, FoundTrace
from agent_tracer.v1 import correlation_pb2 as pb
from tests.unit.domain.correlation.subjects import START_NS, trace


def test_a_request_is_taken_as_it_was_written() -> None:
    request = pb.FindCorrelationsRequest(trace_id="t", include_logs=True, time_window="1h")
    assert correlations_from(request) == CorrelationRequest("t", include_logs=True, time_window="1h")


def test_an_answer_keeps_what_was_found() -> None:
    answer = correlations_to(
        Correlated(
            trace(),
            traces=[FoundTrace(TraceId("two"), TraceStatus.ERROR, 0.95, ["a", "b"])],
            metrics=[RelatedMetric("cpu", "payment", math.nan, 0.4, 0.123456, 0.01)],
            logs=[RelatedLog(17, "refused", "payment", START_NS, 3, 1.0)],
            events=[RelatedEvent("deploy d", 1.2, START_NS, "payment", "live")],
            hint=Hint("deploy", 0.5, "payment"),
            caveats=["c"],
        )
    )
    assert (answer.trace.id, answer.trace.status) == ("one", "error")
    assert (answer.related_traces[0].id, list(answer.related_traces[0].reasons)) == ("two", ["a", "b"])
    assert (answer.metrics[0].value, answer.metrics[0].correlation, answer.metrics[0].service) == (0, 0.1235, "payment")
    assert (answer.logs[0].level, answer.logs[0].count, answer.logs[0].time.ToNanoseconds()) == ("ERROR", 3, START_NS)
    assert (answer.events[0].correlation, answer.events[0].detail) == (1, "live")
    assert (answer.root_cause.type, answer.root_cause.component, list(answer.caveats)) == ("deploy", "payment", ["c"])


def test_a_trace_that_needs_no_guess_gets_none() -> None:
    assert not correlations_to(Correlated(trace())).HasField("root_cause")


@pytest.mark.parametrize(
    ("severity", "name"), [(0, ""), (1, "TRACE"), (8, "DEBUG"), (9, "INFO"), (13, "WARN"), (20, "ERROR"), (24, "FATAL")]
)
def test_severity_numbers_have_names(severity: int, name: str) -> None:
    assert level(severity) == name
