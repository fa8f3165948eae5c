"""Recorded data of real systems: what went in is what is read back."""

import csv
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from agent_tracer.server.domain.otlp_json import REQUEST_TYPES
from agent_tracer.server.domain.signals import Signal
from agent_tracer.v1 import trace_pb2
from tests.e2e.stored import stored
from tests.e2e.talk import CALL_SECONDS, all_spans, all_traces, catch_up, stubs
from tests.fixtures import nezha
from tests.fixtures.program import Program, running_program
from tests.fixtures.recorded import recorded

MINUTES: Final = 5
METRIC_FILES: Final = 6
TREES_COMPARED: Final = 25

_SERVICES: Final[Mapping[Signal, Any]] = {
    Signal.TRACES: trace_service_pb2_grpc.TraceServiceStub,
    Signal.LOGS: logs_service_pb2_grpc.LogsServiceStub,
    Signal.METRICS: metrics_service_pb2_grpc.MetricsServiceStub,
}


@pytest.fixture(scope="module")
def chosen() -> nezha.Files:
    every = nezha.files(recorded(nezha.DATA_SET))
    part = every.minutes(MINUTES)
    return nezha.Files(part.traces, part.logs, every.metrics[:METRIC_FILES])


@pytest.fixture(scope="module")
def imported(chosen: nezha.Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program of its own, for its store is counted, which took all of the chosen files over OTLP."""
    with running_program(tmp_path_factory.mktemp("recorded")) as program:
        began = time.monotonic()
        with grpc.insecure_channel(f"127.0.0.1:{program.otlp_grpc}") as channel:
            services = {signal: made(channel) for signal, made in _SERVICES.items()}
            for signal, payload in nezha.requests(chosen):
                answer = services[signal].Export(REQUEST_TYPES[signal].FromString(payload), timeout=CALL_SECONDS)
                assert not answer.HasField("partial_success"), answer
        with stubs(program.target) as stub:
            catch_up(stub)
        print(f"imported in {time.monotonic() - began:.1f} s")
        yield program


@dataclass(frozen=True)
class Row:
    """A span as the recording has it."""

    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int


@pytest.fixture(scope="module")
def recording(chosen: nezha.Files) -> dict[str, set[Row]]:
    """Trace id -> its spans."""
    traces: dict[str, set[Row]] = defaultdict(set)
    for path in chosen.traces:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                traces[row["TraceID"]].add(
                    Row(
                        row["SpanID"],
                        "" if row["ParentID"] == "root" else row["ParentID"],
                        row["OperationName"],
                        nezha.service_of(row["PodName"]),
                        int(row["StartTimeUnixNano"]),
                        int(row["EndTimeUnixNano"]),
                    )
                )
    return traces


def test_every_recorded_trace_is_listed_with_its_figures(
    imported: Program, chosen: nezha.Files, recording: dict[str, set[Row]]
) -> None:
    with stubs(imported.target) as stub:
        listed = {trace.trace_id: trace for trace in all_traces(stub)}
    expected = nezha.count(chosen)
    assert expected.spans > expected.distinct_spans, "some minutes overlap"
    assert len(listed) == expected.traces
    assert sum(trace.span_count for trace in listed.values()) == expected.distinct_spans
    for trace_id, rows in recording.items():
        trace = listed[trace_id]
        start, end = min(row.start_ns for row in rows), max(row.end_ns for row in rows)
        assert trace.span_count == len({row.span_id for row in rows})
        assert (trace.start_time.ToNanoseconds(), trace.end_time.ToNanoseconds()) == (start, end)
        assert trace.duration == pytest.approx((end - start) / 1e6)
        assert sorted(trace.services) == sorted({row.service for row in rows})


def test_recorded_trees_and_durations_are_read_back(imported: Program, recording: dict[str, set[Row]]) -> None:
    largest = sorted(recording, key=lambda trace_id: len(recording[trace_id]))[-TREES_COMPARED:]
    with stubs(imported.target) as stub:
        for trace_id in largest:
            spans = all_spans(stub, trace_id, page_size=200)
            rows = {row.span_id: row for row in recording[trace_id]}
            assert {
                span.span_id: (span.parent_span_id, span.name, span.service, span.start_time.ToNanoseconds())
                for span in spans
            } == {r.span_id: (r.parent_id, r.name, r.service, r.start_ns) for r in rows.values()}
            assert {span.span_id: span.duration for span in spans} == pytest.approx(
                {r.span_id: (r.end_ns - r.start_ns) / 1e6 for r in rows.values()}
            )
            assert_depth_first(spans)


def assert_depth_first(spans: Iterable[trace_pb2.Span]) -> None:
    """Every span stands right below its parent or behind a sibling's whole subtree, one deeper than the parent."""
    above: list[str] = []
    for span in spans:
        del above[span.depth :]
        if span.parent_span_id and above:
            assert above[-1] == span.parent_span_id
        above.append(span.span_id)


def test_a_recorded_day_is_found_by_time_and_service(imported: Program, recording: dict[str, set[Row]]) -> None:
    begin = {trace_id: min(row.start_ns for row in rows) for trace_id, rows in recording.items()}
    middle = sorted(begin.values())[len(begin) // 2]
    services = {trace_id: {row.service for row in rows} for trace_id, rows in recording.items()}
    request = trace_pb2.ListTracesRequest(page_size=1000, service="ts-order-service")
    request.start_time.FromNanoseconds(middle)
    request.end_time.FromNanoseconds(max(begin.values()) + 1)
    with stubs(imported.target) as stub:
        found = [trace.trace_id for trace in stub.ListTraces(request).traces]
    wanted = [t for t in begin if begin[t] >= middle and "ts-order-service" in services[t]]
    assert wanted
    assert sorted(found) == sorted(wanted)
    assert found == sorted(found, key=lambda trace_id: begin[trace_id], reverse=True)


def test_recorded_logs_and_metrics_are_in_the_store(imported: Program, chosen: nezha.Files) -> None:
    """Last: it stops the program."""
    expected = nezha.count(chosen)
    assert imported.stop() == 0
    spans, logs, severities, points, sums, quarantined = stored(
        imported.folder / "data",
        "SELECT uniqExact(trace_id), uniqExact(trace_id, span_id) FROM spans",
        "SELECT count(), uniqExact(time, service, resource, trace_id, span_id, body, severity_text, attributes) FROM logs",
        "SELECT severity_text, count() FROM logs GROUP BY severity_text",
        "SELECT count(), uniqExact(metric) FROM metric_points",
        "SELECT service, metric, unit, count(), sum(double_value) FROM metric_points GROUP BY service, metric, unit",
        "SELECT count() FROM quarantine",
    )
    assert spans == [[expected.traces, expected.distinct_spans]]
    assert logs == [[expected.logs, expected.distinct_logs]]
    assert sum(count for _, count in severities) == expected.logs
    assert {severity for severity, _ in severities} <= {"INFO", "WARN", "ERROR"}
    assert points[0][0] == expected.points
    assert quarantined == [[0]]
    assert_same_sums(sums, chosen.metrics)


def assert_same_sums(stored_sums: list[list[Any]], files: Iterable[Path]) -> None:
    counted: Counter[str] = Counter()
    for path in files:
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                service = nezha.service_of(row["PodName"]) if row.get("PodName") else row["ServiceName"]
                for column in list(row)[3:]:
                    counted[service] += float(row[column])  # type: ignore[assignment]
    found: Counter[str] = Counter()
    for service, _, _, _, total in stored_sums:
        found[service] += total
    assert dict(found) == pytest.approx(dict(counted))


# Jaeger files of the CRISP critical path study. Their times begin in 1970, and all call their trace "A".


def crisp_spans(path: Path) -> dict[str, tuple[str, str, float]]:
    """Span id -> (parent id, name, milliseconds)."""
    source = [span for trace in json.loads(path.read_bytes())["data"] for span in trace["spans"]]
    return {
        span["spanID"].zfill(16).lower(): (
            span["references"][0]["spanID"].zfill(16).lower() if span["references"] else "",
            span["operationName"],
            span["duration"] / 1000,
        )
        for span in source
    }


@pytest.fixture(scope="module")
def crisp() -> list[Path]:
    paths = sorted(recorded("crisp-critical-path").glob("dev/test_cases/*.json"))
    assert paths
    return paths


def read_back(program: Program, trace_id: str) -> dict[str, tuple[str, str, object]]:
    with stubs(program.target) as stub:
        return {
            span.span_id: (span.parent_span_id, span.name, pytest.approx(span.duration))
            for span in all_spans(stub, trace_id)
        }


def test_times_of_1970_are_refused_with_a_hint_and_taken_when_shifted(program: Program, crisp: list[Path]) -> None:
    path = next(path for path in crisp if path.stem == "10")
    refused = program.run("traces", "import", str(path), check=False)
    assert refused.returncode == 1
    assert "before the year 2000" in refused.stderr
    assert "--shift-to now" in refused.stderr
    taken = program.run("traces", "import", "--shift-to", "2026-05-01T12:00:00.000001Z", str(path))
    assert "Accepted 4 spans of 1 file" in taken.stderr
    trace_id = "a".zfill(32)
    assert read_back(program, trace_id) == crisp_spans(path)
    with stubs(program.target) as stub:
        trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id))
    assert trace.end_time.ToJsonString() == "2026-05-01T12:00:00.000001Z"
    assert trace.start_time.ToJsonString() == "2026-05-01T11:59:59.999001Z"


