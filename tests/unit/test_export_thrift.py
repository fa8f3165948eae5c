"""OTLP spans as Jaeger's Thrift, read back by Jaeger's own definition."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from thriftpy2.protocol.binary import TBinaryProtocolFactory
from thriftpy2.utils import deserialize

from agent_tracer.server.adapters.exporters import thrift_spans
from agent_tracer.server.adapters.exporters.thrift_spans import by_resource, thrift_batch
from agent_tracer.server.limits import EXPORT_THRIFT_SPANS_MAX
from tests.fixtures.otlp_requests import attribute, span, spans_of, trace_request


def read(request: ExportTraceServiceRequest) -> Any:
    idl = thrift_spans._idl()
    return deserialize(idl.Batch(), thrift_batch(request), TBinaryProtocolFactory())  # type: ignore[no-untyped-call]


def one(made: Span) -> Any:
    return read(trace_request(made)).spans[0]


def values(tags: list[Any]) -> dict[str, Any]:
    fields = ("vStr", "vDouble", "vBool", "vLong", "vBinary")
    return {tag.key: getattr(tag, fields[tag.vType]) for tag in tags}


def test_ids_are_the_same_bits_as_signed_numbers() -> None:
    made = span()
    made.trace_id = b"\xff" * 8 + b"\x00" * 7 + b"\x05"
    made.span_id = b"\x80" + b"\x00" * 7
    made.parent_span_id = b""
    found = one(made)

    assert (found.traceIdHigh, found.traceIdLow) == (-1, 5)
    assert (found.spanId, found.parentSpanId) == (-(2**63), 0)


def test_every_kind_of_value_keeps_its_type() -> None:
    made = span()
    del made.attributes[:]
    listed = AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="\u00fc"), AnyValue(int_value=1)]))
    table = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(bool_value=True))]))
    given = {
        "text": AnyValue(string_value="x"), "int": AnyValue(int_value=-5), "float": AnyValue(double_value=0.5),
        "bool": AnyValue(bool_value=False), "bytes": AnyValue(bytes_value=b"\x00\xff"), "list": listed, "map": table,
        "none": AnyValue(),
    }  # fmt: skip
    made.attributes.extend(KeyValue(key=key, value=value) for key, value in given.items())

    assert values(one(made).tags) == {
        "text": "x", "int": -5, "float": 0.5, "bool": False, "bytes": b"\x00\xff", "list": '["\u00fc",1]',
        "map": '{"k":true}', "none": "", "otel.scope.name": "tests",
    }  # fmt: skip


def test_what_jaeger_has_no_field_for_becomes_tags_logs_and_references() -> None:
    made = span()
    made.kind = Span.SPAN_KIND_CLIENT
    made.trace_state = "a=1"
    made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="no"))
    made.events.add(name="retry", time_unix_nano=7_000, attributes=[attribute("why", "slow")])
    made.links.add(trace_id=bytes(15) + b"\x09", span_id=bytes(7) + b"\x08")
    found = one(made)

    tags = values(found.tags)
    assert tags["span.kind"] == "client"
    assert tags["error"] is True
    assert (tags["otel.status_code"], tags["otel.status_description"]) == ("ERROR", "no")
    assert tags["w3c.tracestate"] == "a=1"
    assert [(log.timestamp, values(log.fields)) for log in found.logs] == [(7, {"event": "retry", "why": "slow"})]
    (reference,) = found.references
    assert (reference.refType, reference.traceIdLow, reference.spanId) == (1, 9, 8)
    assert found.duration == 1_000_000


def test_the_resource_is_the_process() -> None:
    request = trace_request(span())
    request.resource_spans[0].resource.attributes.append(attribute("host.name", "h1"))
    process = read(request).process

    assert process.serviceName == "shop"
    assert values(process.tags) == {"host.name": "h1"}
    del request.resource_spans[0].resource.attributes[:]
    assert read(request).process.serviceName == "unknown_service"


def test_one_batch_holds_one_resource_and_a_bounded_number_of_spans() -> None:
    count = EXPORT_THRIFT_SPANS_MAX + 1
    request = trace_request(*(span(number) for number in range(1, count + 1)))
    other = trace_request(span(9))
    other.resource_spans[0].resource.attributes[0].value.string_value = "till"
    request.MergeFrom(other)
    request.MergeFrom(trace_request(span(count + 1)))
    parts = [spans_of(part) for part in by_resource(request)]

    assert [len(part) for part in parts] == [EXPORT_THRIFT_SPANS_MAX, 2, 1]
    assert list(by_resource(ExportTraceServiceRequest())) == []
