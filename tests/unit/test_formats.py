"""Telemetry files in and out: what is recognised, that nothing is lost, and that memory stays bounded."""

import gzip
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server import limits
from agent_tracer.server.cli.formats import FormatError, read_requests, write_otlp_json, write_otlp_protobuf
from agent_tracer.server.cli.formats.batches import LAYOUTS
from agent_tracer.server.domain.otlp_json import REQUEST_TYPES, Request, format_request
from agent_tracer.server.domain.signals import Signal
from tests.fixtures import nezha
from tests.fixtures.recorded import recorded

TRACE_ID: Final = bytes(range(16))
TIME_NS: Final = 1_700_000_000_000_000_000


def span(number: int, **fields: Any) -> dict[str, Any]:
    ids = {"trace_id": TRACE_ID, "span_id": number.to_bytes(8, "big")}
    times = {"start_time_unix_nano": TIME_NS, "end_time_unix_nano": TIME_NS + number}
    return ids | times | {"name": f"span {number}"} | fields


ITEMS: Final[dict[Signal, Callable[[int], dict[str, Any]]]] = {
    Signal.TRACES: span,
    Signal.LOGS: lambda number: {"body": {"string_value": f"line {number}"}, "severity_number": 9},
    Signal.METRICS: lambda number: {
        "name": f"gauge.{number}",
        "gauge": {"data_points": [{"as_int": number}]},
    },
}


def request(signal: Signal, items: Iterable[dict[str, Any]], service: str = "shop") -> Request:
    layout = LAYOUTS[signal]
    block = {
        "resource": {"attributes": [{"key": "service.name", "value": {"string_value": service}}]},
        layout.scopes: [{"scope": {"name": "tests"}, layout.items: list(items), "schema_url": "scope/1"}],
        "schema_url": "resource/1",
    }
    request_type: Any = REQUEST_TYPES[signal]
    return request_type(**{layout.resources: [block]})  # type: ignore[no-any-return]


def requests(signal: Signal, count: int = 3) -> list[Request]:
    return [request(signal, [ITEMS[signal](each + 1)], f"shop-{each}") for each in range(count)]


def merged(signal: Signal, parts: Iterable[bytes]) -> Request:
    """All parts as one request: two lists of requests hold the same if they merge to the same."""
    whole = REQUEST_TYPES[signal]()
    for part in parts:
        whole.MergeFromString(part)
    return whole


def read(data: bytes, **options: int) -> list[tuple[Signal, bytes]]:
    return list(read_requests(io.BytesIO(data), **options))


def merged_spans(*parts: bytes) -> list[Span]:
    whole: Any = merged(Signal.TRACES, parts)
    return [each for block in whole.resource_spans for scope in block.scope_spans for each in scope.spans]


def as_one_message(parts: list[Request]) -> bytes:
    return b"".join(part.SerializeToString() for part in parts)


def as_delimited(parts: list[Request]) -> bytes:
    out = io.BytesIO()
    write_otlp_protobuf(out, parts)
    return out.getvalue()


def as_collector_frames(parts: list[Request]) -> bytes:
    payloads = [part.SerializeToString() for part in parts]
    return b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)


def as_json_lines(parts: list[Request]) -> bytes:
    out = io.BytesIO()
    write_otlp_json(out, parts)
    return out.getvalue()


def as_indented_json(parts: list[Request]) -> bytes:
    return b"\xef\xbb\xbf" + b"\n".join(
        json.dumps(json.loads(format_request(part)), indent=2).encode() for part in parts
    )


def as_json_array(parts: list[Request]) -> bytes:
    return b"[" + b",".join(format_request(part) for part in parts) + b"]"


