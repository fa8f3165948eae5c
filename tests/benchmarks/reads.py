"""Reads of a store that holds a million spans of a week, by gRPC on a warm server."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc

from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.benchmarks import contenders
from tests.benchmarks.contenders import AgentTracer
from tests.benchmarks.generator import Sent
from tests.benchmarks.options import Options
from tests.benchmarks.processes import cpu_seconds, rss_bytes, settle, wait_until
from tests.benchmarks.report import Report, Target, quantile
from tests.benchmarks.sending import send

_WEEK_SECONDS: Final = 7 * 24 * 3600
_HUGE_SPANS: Final = 10_000
_PAGE: Final = 50
_WARM_CALLS: Final = 3
_CALL_SECONDS: Final = 60
_SHOWN_SECONDS_MAX: Final = 300
_LOAD_RATE_MIN: Final = 5_000
_MIB: Final = 2**20

Call = Callable[[TraceServiceStub], Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A question with a new parameter each time, so that no answer is remembered. `target` is its p95 in ms."""

    name: str
    calls: Iterator[Call]
    target: Target | None = None


def measure(options: Options, report: Report) -> None:
    """Load, then ask every question in turn, round after round."""
    with contenders.fresh_folder(options.folder, "reads") as folder:
        server = AgentTracer(folder)
        with contenders.started(server):
            sent, huge = _loaded(server, options.read_spans, report)
            with grpc.insecure_channel(server.api_target, options=[("grpc.max_receive_message_length", -1)]) as channel:
                stub = TraceServiceStub(channel)
                for query in _queries(sent, huge):
                    _ask(query, stub, server.pid, options, report)
            report.add(f"memory after the reads, {options.read_spans:,} spans", "MiB", [rss_bytes(server.pid) / _MIB])


def _loaded(server: AgentTracer, spans: int, report: Report) -> tuple[Sent, Sent]:
    began = time.monotonic()
    seconds = spans / _LOAD_RATE_MIN + 60
    sent = send(server.target, spans=spans, history_seconds=_WEEK_SECONDS, pool=48_000, seconds=seconds)
    huge = send(server.target, spans=_HUGE_SPANS, batch=1000, kind="huge", inflight=1, connections=1)
    wait_until(lambda: server.shows(sent) and server.shows(huge), _SHOWN_SECONDS_MAX)
    settle(server.pid)
    report.progress(f"{sent.acknowledged + huge.acknowledged:,} spans in {time.monotonic() - began:.0f} s")
    return sent, huge


class _Questions:
    """Calls without end, each with the next parameter."""

    def __init__(self, sent: Sent, huge: Sent) -> None:
        self._ids = itertools.cycle(sent.trace_ids)
        self._words = itertools.cycle(sent.words)
        self._numbers = itertools.count()
        self._huge = huge.last_trace_ids[-1]

    def trace(self) -> Iterator[Call]:
        return _calls("GetTrace", (trace_pb2.GetTraceRequest(trace_id=trace_id) for trace_id in self._ids))

    def huge_trace(self) -> Iterator[Call]:
        return _calls("GetTrace", itertools.repeat(trace_pb2.GetTraceRequest(trace_id=self._huge)))

    def huge_trace_page(self) -> Iterator[Call]:
        request = trace_pb2.ListSpansRequest(trace_id=self._huge, page_size=_PAGE)
        return _calls("ListSpans", itertools.repeat(request))

    def aggregate(self, *group_by: str) -> Iterator[Call]:
        request = trace_pb2.AggregateTracesRequest(group_by=group_by, period="24h")
        return _calls("AggregateTraces", itertools.repeat(request))

    def newest(self) -> Iterator[Call]:
        return _lists(lambda: trace_pb2.ListTracesRequest(page_size=_PAGE))

    def attribute(self, text: str) -> Iterator[Call]:
        """`text` with a place for a number under 500."""
        return _lists(
            lambda: trace_pb2.ListTracesRequest(page_size=_PAGE, attributes=[text.format(self._next(7, 500))])
        )

    def common_word(self) -> Iterator[Call]:
        return _lists(lambda: trace_pb2.ListTracesRequest(page_size=_PAGE, text="refund"))

    def rare_word(self) -> Iterator[Call]:
        def request() -> trace_pb2.ListTracesRequest:
            word = f"case{self._next(11, 900):06d}{next(self._words)}"
            return trace_pb2.ListTracesRequest(page_size=_PAGE, text=word)

        return _lists(request)

    def session(self) -> Iterator[Call]:
        def request() -> trace_pb2.ListTracesRequest:
            session = f"session-{self._next(3, 200):06d}-{next(self._words)}"
            return trace_pb2.ListTracesRequest(page_size=_PAGE, session_id=session)

        return _lists(request)

    def _next(self, step: int, count: int) -> int:
        return next(self._numbers) * step % count


