"""Attribute values that are too long: cut, marked, never dropped."""

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from agent_tracer.server import limits
from agent_tracer.server.domain.otlp_validation import Verdict, validate
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import (
    NOW_NS,
    attribute,
    log_record,
    logs_of,
    logs_request,
    span,
    spans_of,
    trace_request,
)


def check(request: Message, signal: Signal = Signal.TRACES) -> Verdict:
    return validate(signal, request.SerializeToString(), NOW_NS)


MIB = limits.ATTRIBUTE_VALUE_BYTES_MAX


def test_a_long_text_is_cut_to_the_limit_with_a_marker_and_stays_utf8() -> None:
    long, fits = span(1), span(2)
    long.attributes.append(attribute("input.value", "é" * MIB))
    fits.attributes.append(attribute("input.value", "x" * MIB))
    verdict = check(trace_request(long, fits))
    cut, whole = spans_of(verdict.payload)
    assert whole == fits
    text = cut.attributes[1].value.string_value
    assert text.endswith(f"...[cut from {2 * MIB} bytes]")
    assert text.startswith("é" * 1000)
    assert MIB - 1 <= len(text.encode()) <= MIB
    assert (verdict.kept, verdict.rejected_count) == (2, 0)
    assert verdict.message == f"1 attribute value cut to {MIB} bytes"


def test_bytes_and_event_attributes_are_cut_too() -> None:
    long = span()
    long.events.add(name="e").attributes.append(KeyValue(key="k", value=AnyValue(bytes_value=b"\xff" * (MIB + 1))))
    (cut,) = spans_of(check(trace_request(long)).payload)
    content = cut.events[0].attributes[0].value.bytes_value
    assert content.endswith(b"\xff...[cut from 1048577 bytes]")
    assert len(content) == MIB


@pytest.mark.parametrize("collection", ["array", "map"])
def test_a_long_conversation_keeps_its_first_messages_and_a_marker(collection: str) -> None:
    value = AnyValue()
    for number in range(30):
        text = AnyValue(string_value=f"{number:03} " + "m" * 100_000)
        if collection == "array":
            value.array_value.values.append(text)
        else:
            value.kvlist_value.values.add(key=str(number)).value.CopyFrom(text)
    long = span()
    long.attributes.append(KeyValue(key="gen_ai.input.messages", value=value))
    size = value.ByteSize()
    (cut,) = spans_of(check(trace_request(long)).payload)
    kept = cut.attributes[1].value
    elements = list(kept.array_value.values) or [pair.value for pair in kept.kvlist_value.values]
    assert [e.string_value[:4] for e in elements[:-1]] == [f"{n:03} " for n in range(len(elements) - 1)]
    assert elements[-1].string_value == f"...[cut from {size} bytes]"
    assert "...[cut from 100004 bytes]" in elements[-2].string_value
    assert MIB - 200_000 < kept.ByteSize() < MIB + 1000


def test_a_long_log_body_is_cut() -> None:
    verdict = check(logs_request(log_record("b" * (MIB + 1))), Signal.LOGS)
    (record,) = logs_of(verdict.payload)
    assert record.body.string_value.endswith("...[cut from 1048577 bytes]")


def test_a_large_request_of_small_values_is_kept_byte_for_byte() -> None:
    several = [span(number) for number in range(1, 40)]
    for each in several:
        each.attributes.append(attribute("input.value", "x" * 50_000))
    payload = trace_request(*several).SerializeToString()
    assert len(payload) > MIB
    assert validate(Signal.TRACES, payload, NOW_NS).payload is payload
