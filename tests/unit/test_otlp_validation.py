"""What of an OTLP export request is kept, and what the sender is told of the rest."""

import math
from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server import limits
from agent_tracer.server.domain.errors import TooLargeError
from agent_tracer.server.domain.otlp_json import DEPTH_MAX
from agent_tracer.server.domain.otlp_validation import (
    MalformedRequestError,
    Reason,
    TooManyItemsError,
    Verdict,
    validate,
)
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    SECOND_NS,
    TRACE_ID,
    attribute,
    gauge,
    histogram_point,
    in_array,
    in_map,
    log_record,
    logs_of,
    logs_request,
    metrics_request,
    nested,
    number_point,
    span,
    spans_of,
    trace_request,
)


def check(request: Message, signal: Signal = Signal.TRACES) -> Verdict:
    return validate(signal, request.SerializeToString(), NOW_NS)


def with_fields(**fields: object) -> Span:
    changed = span(7)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def repeated(head: bytes, content: bytes, times: int) -> bytes:
    return (head + bytes((len(content),)) + content) * times


def in_field(number: int, content: bytes) -> bytes:
    size, head = len(content), bytearray((number << 3 | 2,))
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*head, size)) + content


def test_a_sound_request_is_kept_byte_for_byte_so_that_nothing_of_it_is_lost() -> None:
    payload = trace_request(span(1), span(2)).SerializeToString() + b"\xf2\x3f\x03new"  # a field of a later OTLP
    verdict = validate(Signal.TRACES, payload, NOW_NS)
    assert verdict.payload is payload
    assert (verdict.kept, verdict.rejected, verdict.message) == (2, {}, "")


@pytest.mark.parametrize("request_", [trace_request(), ExportTraceServiceRequest()])
def test_a_request_without_spans_leaves_nothing_to_keep(request_: Message) -> None:
    assert check(request_) == Verdict("span", b"", 0)


HOUR_AHEAD = NOW_NS + limits.TIMESTAMP_AHEAD_SECONDS * SECOND_NS
YEAR_2000 = limits.TIMESTAMP_MIN_SECONDS * SECOND_NS


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (with_fields(trace_id=b""), Reason.TRACE_ID),
        (with_fields(trace_id=bytes(16)), Reason.TRACE_ID),
        (with_fields(trace_id=b"short"), Reason.TRACE_ID),
        (with_fields(trace_id=bytes(range(17))), Reason.TRACE_ID),
        (with_fields(span_id=b""), Reason.SPAN_ID),
        (with_fields(span_id=bytes(8)), Reason.SPAN_ID),
        (with_fields(span_id=bytes(range(9))), Reason.SPAN_ID),
        (with_fields(parent_span_id=b"short"), Reason.PARENT_SPAN_ID),
        (with_fields(start_time_unix_nano=0), Reason.START_TIME),
        (with_fields(start_time_unix_nano=YEAR_2000 - 1), Reason.START_TIME),
        (
            with_fields(start_time_unix_nano=HOUR_AHEAD + 1, end_time_unix_nano=HOUR_AHEAD + 1),
            Reason.START_TIME,
        ),
        (with_fields(start_time_unix_nano=2**64 - 1, end_time_unix_nano=2**64 - 1), Reason.START_TIME),
        (with_fields(end_time_unix_nano=0), Reason.END_BEFORE_START),
        (with_fields(end_time_unix_nano=span().start_time_unix_nano - 1), Reason.END_BEFORE_START),
        (with_fields(end_time_unix_nano=HOUR_AHEAD + 1), Reason.END_TIME),
    ],
)
def test_a_span_that_breaks_a_rule_goes_alone_and_its_neighbours_stay(spoiled: Span, reason: Reason) -> None:
    verdict = check(trace_request(span(1), spoiled, span(2)))
    assert verdict.rejected == {reason: 1}
    assert spans_of(verdict.payload) == [span(1), span(2)]
    assert verdict.message.startswith("rejected 1 of 3 spans: 1 ")


@pytest.mark.parametrize(
    "fine",
    [
        with_fields(parent_span_id=bytes(8)),
        with_fields(start_time_unix_nano=YEAR_2000, end_time_unix_nano=YEAR_2000),
        with_fields(start_time_unix_nano=HOUR_AHEAD, end_time_unix_nano=HOUR_AHEAD),
        with_fields(end_time_unix_nano=span().start_time_unix_nano),
        with_fields(name=""),
        with_fields(name="'; DROP TABLE spans; --<script>\x1b[2J"),
    ],
)
def test_a_span_at_the_edge_of_the_rules_is_kept(fine: Span) -> None:
    assert check(trace_request(fine)).kept == 1


def test_a_span_keeps_keys_that_it_sends_twice() -> None:
    twice = span()
    twice.attributes.extend([attribute("k", "a"), attribute("k", "b")])
    verdict = check(trace_request(twice))
    assert spans_of(verdict.payload) == [twice]


