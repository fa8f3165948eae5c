"""The started program that evaluations send their data to and ask."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import grpc
import httpx
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub as OtlpStub
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.domain.signals import Signal
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.ace_pb2_grpc import AceServiceStub
from agent_tracer.v1.atlas_pb2_grpc import AtlasServiceStub
from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.e2e.otlp import spans_request
from tests.fixtures.program import Program, running_program

CALL_SECONDS: Final = 60
BATCH_SPANS: Final = 2_000
"""Spans of one request: about what a collector sends."""

CALLS_AT_ONCE: Final = 4
SETTLE_SECONDS_MAX: Final = 180

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Product:
    """One server with nothing in it at first. Answers come by gRPC."""

    def __init__(self, program: Program, channel: grpc.Channel, otlp: grpc.Channel) -> None:
        self.program = program
        self.ace = AceServiceStub(channel)
        self.atlas = AtlasServiceStub(channel)
        self.traces = TraceServiceStub(channel)
        self.correlation = CorrelationServiceStub(channel)
        self._otlp = OtlpStub(otlp)  # type: ignore[no-untyped-call]
        self._sent = 0

    def send(self, spans: Iterable[Span]) -> None:
        """By OTLP gRPC; returns once all of it is counted."""
        left = iter(spans)
        while batch := list(islice(left, BATCH_SPANS)):
            self._otlp.Export(spans_request(*batch, service="evaluation"), timeout=CALL_SECONDS)
            self._sent += sum(not span.parent_span_id for span in batch)
        self._counted()

    def post(self, request: ExportTraceServiceRequest) -> None:
        """By OTLP HTTP; what is read trace by trace needs no counting."""
        url = f"http://127.0.0.1:{self.program.otlp_http}/v1/traces"
        headers = {"content-type": "application/x-protobuf"}
        with httpx.Client(trust_env=False, timeout=CALL_SECONDS) as client:
            client.post(url, content=request.SerializeToString(), headers=headers).raise_for_status()

    def export(self, requests: Iterable[tuple[Signal, bytes]]) -> None:
        """Serialised export requests of any signal, by OTLP HTTP."""
        headers = {"content-type": "application/x-protobuf"}
        with httpx.Client(trust_env=False, timeout=CALL_SECONDS) as client:
            for signal, content in requests:
                url = f"http://127.0.0.1:{self.program.otlp_http}/v1/{signal.name.lower()}"
                client.post(url, content=content, headers=headers).raise_for_status()

    def ask(self, call: Callable[[Asked], Answer], questions: Sequence[Asked]) -> list[Answer]:
        """The answers in the order of the questions, some asked at once."""
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            return list(pool.map(call, questions))

    def _counted(self) -> None:
        """Each look waits for the server's own counting for a while, so that none is needed in between."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        request = trace_pb2.AggregateTracesRequest(period="6000d")
        while (counted := _count(self.traces.AggregateTraces(request, timeout=CALL_SECONDS))) < self._sent:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{counted} of {self._sent} traces are counted after {SETTLE_SECONDS_MAX} s")


def _count(answer: trace_pb2.AggregateTracesResponse) -> int:
    return sum(row.count for row in answer.rows)


@contextmanager
def product(folder: Path) -> Iterator[Product]:
    """A server in a folder of its own, ended afterwards."""
    with (
        # What a killed server leaves may not go at the first try, which is no reason to lose what was measured.
        tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own,
        running_program(Path(own)) as program,
        connected(program) as it,
    ):
        yield it


@contextmanager
def connected(program: Program) -> Iterator[Product]:
    """A server that is started already."""
    options = [("grpc.max_receive_message_length", -1)]
    with (
        grpc.insecure_channel(program.target, options=options) as channel,
        grpc.insecure_channel(f"127.0.0.1:{program.otlp_grpc}") as otlp,
    ):
        yield Product(program, channel, otlp)


def timestamp(time_ns: int) -> Timestamp:
    """As requests carry times."""
    made = Timestamp()
    made.FromNanoseconds(time_ns)
    return made
