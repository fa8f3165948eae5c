"""A server that is not at its limit: idle, a trickle, and half of its highest rate."""

import time
import uuid
from typing import Any, Final, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.benchmarks import contenders, ingest
from tests.benchmarks.contenders import AgentTracer
from tests.benchmarks.generator import METHOD
from tests.benchmarks.options import Options
from tests.benchmarks.processes import cpu_seconds, rss_bytes, settle
from tests.benchmarks.report import Report, Target, quantile
from tests.benchmarks.sending import prepared, send

_TRICKLE_RATE: Final = 10
_BATCH_SPANS: Final = 504
"""About what SDKs send at once (512), in whole traces."""
_PROBE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.01
_MIB: Final = 2**20


def idle(options: Options, report: Report) -> None:
    """Memory and CPU of a server without work, then CPU at a trickle of requests of one trace each."""
    memory, idle_share, trickle_share = [], [], []
    for _ in range(options.rounds):
        with contenders.fresh_folder(options.folder, "idle") as folder:
            server = AgentTracer(folder)
            with contenders.started(server):
                settle(server.pid, 30)
                memory.append(rss_bytes(server.pid) / _MIB)
                idle_share.append(_share_of_core(server.pid, options.seconds))
                trickle_share.append(_trickle(server, options.seconds * 1.5))
    report.add("memory, idle", "MiB", memory, Target(600))
    report.add("CPU, idle", "% core", idle_share, Target(1))
    report.add(f"CPU at {_TRICKLE_RATE} spans/s, one span a request", "% core", trickle_share, Target(10))


def _share_of_core(pid: int, seconds: float) -> float:
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds * 100


def _trickle(server: AgentTracer, seconds: float) -> float:
    spans = int(_TRICKLE_RATE * seconds)
    load = {"kind": "huge", "spans": spans, "batch": 1, "rate": _TRICKLE_RATE, "connections": 1}
    with prepared(server.target, seconds=seconds + 5, **load) as sender:
        before, began = cpu_seconds(server.pid), time.monotonic()
        sender.go()
        sender.result()
        return (cpu_seconds(server.pid) - before) / (time.monotonic() - began) * 100


def half_rate(options: Options, report: Report) -> None:
    """Time to the acknowledgement, and from there to the list, at half of the highest rate."""
    highest = options.rate or _highest_rate(options)
    rate = highest / 2
    acknowledged: dict[str, list[float]] = {"p50": [], "p99": []}
    listed: dict[str, list[float]] = {"p50": [], "p99": []}
    reached = []
    for number in range(options.rounds):
        with contenders.fresh_folder(options.folder, "half") as folder:
            server = AgentTracer(folder)
            with contenders.started(server):
                # Past the first commits, which are those of a cold engine.
                send(server.target, spans=20_000, seed=1000 + number)
                settle(server.pid, 20)
                latencies, fresh, got = _at_rate(server, rate, options.seconds, number + 1)
        reached.append(got)
        for name, values, into in (("ack", latencies, acknowledged), ("list", fresh, listed)):
            report.progress(f"{name}: {len(values)} samples")
            into["p50"].append(quantile(values, 0.5) * 1e3)
            into["p99"].append(quantile(values, 0.99) * 1e3)
    report.add("highest rate, measured just before", "/s", [highest])
    report.add("rate of what follows", "/s", reached)
    report.add("acknowledgement p50", "ms", acknowledged["p50"])
    report.add("acknowledgement p99", "ms", acknowledged["p99"], Target(50))
    report.add("acknowledged to listed p50", "ms", listed["p50"])
    report.add("acknowledged to listed p99", "ms", listed["p99"], Target(1000))


def _highest_rate(options: Options) -> float:
    return ingest.one_round(AgentTracer.name, options, max(100_000, options.spans // 2), seed=99).queryable_rate


def _at_rate(server: AgentTracer, rate: float, seconds: float, seed: int) -> tuple[list[float], list[float], float]:
    """Latencies of the load's requests, freshness of single traces sent beside it, the rate reached."""
    load = {"spans": int(rate * seconds), "batch": _BATCH_SPANS, "rate": rate, "inflight": 8, "seed": seed}
    with prepared(server.target, seconds=seconds * 2, **load) as sender, _Probe(server) as probe:
        sender.go()
        fresh = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fresh.append(probe.freshness())
            time.sleep(_PROBE_SECONDS)
        sent = sender.result()
    return sent.latencies, fresh, sent.acknowledged / (sent.ended - sent.began)


class _Probe:
    """Sends a trace in a session of its own and asks for that session until it is listed."""

    def __init__(self, server: AgentTracer) -> None:
        self._otlp = grpc.insecure_channel(server.target)
        self._api = grpc.insecure_channel(server.api_target)
        self._export: Any = self._otlp.unary_unary(METHOD)
        self._traces = TraceServiceStub(self._api)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._otlp.close()
        self._api.close()

    def freshness(self) -> float:
        """Seconds from the acknowledgement to the list."""
        session = uuid.uuid4().hex
        self._export(_probe_request(session), timeout=30)
        acknowledged = time.monotonic()
        wanted = trace_pb2.ListTracesRequest(session_id=session, period="1h")
        while not self._traces.ListTraces(wanted, timeout=30).traces:
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - acknowledged


def _probe_request(session: str) -> bytes:
    now_ns = time.time_ns()
    span = Span(
        trace_id=uuid.uuid4().bytes,
        span_id=uuid.uuid4().bytes[:8],
        name="probe",
        start_time_unix_nano=now_ns - 1_000_000,
        end_time_unix_nano=now_ns,
    )
    span.attributes.add(key="session.id").value.string_value = session
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    return request.SerializeToString()
