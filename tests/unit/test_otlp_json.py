"""The OTLP/JSON codec, against protobuf's own JSON mapping and against arbitrary input."""

import base64
import functools
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from agent_tracer.server.domain.otlp_json import (
    DEPTH_MAX,
    REQUEST_TYPES,
    OtlpJsonError,
    Request,
    format_request,
    format_response,
    parse_request,
)
from agent_tracer.server.domain.otlp_json_scalars import ID_BYTES
from agent_tracer.server.domain.signals import Signal

F: Final = FieldDescriptor
NESTING: Final = 2
SCALARS: Final[Mapping[int, st.SearchStrategy[Any]]] = {
    F.TYPE_STRING: st.text(max_size=8),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_DOUBLE: st.floats(allow_nan=False) | st.sampled_from([math.nan, -0.0, 1e308, 5e-324]),
    F.TYPE_BYTES: st.binary(max_size=9),
    F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_SINT64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_SFIXED64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_UINT64: st.integers(0, 2**64 - 1),
    F.TYPE_FIXED64: st.integers(0, 2**64 - 1),
    F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_UINT32: st.integers(0, 2**32 - 1),
    F.TYPE_FIXED32: st.integers(0, 2**32 - 1),
    F.TYPE_ENUM: st.integers(0, 3),
}


@functools.cache
def keyword_arguments(descriptor: Descriptor, nesting: int = NESTING) -> st.SearchStrategy[dict[str, Any]]:
    """Any message of this type, as what its constructor takes; scalars may be missing, messages are there."""
    inner = nesting - (descriptor.name == "AnyValue")
    fields = [field for field in descriptor.fields if inner >= 0 or field.message_type is None]
    alone = [field for field in fields if field.containing_oneof is None]
    names = {field.name for field in fields}
    groups = [[field for field in oneof.fields if field.name in names] for oneof in descriptor.oneofs]

    @st.composite
    def draw_message(draw: st.DrawFn) -> dict[str, Any]:
        chosen = [field for field in alone if field.message_type is not None or draw(st.booleans())]
        chosen += [draw(st.sampled_from(group)) for group in groups if draw(st.integers(0, 5))]
        return {field.name: draw(values(field, inner)) for field in chosen}

    return draw_message()


def values(field: FieldDescriptor, nesting: int) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any]
    if field.message_type is not None:
        one = keyword_arguments(field.message_type, nesting)
        return st.lists(one, min_size=1, max_size=1) if field.is_repeated else one
    if field.name in ID_BYTES:
        one = st.binary(min_size=ID_BYTES[field.name], max_size=ID_BYTES[field.name])
    else:
        one = SCALARS[field.type]
    return st.lists(one, max_size=2) if field.is_repeated else one


@st.composite
def signals_and_requests(draw: st.DrawFn) -> tuple[Signal, Request]:
    signal = draw(st.sampled_from(Signal))
    request_type: Any = REQUEST_TYPES[signal]
    return signal, request_type(**draw(keyword_arguments(request_type.DESCRIPTOR)))


def with_ids(document: Any, convert: Any) -> Any:
    """The JSON document with every id converted: what the two JSON mappings differ in."""
    if isinstance(document, list):
        return [with_ids(item, convert) for item in document]
    if isinstance(document, dict):
        return {
            key: convert(value) if key in {"traceId", "spanId", "parentSpanId"} else with_ids(value, convert)
            for key, value in document.items()
        }
    return document


ARBITRARY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@ARBITRARY
@given(signals_and_requests())
def test_any_request_survives_the_way_to_json_and_back(case: tuple[Signal, Request]) -> None:
    signal, request = case
    again = parse_request(signal, format_request(request))
    # as bytes: NaN is not equal to itself
    assert again.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


@ARBITRARY
@given(signals_and_requests())
def test_both_ways_agree_with_protobufs_own_mapping_except_for_ids(case: tuple[Signal, Request]) -> None:
    signal, request = case
    theirs = json_format.MessageToDict(request, use_integers_for_enums=True)
    ours = json.loads(format_request(request))
    assert ours == with_ids(theirs, lambda text: base64.b64decode(text).hex())
    back = json_format.ParseDict(
        with_ids(ours, lambda text: base64.b64encode(bytes.fromhex(text)).decode()), REQUEST_TYPES[signal]()
    )
    assert back.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


KEYS: Final = [
    *(
        "resourceSpans",
        "resource",
        "attributes",
        "scopeSpans",
        "spans",
        "traceId",
        "spanId",
        "status",
        "code",
    ),
    *("startTimeUnixNano", "kind", "events", "flags", "name", "key", "value", "values", "stringValue"),
    *("intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue", "kvlistValue"),
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["NaN", "1e5", "-", "1_0", "٣", "\ud800", " 1", "00" * 16]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["request", "span", "value"]), JSON_VALUES)
def test_any_json_is_read_or_refused_with_the_one_error(place: str, found: Any) -> None:
    documents = {
        "request": found,
        "span": {"resourceSpans": [{"scopeSpans": [{"spans": [found]}]}]},
        "value": {"resourceSpans": [{"resource": {"attributes": [{"key": "k", "value": found}]}}]},
    }
    try:
        request = parse_request(Signal.TRACES, json.dumps(documents[place]).encode())
    except OtlpJsonError:
        return
    assert ExportTraceServiceRequest.FromString(request.SerializeToString()) == request


