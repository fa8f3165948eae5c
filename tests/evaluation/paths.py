"""CRISP's traces sent in: do the segments of critical paths add up to its exclusive times?"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_tracer.server.cli.formats import read_requests, shifted
from agent_tracer.v1 import atlas_pb2
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, product
from tests.evaluation.rows import Row, equal
from tests.evaluation.tasks import BASE_NS, new_trace_id
from tests.fixtures.recorded import recorded

MICROSECONDS_IN_MS: Final = 1_000


def crisp(options: Options) -> Iterator[Row]:
    """Every recorded case, as OTLP by HTTP."""
    paths = sorted(recorded("crisp-critical-path").glob("dev/test_cases/*.json"), key=lambda path: int(path.stem))
    right = 0
    with product(options.folder) as server:
        for path in paths:
            document = json.loads(path.read_text())
            trace_id, requests = otlp_of(document)
            for request in requests:
                server.post(request)
            answer = server.atlas.GetCriticalPath(
                atlas_pb2.GetCriticalPathRequest(trace_id=trace_id), timeout=CALL_SECONDS
            )
            right += exclusive_times(answer) == expected_times(document)
    name, all_of_them = "crisp: cases whose critical path is as published", f"{len(paths)} of {len(paths)}"
    yield equal(name, f"{right} of {len(paths)}", all_of_them, len(paths))


def otlp_of(document: Mapping[str, Any]) -> tuple[str, list[ExportTraceServiceRequest]]:
    """The trace under an id and at a time of its own: all cases are called A, and begin in 1970."""
    trace_id = new_trace_id().hex()
    (trace,) = document["data"]
    ids = {span["spanID"]: f"{number:x}" for number, span in enumerate(trace["spans"], start=1)}
    spans = [_renamed(span, trace_id, ids) for span in trace["spans"]]
    file = io.BytesIO(json.dumps({"data": [{**trace, "traceID": trace_id, "spans": spans}]}).encode())
    moved = shifted(read_requests(file), BASE_NS)
    return trace_id, [ExportTraceServiceRequest.FromString(payload) for _, payload in moved]


def _renamed(span: Mapping[str, Any], trace_id: str, ids: Mapping[str, str]) -> dict[str, Any]:
    references = [{**ref, "traceID": trace_id, "spanID": ids[ref["spanID"]]} for ref in span["references"]]
    return {**span, "traceID": trace_id, "spanID": ids[span["spanID"]], "references": references}


def expected_times(document: Mapping[str, Any]) -> dict[str, int]:
    """Microseconds by "[service] operation", those without any left out."""
    truth = document["testing"]
    times = truth[0] if isinstance(truth, list) else truth["opTimeExclusive"]
    return {name: time for name, time in times.items() if time}


def exclusive_times(path: atlas_pb2.CriticalPath) -> dict[str, int]:
    """The same of the answer."""
    times: Counter[str] = Counter()
    for segment in path.segments:
        times[f"[{segment.service}] {segment.name}"] += round(segment.duration * MICROSECONDS_IN_MS)
    return dict(times)
