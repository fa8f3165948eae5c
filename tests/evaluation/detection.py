"""The detector, held against labelled series of machines: every value goes in as a span, and incidents come out.

Numenta Anomaly Benchmark (Lavin and Ahmad, ICMLA 2015): series of five minutes a value with the windows in which
something happened. A service is made of each, whose answers take as many milliseconds as the value says.
"""

import csv
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from agent_tracer.v1 import correlation_pb2, trace_pb2
from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
from tests.evaluation.options import Options
from tests.evaluation.product import BATCH_SPANS, CALL_SECONDS, SETTLE_SECONDS_MAX, Product, product
from tests.evaluation.rows import Row, share
from tests.fixtures.recorded import recorded

WEEK_S: Final = 7 * 86_400
FALSE_PER_WEEK_MAX: Final = 1.0
FOUND_LEAST: Final = 0.5
QUIET_SECONDS: Final = 45
"""Longer than the detector's pauses."""

_SPAN_MS_MAX: Final = 240_000
"""The longest that a span may be in order to be over before the next begins."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Unix seconds and values by time; `windows` in which something happened, from and to."""

    service: str
    times: Sequence[int]
    values: Sequence[float]
    windows: Sequence[tuple[int, int]]

    @property
    def normal_weeks(self) -> float:
        labelled = sum(end - start for start, end in self.windows)
        return (self.times[-1] - self.times[0] - labelled) / WEEK_S


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one series: incidents outside of its windows, and windows with an incident."""

    false: int
    found: int
    windows: int
    weeks: float


def series(root: Path) -> list[Labelled]:
    """All series below the folder, by name."""
    (labels,) = root.rglob("combined_windows.json")
    windows: dict[str, list[tuple[str, str]]] = json.loads(labels.read_text())
    return [_labelled(path, windows) for path in sorted(root.rglob("data/*/*.csv"))]


def spans_of(one: Labelled) -> Iterator[Span]:
    """A span a value, as long as it says in milliseconds; of large values a part, the same of each."""
    scale = min(1.0, _SPAN_MS_MAX / max(*one.values, 1.0))
    for number, (at, value) in enumerate(zip(one.times, one.values, strict=True)):
        key = hashlib.blake2b(f"{one.service}/{number}".encode(), digest_size=24).digest()
        start_ns = at * 10**9
        yield Span(
            trace_id=key[:16],
            span_id=key[16:],
            name="measure",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=start_ns + round(value * scale * 1e6),
        )


def requests_of(one: Labelled) -> Iterator[ExportTraceServiceRequest]:
    """In the order of time."""
    left = spans_of(one)
    while batch := list(islice(left, BATCH_SPANS)):
        group = ResourceSpans()
        group.resource.attributes.add(key="service.name").value.string_value = one.service
        group.scope_spans.add().spans.extend(batch)
        yield ExportTraceServiceRequest(resource_spans=[group])


def tally(one: Labelled, incidents: Sequence[tuple[int, int]]) -> Tally:
    """Of incidents of the series, from and to in Unix seconds."""
    false = sum(not any(_overlap(incident, window) for window in one.windows) for incident in incidents)
    found = sum(any(_overlap(incident, window) for incident in incidents) for window in one.windows)
    return Tally(false, found, len(one.windows), one.normal_weeks)


def rows_of(tallies: Sequence[Tally]) -> Iterator[Row]:
    """Of all series together, and of the worst one."""
    false, weeks = sum(one.false for one in tallies), sum(one.weeks for one in tallies)
    rate, worst = false / weeks, max(one.false / one.weeks for one in tallies)
    target = f"<= {FALSE_PER_WEEK_MAX:g}"
    name = "NAB: false incidents a service and week"
    yield Row(name, f"{rate:.2f}", target, rate <= FALSE_PER_WEEK_MAX, round(weeks))
    yield Row(f"{name}, worst series", f"{worst:.2f}", target, worst <= FALSE_PER_WEEK_MAX, len(tallies))
    found, windows = sum(one.found for one in tallies), sum(one.windows for one in tallies)
    yield share("NAB: labelled windows found", found, windows, least=FOUND_LEAST)


def evaluate(options: Options) -> Iterator[Row]:
    """Through a started server."""
    labelled = series(recorded("nab"))
    with product(options.folder) as server:
        for one in labelled:
            for request in requests_of(one):
                server.post(request)
        _wait_counted(server, sum(len(one.values) for one in labelled))
        with grpc.insecure_channel(server.program.target) as channel:
            stub = CorrelationServiceStub(channel)
            _wait_judged(stub)
            yield from rows_of([tally(one, _incidents(stub, one.service)) for one in labelled])


def _wait_counted(server: Product, spans: int) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    request = trace_pb2.AggregateTracesRequest(period="6000d")
    while sum(row.count for row in server.traces.AggregateTraces(request, timeout=CALL_SECONDS).rows) < spans:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {spans} traces are counted after {SETTLE_SECONDS_MAX} s")


def _wait_judged(stub: CorrelationServiceStub) -> None:
    """Until no more incidents come: imported history is judged in the background."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(1)
        now = len(_incidents(stub, ""))
        if now != count:
            count, since = now, time.monotonic()


def _incidents(stub: CorrelationServiceStub, service: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    token = ""
    while True:
        request = correlation_pb2.ListIncidentsRequest(service=service, page_size=100, page_token=token)
        page = stub.ListIncidents(request, timeout=CALL_SECONDS)
        found += [(one.start_time.seconds, one.end_time.seconds) for one in page.incidents]
        token = page.next_page_token
        if not token:
            return found


def _labelled(path: Path, windows: dict[str, list[tuple[str, str]]]) -> Labelled:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    its = windows.get(f"{path.parent.name}/{path.name}", [])
    return Labelled(
        path.stem,
        [_seconds(at) for at, _ in rows],
        [float(value) for _, value in rows],
        [(_seconds(start), _seconds(end)) for start, end in its],
    )


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and one[1] > other[0]