def span_json(**fields: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()


def value_json(**value: Any) -> bytes:
    return span_json(attributes=[{"key": "secret", "value": value}])


def parsed_span(data: bytes) -> Any:
    request: Any = parse_request(Signal.TRACES, data)
    return request.resource_spans[0].scope_spans[0].spans[0]


def test_what_exporters_in_the_field_write_is_read() -> None:
    span = parsed_span(
        span_json(
            traceId="5B8EFFF798038103D269B633813FC60C",
            spanId="eee19b7ec3c1b174",
            parentSpanId="",
            startTimeUnixNano="1544712660000000000",
            endTimeUnixNano=1544712661000000000,
            kind=2,
            status={"code": "STATUS_CODE_ERROR"},
            droppedEventsCount=None,
            attributes=[
                {"key": "n", "value": {"intValue": "-7"}},
                {"key": "d", "value": {"doubleValue": "NaN"}},
            ],
        )
    )
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.parent_span_id == b""
    assert span.end_time_unix_nano - span.start_time_unix_nano == 10**9
    assert (span.kind, span.status.code) == (2, 2)
    assert span.attributes[0].value.int_value == -7
    assert math.isnan(span.attributes[1].value.double_value)


def test_unknown_and_snake_case_fields_are_ignored_whatever_they_hold() -> None:
    span = parsed_span(span_json(name="a", trace_id="xyz", future={"traceId": "no hex", "deep": [[[]]]}))
    assert (span.name, span.trace_id) == ("a", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "expected an object"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes at character 1"),
        (b'{"resourceSpans":[NaN]}', "not JSON: NaN and Infinity"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b'{"resourceSpans":' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a":' + b"[" * 100_000, "nest too deeply"),
        (b'{"resourceSpans":{}}', "resourceSpans: expected an array"),
        (b'{"resourceSpans":[null]}', "resourceSpans[0]: expected an object"),
        (span_json(traceId="abc"), "resourceSpans[0].scopeSpans[0].spans[0].traceId: expected 32 hex digits"),
        (span_json(traceId=" " * 2 + "a" * 30), "traceId: expected 32 hex digits"),
        (span_json(spanId=5), "spanId: expected 16 hex digits"),
        (span_json(startTimeUnixNano=-1), "startTimeUnixNano: expected an unsigned integer of 64 bits"),
        (span_json(startTimeUnixNano=True), "expected an unsigned integer of 64 bits"),
        (span_json(startTimeUnixNano=1.5), "expected an unsigned integer of 64 bits"),
        (span_json(kind="SPAN_KIND_SECRET"), "kind: expected an integer of 32 bits"),
        (span_json(name=7), "name: expected a string"),
        (b'{"resourceSpans":[{"schemaUrl":"\\ud800"}]}', "schemaUrl: expected Unicode text"),
        (value_json(intValue="9223372036854775808"), "value.intValue: expected an integer of 64 bits"),
        (value_json(doubleValue="1_0"), "value.doubleValue: expected a number"),
        (value_json(doubleValue="secret"), "value.doubleValue: expected a number"),
        (value_json(boolValue="true"), "value.boolValue: expected true or false"),
        (value_json(bytesValue="se*cret"), "value.bytesValue: expected base64 text"),
        (
            value_json(stringValue="secret", intValue=1),
            "attributes[0].value: expected only one kind of value",
        ),
    ],
)
def test_malformed_input_is_refused_with_the_field_and_without_its_value(data: bytes, message: str) -> None:
    with pytest.raises(OtlpJsonError) as caught:
        parse_request(Signal.TRACES, data)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value).lower()
    assert len(str(caught.value)) < 200


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(depth):
        value = {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
    return value


def exemplar_json(value: dict[str, Any]) -> bytes:
    """A value in the deepest place that a request has."""
    point = {"exemplars": [{"filteredAttributes": [{"key": "k", "value": value}]}]}
    metric = {"gauge": {"dataPoints": [point]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


def test_the_deepest_value_taken_can_be_decoded_again_and_one_deeper_is_refused() -> None:
    request = parse_request(Signal.METRICS, exemplar_json(nested(DEPTH_MAX)))
    assert REQUEST_TYPES[Signal.METRICS].FromString(request.SerializeToString()) == request
    assert parse_request(Signal.METRICS, format_request(request)) == request
    with pytest.raises(OtlpJsonError, match=f"nest more than {DEPTH_MAX} deep"):
        parse_request(Signal.METRICS, exemplar_json(nested(DEPTH_MAX + 1)))


def test_a_response_names_the_rejected_spans_and_is_empty_when_all_went_well() -> None:
    partial = ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
    rejected = json.loads(format_response(ExportTraceServiceResponse(partial_success=partial)))
    assert rejected == {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}
    assert format_response(ExportTraceServiceResponse()) == b"{}"