def test_attributes_are_counted_on_the_item_its_scope_and_its_resource() -> None:
    full = [attribute(str(number), "") for number in range(limits.ATTRIBUTES_PER_SPAN_MAX)]
    most, more = span(1), span(2)
    del most.attributes[:], more.attributes[:]
    most.attributes.extend(full)
    more.attributes.extend([*full, attribute("one more", "")])
    verdict = check(trace_request(most, more))
    assert verdict.rejected == {Reason.ATTRIBUTE_COUNT: 1}
    assert spans_of(verdict.payload) == [most]

    for holder in ("resource", "scope"):
        request = trace_request(span(1))
        request.resource_spans.append(trace_request(span(2)).resource_spans[0])
        group = request.resource_spans[0]
        message = group.resource if holder == "resource" else group.scope_spans[0].scope
        message.attributes.extend([*full, attribute("one more", "")])
        verdict = check(request)
        assert verdict.rejected == {Reason.ATTRIBUTE_COUNT: 1}, holder
        assert verdict.payload == trace_request(span(2)).SerializeToString(), "the empty resource goes with them"


def holding(value: AnyValue) -> Span:
    holder = span(9)
    holder.events.add(name="e").attributes.append(KeyValue(key="deep", value=value))
    return holder


@pytest.mark.parametrize("inside", [in_array, in_map])
def test_values_nest_to_the_limit_and_no_deeper(inside: Callable[[AnyValue], AnyValue]) -> None:
    deepest = trace_request(span(1), holding(nested(DEPTH_MAX, inside)))
    verdict = check(deepest)
    assert (verdict.payload, verdict.kept) == (deepest.SerializeToString(), 2)

    verdict = check(trace_request(span(1), holding(nested(DEPTH_MAX + 1, inside))))
    assert verdict.rejected == {Reason.NESTING: 1}
    assert spans_of(verdict.payload) == [span(1)]


def test_a_resource_that_nests_too_deep_takes_its_spans_along() -> None:
    request = trace_request(span(1))
    deep = KeyValue(key="deep", value=nested(DEPTH_MAX + 1, in_array))
    request.resource_spans[0].resource.attributes.append(deep)
    request.resource_spans.append(trace_request(span(2)).resource_spans[0])
    verdict = check(request)
    assert verdict.rejected == {Reason.NESTING: 1}
    assert spans_of(verdict.payload) == [span(2)]


def test_a_value_deeper_than_a_decoder_goes_costs_only_its_span() -> None:
    value = b""
    for _ in range(limits.MESSAGE_DEPTH_MAX):
        value = in_field(5, in_field(1, value))
    deep = span(9).SerializeToString() + in_field(9, in_field(1, b"deep") + in_field(2, value))
    spans = [span(1).SerializeToString(), deep, span(2).SerializeToString()]
    verdict = validate(Signal.TRACES, in_field(1, in_field(2, b"".join(in_field(2, s) for s in spans))), NOW_NS)
    assert verdict.rejected == {Reason.MALFORMED: 1}
    assert spans_of(verdict.payload) == [span(1), span(2)]


def not_utf8(message: Message, text: str) -> bytes:
    return message.SerializeToString().replace(text.encode(), b"\xff" * len(text))


def test_text_that_is_not_utf8_costs_only_its_span() -> None:
    verdict = validate(Signal.TRACES, not_utf8(trace_request(span(1), span(2), span(3)), "span 2"), NOW_NS)
    assert verdict.rejected == {Reason.MALFORMED: 1}
    assert spans_of(verdict.payload) == [span(1), span(3)]
    assert "UTF-8" in verdict.message


def test_a_damaged_resource_costs_only_the_items_under_it() -> None:
    request = trace_request(span(1), span(2))
    request.resource_spans[0].resource.attributes[0].value.string_value = "broken"
    request.resource_spans.append(trace_request(span(3)).resource_spans[0])
    verdict = validate(Signal.TRACES, not_utf8(request, "broken"), NOW_NS)
    assert verdict.rejected == {Reason.MALFORMED: 2}
    assert verdict.payload == trace_request(span(3)).SerializeToString()


def test_a_damaged_log_record_costs_only_itself() -> None:
    payload = not_utf8(logs_request(log_record("good"), log_record("evil")), "evil")
    verdict = validate(Signal.LOGS, payload, NOW_NS)
    assert (verdict.kept, verdict.rejected) == (1, {Reason.MALFORMED: 1})


@pytest.mark.parametrize(
    "payload",
    [
        trace_request(span(1), span(2)).SerializeToString()[:-3],
        not_utf8(trace_request(span(1)), "span 1"),
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b'{"resourceSpans":[]}',
    ],
)
def test_what_cannot_be_decoded_at_all_is_refused_whole(payload: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="resource_spans cannot be decoded"):
        validate(Signal.TRACES, payload, NOW_NS)


def test_a_message_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(TooLargeError, match=str(limits.MESSAGE_BYTES_MAX)):
        validate(Signal.TRACES, bytes(limits.MESSAGE_BYTES_MAX + 1), NOW_NS)


MORE_THAN_MAX = limits.ITEMS_PER_REQUEST_MAX + 1