def test_every_jaeger_file_keeps_spans_parents_and_durations(
    program: Program, crisp: list[Path], tmp_path: Path
) -> None:
    files, before = {}, time.time_ns()
    for number, path in enumerate(crisp, 1):
        trace_id = f"c{number:03}"
        files[trace_id.zfill(32)] = copy = tmp_path / path.name
        copy.write_text(path.read_text().replace('"traceID": "A"', f'"traceID": "{trace_id}"'))
    taken = program.run("traces", "import", "--shift-to", "now", *map(str, files.values()))
    assert f"of {len(crisp)} files" in taken.stderr
    for trace_id, path in files.items():
        assert read_back(program, trace_id) == crisp_spans(path), path.name
    with stubs(program.target) as stub:
        for trace_id in files:
            trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id))
            assert before <= trace.end_time.ToNanoseconds() <= time.time_ns()


@pytest.mark.parametrize(("argument", "told"), [("yesterday", "RFC 3339"), ("2026-13-01", "RFC 3339")])
def test_a_moment_that_is_none_is_told(program: Program, crisp: list[Path], argument: str, told: str) -> None:
    refused = program.run("traces", "import", "--shift-to", argument, str(crisp[0]), check=False)
    assert refused.returncode == 2
    assert told in refused.stderr


def test_standard_input_cannot_be_read_twice(program: Program) -> None:
    refused = program.run("traces", "import", "--shift-to", "now", "-", check=False, input_=b"{}")
    assert refused.returncode == 2
    assert "standard input" in refused.stderr