ENCODERS: Final = (
    as_one_message,
    as_delimited,
    as_collector_frames,
    as_json_lines,
    as_indented_json,
    as_json_array,
)


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encode", ENCODERS)
@pytest.mark.parametrize("signal", Signal)
def test_every_encoding_of_every_signal_is_told_from_its_content(
    signal: Signal, encode: Callable[[list[Request]], bytes], compress: Callable[[bytes], bytes]
) -> None:
    parts = requests(signal)
    found = read(compress(encode(parts)))
    assert {each for each, _ in found} == {signal}
    assert merged(signal, (part for _, part in found)) == merged(signal, (part.SerializeToString() for part in parts))


@pytest.mark.parametrize("encode", [as_delimited, as_json_lines])
def test_a_file_may_mix_signals(encode: Callable[[list[Request]], bytes]) -> None:
    mixed = [part for signal in Signal for part in requests(signal, 2)]
    found = read(encode(mixed))
    for signal in Signal:
        parts = [part.SerializeToString() for part in requests(signal, 2)]
        assert merged(signal, (part for each, part in found if each is signal)) == merged(signal, parts)


@pytest.mark.parametrize("encode", [as_delimited, as_one_message])
def test_protobuf_of_any_length_is_not_taken_for_json_or_for_the_other_framing(
    encode: Callable[[list[Request]], bytes],
) -> None:
    # a length of 123 is "{", one of 91 is "[", one of 10 is the tag of a message
    for padding in range(200):
        part = request(Signal.TRACES, [span(1)], "x" * padding)
        assert sum(len(merged_spans(payload)) for _, payload in read(encode([part, part]))) == 2


def test_a_delimited_request_whose_length_is_the_tag_of_a_message_is_not_taken_for_one_message() -> None:
    records = [{"severity_number": 9, "dropped_attributes_count": 1}]
    block: Any = {"scope_logs": [{"log_records": records}]}
    shortest = ExportLogsServiceRequest(resource_logs=[block])
    assert shortest.ByteSize() == 0x0A
    assert merged(Signal.LOGS, (part for _, part in read(as_delimited([shortest])))) == shortest


def test_requests_stay_within_both_bounds_and_keep_every_span_with_its_resource_and_scope() -> None:
    big = {"attributes": [{"key": "prompt", "value": {"string_value": "x" * 10_000}}]}
    parts = [
        request(Signal.TRACES, [span(number, **big) for number in range(1, 400)], "large"),
        request(Signal.TRACES, [span(number) for number in range(400, 2_000)], "many"),
    ]
    found = read(as_delimited(parts), batch_spans=500)
    numbers: list[int] = []
    for _, payload in found:
        assert len(payload) <= limits.IMPORT_BATCH_BYTES
        whole: Any = merged(Signal.TRACES, [payload])
        assert sum(len(scope.spans) for block in whole.resource_spans for scope in block.scope_spans) <= 500
        for block in whole.resource_spans:
            assert block.resource.attributes[0].key == "service.name"
            assert block.schema_url == "resource/1"
            assert [(scope.scope.name, scope.schema_url) for scope in block.scope_spans] == [("tests", "scope/1")]
            numbers += [int.from_bytes(each.span_id) for scope in block.scope_spans for each in scope.spans]
    assert numbers == list(range(1, 2_000))


def test_a_span_larger_than_a_batch_travels_alone() -> None:
    huge = {"attributes": [{"key": "k", "value": {"string_value": "x" * 2 * limits.IMPORT_BATCH_BYTES}}]}
    parts = [request(Signal.TRACES, [span(1), span(2, **huge), span(3)])]
    assert [len(merged_spans(payload)) for _, payload in read(as_delimited(parts))] == [1, 1, 1]


