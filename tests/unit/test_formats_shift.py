"""Moving all times of recorded requests, and nothing else."""

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics

from agent_tracer.server.cli.formats import ShiftError, latest_ns, shifted
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    SECOND_NS,
    gauge,
    histogram_point,
    log_record,
    logs_of,
    logs_request,
    metrics_request,
    number_point,
    span,
    spans_of,
    trace_request,
)


def test_spans_and_their_events_move_together_and_keep_all_else() -> None:
    one = span()
    one.events.add(name="e", time_unix_nano=one.start_time_unix_nano + 5)
    request = trace_request(one, span(2))
    ((signal, payload),) = shifted([(Signal.TRACES, request.SerializeToString())], -SECOND_NS)
    moved = spans_of(payload)
    for before, after in zip(spans_of(request.SerializeToString()), moved, strict=True):
        assert after.start_time_unix_nano == before.start_time_unix_nano - SECOND_NS
        assert after.end_time_unix_nano == before.end_time_unix_nano - SECOND_NS
        for field in ("start_time_unix_nano", "end_time_unix_nano", "events"):
            before.ClearField(field)
            after.ClearField(field)
        assert after == before
    assert signal is Signal.TRACES
    assert spans_of(payload)[0].events[0].time_unix_nano == one.start_time_unix_nano + 5 - SECOND_NS


def test_a_time_that_is_not_given_stays_so() -> None:
    record = log_record()
    assert record.observed_time_unix_nano == 0
    ((_, payload),) = shifted([(Signal.LOGS, logs_request(record).SerializeToString())], SECOND_NS)
    (moved,) = logs_of(payload)
    assert (moved.time_unix_nano, moved.observed_time_unix_nano) == (NOW_NS + SECOND_NS, 0)


def test_spans_of_1970_count_as_having_times() -> None:
    """As recordings for tests have them: the first begins at 0."""
    first = span()
    first.start_time_unix_nano, first.end_time_unix_nano = 0, 1000
    ((_, payload),) = shifted([(Signal.TRACES, trace_request(first).SerializeToString())], NOW_NS)
    (moved,) = spans_of(payload)
    assert (moved.start_time_unix_nano, moved.end_time_unix_nano) == (NOW_NS, NOW_NS + 1000)


def test_points_of_every_kind_move_with_their_exemplars() -> None:
    point = histogram_point([1, 2], [0.5])
    point.exemplars.add(time_unix_nano=NOW_NS - 1)
    number = number_point()
    number.start_time_unix_nano = NOW_NS - 7
    request = metrics_request(
        gauge(number),
        metrics.Metric(name="h", histogram=metrics.Histogram(data_points=[point])),
        metrics.Metric(
            name="s", summary=metrics.Summary(data_points=[metrics.SummaryDataPoint(time_unix_nano=NOW_NS)])
        ),
        metrics.Metric(name="nothing"),
    )
    ((_, payload),) = shifted([(Signal.METRICS, request.SerializeToString())], SECOND_NS)
    moved = ExportMetricsServiceRequest.FromString(payload).resource_metrics[0].scope_metrics[0].metrics
    assert moved[0].gauge.data_points[0].time_unix_nano == NOW_NS + SECOND_NS
    assert moved[0].gauge.data_points[0].start_time_unix_nano == NOW_NS - 7 + SECOND_NS
    assert moved[1].histogram.data_points[0].exemplars[0].time_unix_nano == NOW_NS - 1 + SECOND_NS
    assert moved[2].summary.data_points[0].time_unix_nano == NOW_NS + SECOND_NS


def test_the_latest_time_is_that_of_all_requests() -> None:
    late = log_record()
    late.observed_time_unix_nano = NOW_NS + 3
    requests = [
        (Signal.TRACES, trace_request(span()).SerializeToString()),
        (Signal.LOGS, logs_request(log_record(), late).SerializeToString()),
    ]
    assert latest_ns(requests) == NOW_NS + 3
    assert latest_ns([]) is None
    assert latest_ns([(Signal.LOGS, ExportLogsServiceRequest().SerializeToString())]) is None


@pytest.mark.parametrize("by_ns", [-NOW_NS, 2**63 - 1])
def test_a_shift_beyond_the_range_of_times_is_refused(by_ns: int) -> None:
    with pytest.raises(ShiftError):
        list(shifted([(Signal.TRACES, trace_request(span()).SerializeToString())], by_ns))