def _calls(method: str, requests: Iterable[Any]) -> Iterator[Call]:
    return (partial(_unary, method, request) for request in requests)


def _lists(request: Callable[[], trace_pb2.ListTracesRequest]) -> Iterator[Call]:
    while True:
        yield partial(_page, request())


def _unary(method: str, request: Any, stub: TraceServiceStub) -> None:
    getattr(stub, method)(request, timeout=_CALL_SECONDS)


def _queries(sent: Sent, huge: Sent) -> list[Query]:
    ask = _Questions(sent, huge)
    return [
        Query("trace by id", ask.trace(), Target(50)),
        Query(f"list of the newest {_PAGE}", ask.newest(), Target(80)),
        Query("aggregate over 24 h, all", ask.aggregate(), Target(60)),
        Query("aggregate over 24 h by model", ask.aggregate("model"), Target(60)),
        Query("aggregate over 24 h by agent", ask.aggregate("agent_id"), Target(60)),
        Query("list, attribute of 1 in 500 traces", ask.attribute("user.id=user-{:04d}"), Target(150)),
        Query("list, attribute value that no span has", ask.attribute("app.missing=none-{}")),
        Query("list, word that one trace has", ask.rare_word(), Target(300)),
        Query("list, word that most traces have", ask.common_word(), Target(300)),
        Query("list, one session", ask.session()),
        Query(f"{_HUGE_SPANS:,}-span trace, first page of {_PAGE}", ask.huge_trace_page(), Target(300)),
        Query(f"{_HUGE_SPANS:,}-span trace, GetTrace (1,000 spans)", ask.huge_trace()),
    ]


def _page(request: trace_pb2.ListTracesRequest, stub: TraceServiceStub) -> None:
    """A full page, or all that there is: a step of a filtered list that finds few ends before the page is full."""
    found, token = 0, ""
    while found < request.page_size:
        request.page_token = token
        answer = stub.ListTraces(request, timeout=_CALL_SECONDS)
        found += len(answer.traces)
        token = answer.next_page_token
        if not token:
            return


def _ask(query: Query, stub: TraceServiceStub, pid: int, options: Options, report: Report) -> None:
    seconds: Mapping[str, list[float]] = defaultdict(list)
    try:
        for call in itertools.islice(query.calls, _WARM_CALLS):
            call(stub)
        for _ in range(options.rounds):
            before = cpu_seconds(pid)
            taken = [_timed(call, stub) for call in itertools.islice(query.calls, options.read_calls)]
            seconds["p50"].append(quantile(taken, 0.5) * 1e3)
            seconds["p95"].append(quantile(taken, 0.95) * 1e3)
            seconds["CPU"].append((cpu_seconds(pid) - before) / len(taken) * 1e3)
    except grpc.RpcError as error:
        report.note(f"{query.name}: {error.code().name} {error.details()}")
        return
    report.add(f"{query.name}, p50", "ms", seconds["p50"])
    report.add(f"{query.name}, p95", "ms", seconds["p95"], query.target)
    report.add(f"{query.name}, server CPU a call", "ms", seconds["CPU"])


def _timed(call: Call, stub: TraceServiceStub) -> float:
    began = time.perf_counter()
    call(stub)
    return time.perf_counter() - began
