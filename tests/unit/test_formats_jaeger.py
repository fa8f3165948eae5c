"""Jaeger's JSON exports as OTLP: the recorded CRISP traces, and each rule of the specification backwards."""

import io
import json
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.cli.formats import FormatError, read_requests
from agent_tracer.server.cli.formats.jaeger import resource_spans
from tests.fixtures.recorded import recorded


def spans_of(data: bytes) -> list[Span]:
    whole = ExportTraceServiceRequest()
    for _, payload in read_requests(io.BytesIO(data)):
        whole.MergeFromString(payload)
    return [each for block in whole.resource_spans for scope in block.scope_spans for each in scope.spans]


CRISP: Final = "crisp-critical-path"


def test_jaeger_traces_keep_spans_roots_parents_and_durations() -> None:
    paths = sorted(recorded(CRISP).glob("dev/test_cases/*.json"))
    assert len(paths) == 12
    for path in paths:
        source = [each for trace in json.loads(path.read_bytes())["data"] for each in trace["spans"]]
        found = spans_of(path.read_bytes())
        expected = {
            int(each["spanID"], 16): (
                each["operationName"],
                each["startTime"] * 1000,
                each["duration"] * 1000,
                int(each["references"][0]["spanID"], 16) if each["references"] else 0,
            )
            for each in source
        }
        assert {
            int.from_bytes(each.span_id): (
                each.name,
                each.start_time_unix_nano,
                each.end_time_unix_nano - each.start_time_unix_nano,
                int.from_bytes(each.parent_span_id),
            )
            for each in found
        } == expected, path.name
        assert len(found) == len(source)
        errors = sum({"key": "error", "type": "bool", "value": True} in each.get("tags", []) for each in source)
        assert sum(each.status.code == Status.STATUS_CODE_ERROR for each in found) == errors


def tag(key: str, value: object, kind: str = "string") -> dict[str, object]:
    return {"key": key, "type": kind, "value": value}


JAEGER_SPAN: Final[dict[str, Any]] = {
    "traceID": "0af7651916cd43dd8448eb211c80319c",
    "spanID": "7ad6b7169203331",
    "flags": 3,
    "operationName": "GET /cart",
    "references": [
        {"refType": "CHILD_OF", "traceID": "1", "spanID": "1"},
        {"refType": "FOLLOWS_FROM", "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "2"},
        {"refType": "CHILD_OF", "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "b7ad6b7169203330"},
        {"refType": "CHILD_OF", "traceID": "0af7651916cd43dd8448eb211c80319c", "spanID": "4"},
    ],
    "startTime": 1_700_000_000_000_001,
    "duration": 2_500,
    "tags": [
        tag("span.kind", "server"),
        tag("error", True, "bool"),
        tag("otel.status_code", "OK"),
        tag("otel.status_description", "out of stock"),
        tag("otel.scope.name", "shop.http"),
        tag("otel.library.version", "1.2"),
        tag("w3c.tracestate", "a=1"),
        tag("otel.dropped_links_count", 4, "int64"),
        tag("http.status_code", "500", "int64"),
        tag("ratio", 1, "float64"),
        tag("raw", "AAE=", "binary"),
        tag("odd", [1, 2], "int64"),
    ],
    "logs": [
        {
            "timestamp": 1_700_000_000_000_002,
            "fields": [
                tag("event", "retry"),
                tag("n", 2, "int64"),
                tag("otel.event.dropped_attributes_count", 1, "int64"),
            ],
        }
    ],
    "processID": "p1",
    "warnings": None,
}
JAEGER_TRACE: Final[dict[str, Any]] = {
    "traceID": JAEGER_SPAN["traceID"],
    "spans": [JAEGER_SPAN],
    "processes": {
        "p1": {"serviceName": "cart", "tags": [tag("host.name", "h1")]},
        "p2": {"serviceName": "idle"},
    },
}


@pytest.mark.parametrize("form", [{"data": [JAEGER_TRACE]}, [JAEGER_TRACE], JAEGER_TRACE], ids=["api", "list", "one"])
def test_each_form_of_jaegers_export_is_read(form: object) -> None:
    assert len(spans_of(json.dumps(form).encode())) == 1


def test_jaegers_tags_become_what_opentelemetry_made_them_from() -> None:
    (block,) = resource_spans(JAEGER_TRACE)
    (scope,) = block.scope_spans
    (found,) = scope.spans
    assert {each.key: each.value.string_value for each in block.resource.attributes} == {
        "service.name": "cart", "host.name": "h1",
    }  # fmt: skip
    assert (scope.scope.name, scope.scope.version) == ("shop.http", "1.2")
    assert found.span_id.hex() == "07ad6b7169203331"
    assert found.parent_span_id.hex() == "b7ad6b7169203330"
    links = [(int.from_bytes(each.trace_id), int.from_bytes(each.span_id)) for each in found.links]
    own_trace = int(JAEGER_SPAN["traceID"], 16)
    assert links == [(1, 1), (own_trace, 2), (own_trace, 4)]
    kinds = [each.attributes[0].value.string_value for each in found.links]
    assert kinds == ["child_of", "follows_from", "child_of"]
    assert found.kind == Span.SPAN_KIND_SERVER
    assert (found.status.code, found.status.message) == (Status.STATUS_CODE_ERROR, "out of stock")
    assert (found.trace_state, found.dropped_links_count, found.flags) == ("a=1", 4, 1)
    assert found.start_time_unix_nano == 1_700_000_000_000_001_000
    assert found.end_time_unix_nano - found.start_time_unix_nano == 2_500_000
    attributes = {each.key: each.value for each in found.attributes}
    assert set(attributes) == {"http.status_code", "ratio", "raw", "odd"}
    assert attributes["http.status_code"].int_value == 500
    assert attributes["ratio"].double_value == 1.0
    assert attributes["raw"].bytes_value == b"\x00\x01"
    assert attributes["odd"].string_value == "[1, 2]"
    (event,) = found.events
    assert (event.name, event.time_unix_nano) == ("retry", 1_700_000_000_000_002_000)
    assert (event.dropped_attributes_count, [each.key for each in event.attributes]) == (1, ["n"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traceID": "x1"}, "traceID: expected 1 to 32 hex digits"),
        ({"spanID": "0"}, "spanID: expected 1 to 16 hex digits, not all zero"),
        ({"startTime": "soon"}, "startTime: expected a whole number of microseconds"),
        ({"duration": -1}, "duration: expected a whole number"),
        ({"duration": 1 << 70}, "duration: expected a whole number"),
        ({"tags": {"a": 1}}, "tags: expected an array of objects"),
        ({"operationName": None}, "operationName: expected a string"),
        ({"operationName": "\ud800"}, "half of a surrogate pair"),
        ({"references": [{"refType": "NEAR"}]}, "references: expected refType CHILD_OF or FOLLOWS_FROM"),
    ],
)
def test_a_jaeger_span_that_is_wrong_is_named_with_its_field(change: dict[str, Any], message: str) -> None:
    trace = JAEGER_TRACE | {"spans": [JAEGER_SPAN, JAEGER_SPAN | change]}
    with pytest.raises(FormatError) as caught:
        spans_of(json.dumps({"data": [trace]}).encode())
    assert "entry 1: spans[1]" in str(caught.value)
    assert message in str(caught.value)