@pytest.mark.parametrize("encode", [as_one_message, as_delimited, as_json_lines, as_json_array])
def test_a_large_file_is_read_as_its_requests_are_taken_so_that_memory_stays_bounded(
    encode: Callable[[list[Request]], bytes],
) -> None:
    data = encode([request(Signal.TRACES, [span(each, name="x" * 1_000)]) for each in range(1, 4_000)])
    source = io.BytesIO(data)
    reading = read_requests(source, batch_spans=100)
    _, first = next(reading)
    assert len(merged_spans(first)) == 100
    assert source.tell() < len(data) / 4
    assert sum(len(merged_spans(payload)) for _, payload in reading) == 3_999 - 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"secret text", "expected OTLP JSON"),
        (b"\xbc", "expected OTLP JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "expected OTLP JSON"),
        (b"\x1f\x8bsecret", "gzip data is damaged"),
        (gzip.compress(b'{"data":[]}' * 99)[:-9], "gzip data is damaged"),
        (b'{"secret": 1}', "JSON, but neither OTLP nor Jaeger"),
        (b'[{"secret": 1}]', "JSON, but neither OTLP nor Jaeger"),
        (b'{"data": ["secret"]}', "entry 1: expected a trace"),
        (b'{"data": [{"spans": [{}], "processes": {}}]}', "entry 1: spans[0].processID: expected the name"),
        (
            b'{"resourceSpans": [{}, {"scopeSpans": 1}]}',
            "entry 2: resourceSpans[0].scopeSpans: expected an array",
        ),
        (b'{"resourceSpans": [', "not valid JSON"),
        (b'{"resourceSpans": []} secret', "not valid JSON: expected { or [ at character 22"),
        (b'{"resourceSpans": [{"schemaUrl": "\xff"}]}', "it is not UTF-8"),
        (b'{"a":' + b"[" * 100_000, "nest too deeply"),
        (as_delimited(requests(Signal.TRACES))[:-5], "after message 2: the file stops in the middle"),
        (as_one_message(requests(Signal.TRACES)) + b"\x08\x01", "after message 3: the next field is not"),
        (as_collector_frames(requests(Signal.TRACES)) + b"\xff" * 9, "after message 3: a message is larger"),
    ],
)
def test_a_file_that_is_none_of_the_formats_is_refused_by_name_without_its_content(
    tmp_path: Path, data: bytes, message: str
) -> None:
    path = tmp_path / "dump.bin"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        list(read_requests(path))
    assert str(caught.value).startswith("dump.bin: ")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("data", [b'{"data":[],"total":0}', b'{"resourceSpans":[]}', b'{"resourceLogs":null}'])
def test_an_export_of_nothing_is_no_error(data: bytes) -> None:
    assert read(data) == []


def test_one_json_value_larger_than_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMPORT_ITEM_BYTES_MAX", 200_000)
    with pytest.raises(FormatError, match="one value is larger than 200000 bytes"):
        read(b'{"resourceSpans":[{"schemaUrl":"' + b"x" * 500_000 + b'"}]}')


def test_the_train_ticket_recording_becomes_otlp_row_for_row() -> None:
    everything = nezha.files(recorded(nezha.DATA_SET))
    chosen = nezha.Files(everything.traces[:1], everything.logs[:1], everything.metrics[:1])
    counts = nezha.count(chosen)
    parts = list(nezha.requests(chosen))
    assert max(len(payload) for _, payload in parts) <= limits.IMPORT_BATCH_BYTES
    spans = [each for signal, payload in parts if signal is Signal.TRACES for each in merged_spans(payload)]
    logs: Any = merged(Signal.LOGS, (payload for signal, payload in parts if signal is Signal.LOGS))
    metrics: Any = merged(Signal.METRICS, (payload for signal, payload in parts if signal is Signal.METRICS))
    records = [each for block in logs.resource_logs for each in block.scope_logs[0].log_records]
    points = [
        point
        for block in metrics.resource_metrics
        for metric in block.scope_metrics[0].metrics
        for point in metric.gauge.data_points
    ]
    assert (len(spans), len(records), len(points)) == (counts.spans, counts.logs, counts.points)
    assert len({(each.trace_id, each.span_id) for each in spans}) == counts.distinct_spans
    assert len({each.trace_id for each in spans}) == counts.traces
    assert min(counts.spans, counts.logs, counts.points) > 1_000
