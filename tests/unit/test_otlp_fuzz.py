"""Whatever arrives, only typed errors leave, and the next request is served."""

from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics

from agent_tracer.server.domain.errors import RefusedError
from agent_tracer.server.domain.otlp_json import REQUEST_TYPES
from agent_tracer.server.domain.otlp_validation import validate
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    gauge,
    histogram_point,
    log_record,
    logs_request,
    metrics_request,
    number_point,
    span,
    trace_request,
)

SOUND: dict[Signal, Message] = {
    Signal.TRACES: trace_request(span(1), span(2), span(3)),
    Signal.LOGS: logs_request(log_record("one"), log_record("two")),
    Signal.METRICS: metrics_request(
        gauge(number_point(), number_point(2)),
        metrics.Metric(
            name="h",
            histogram=metrics.Histogram(
                data_points=[histogram_point([1, 2], [0.5])],
                aggregation_temporality=metrics.AGGREGATION_TEMPORALITY_CUMULATIVE,
            ),
        ),
    ),
}
signals = st.sampled_from(list(Signal))


def assert_bears(signal: Signal, payload: bytes) -> None:
    """A typed refusal, or a verdict whose payload is itself a sound request of as many items as it says."""
    try:
        verdict = validate(signal, payload, NOW_NS)
    except RefusedError:
        pass
    else:
        REQUEST_TYPES[signal].FromString(verdict.payload)
        again = validate(signal, verdict.payload, NOW_NS)
        assert (again.kept, again.rejected_count) == (verdict.kept, 0)
        assert again.payload == verdict.payload
    sound = SOUND[signal].SerializeToString()
    assert validate(signal, sound, NOW_NS).payload is sound


@given(signals, st.binary(max_size=400))
def test_random_bytes_raise_nothing_but_refusals(signal: Signal, payload: bytes) -> None:
    assert_bears(signal, payload)


@given(signals, st.data())
def test_a_request_cut_off_anywhere_is_borne(signal: Signal, data: st.DataObject) -> None:
    sound = SOUND[signal].SerializeToString()
    assert_bears(signal, sound[: data.draw(st.integers(0, len(sound)))])


@settings(max_examples=300)
@given(signals, st.lists(st.integers(0, 10_000), min_size=1, max_size=8))
def test_flipped_bits_are_borne(signal: Signal, bits: list[int]) -> None:
    payload = bytearray(SOUND[signal].SerializeToString())
    for bit in bits:
        payload[bit // 8 % len(payload)] ^= 1 << bit % 8
    assert_bears(signal, bytes(payload))


@settings(max_examples=200)
@given(signals, st.data())
def test_spliced_requests_are_borne(signal: Signal, data: st.DataObject) -> None:
    first, second = SOUND[signal].SerializeToString(), SOUND[data.draw(signals)].SerializeToString()
    at, start, end = (data.draw(st.integers(0, len(first))) for _ in range(3))
    assert_bears(signal, first[:at] + second[min(start, end) : max(start, end)] + first[at:])