@pytest.mark.parametrize(
    "payload",
    [
        repeated(b"\x0a", b"", MORE_THAN_MAX),
        in_field(1, repeated(b"\x12", b"", MORE_THAN_MAX)),
        in_field(1, in_field(2, repeated(b"\x12", b"", MORE_THAN_MAX))),
        in_field(1, in_field(2, repeated(b"\x12", b"\xff", limits.SALVAGED_ITEMS_MAX + 1))),
    ],
    ids=["resources", "scopes", "spans", "undecodable spans"],
)
def test_more_items_than_can_be_checked_are_refused_before_the_work_is_done(payload: bytes) -> None:
    with pytest.raises(TooManyItemsError, match="send smaller batches"):
        validate(Signal.TRACES, payload, NOW_NS)


def test_a_log_without_any_time_or_id_is_kept_because_receipt_gives_it_one() -> None:
    assert check(logs_request(LogRecord()), Signal.LOGS).kept == 1


@pytest.mark.parametrize("field", ["time_unix_nano", "observed_time_unix_nano"])
def test_a_log_from_an_impossible_time_is_rejected(field: str) -> None:
    wrong = log_record()
    setattr(wrong, field, HOUR_AHEAD + 1)
    verdict = check(logs_request(wrong, log_record()), Signal.LOGS)
    assert (verdict.kept, verdict.rejected) == (1, {Reason.TIME: 1})
    assert verdict.message.startswith("rejected 1 of 2 log records: ")


def test_a_log_with_ids_that_are_none_is_kept_without_them_as_the_spec_asks() -> None:
    wrong = log_record()
    wrong.trace_id, wrong.span_id = b"short", TRACE_ID
    verdict = check(logs_request(wrong, log_record()), Signal.LOGS)
    mended, untouched = logs_of(verdict.payload)
    assert (mended.trace_id, mended.span_id, mended.body) == (b"", b"", wrong.body)
    assert untouched == log_record()
    assert (verdict.rejected_count, verdict.message) == (
        0,
        "1 log record kept without a trace_id or span_id of the wrong length",
    )


def summary(quantile: float) -> metrics.Metric:
    values = [metrics.SummaryDataPoint.ValueAtQuantile(quantile=quantile, value=1)]
    point = metrics.SummaryDataPoint(time_unix_nano=NOW_NS, quantile_values=values)
    return metrics.Metric(name="s", summary=metrics.Summary(data_points=[point]))


def histogram(counts: list[int], bounds: list[float], temporality: int = 2) -> metrics.Metric:
    data = metrics.Histogram(
        data_points=[histogram_point(counts, bounds)],
        aggregation_temporality=metrics.AggregationTemporality.ValueType(temporality),
    )
    return metrics.Metric(name="h", histogram=data)


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (gauge(metrics.NumberDataPoint(as_int=1)), Reason.TIME),
        (gauge(metrics.NumberDataPoint(as_int=1, time_unix_nano=HOUR_AHEAD + 1)), Reason.TIME),
        (metrics.Metric(name="s", sum=metrics.Sum(data_points=[number_point()])), Reason.TEMPORALITY),
        (histogram([1], [], temporality=0), Reason.TEMPORALITY),
        (histogram([1, 2], [1.0, 2.0]), Reason.BUCKETS),
        (histogram([], [1.0]), Reason.BUCKETS),
        (histogram([1, 2, 3], [2.0, 2.0]), Reason.BUCKETS),
        (histogram([1, 2, 3], [math.nan, 2.0]), Reason.BUCKETS),
        (summary(1.5), Reason.QUANTILE),
        (summary(math.nan), Reason.QUANTILE),
    ],
)
def test_a_point_that_the_spec_calls_invalid_goes_alone(metric: metrics.Metric, reason: Reason) -> None:
    verdict = check(metrics_request(gauge(number_point(), number_point()), metric), Signal.METRICS)
    assert (verdict.kept, verdict.rejected) == (2, {reason: 1})
    assert verdict.message.startswith("rejected 1 of 3 data points: ")
    kept = ExportMetricsServiceRequest.FromString(verdict.payload)
    first = kept.resource_metrics[0].scope_metrics[0].metrics[0]
    assert first == gauge(number_point(), number_point())


@pytest.mark.parametrize(
    "metric",
    [
        gauge(number_point(math.nan), number_point(math.inf), number_point(-math.inf)),
        histogram([1, 2, 3], [0.0, math.inf]),
        histogram([3], []),
        histogram([], []),
        summary(1.0),
        metrics.Metric(name="no data"),
    ],
)
def test_values_that_are_not_finite_and_points_without_buckets_are_kept(metric: metrics.Metric) -> None:
    verdict = check(metrics_request(metric, gauge(number_point())), Signal.METRICS)
    assert verdict.message == ""
    assert verdict.payload


def test_every_reason_is_told_with_its_count() -> None:
    verdict = check(trace_request(with_fields(trace_id=b""), with_fields(trace_id=b"x"), with_fields(span_id=b"")))
    assert verdict.payload == b""
    assert verdict.message == (
        "rejected 3 of 3 spans: 2 trace_id is not 16 bytes, or all zero, 1 span_id is not 8 bytes, or all zero"
    )
