"""A real gRPC server for the command line's tests: its answers are what a test puts in."""

# Generated servicers have no other types for requests. Method names are the contract's.
# ruff: noqa: N802

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2 as otlp
from typer.testing import CliRunner, Result

from agent_tracer.server.cli.root import build
from agent_tracer.server.limits import PAGE_SIZE_MAX
from agent_tracer.v1 import (
    ace_pb2,
    ace_pb2_grpc,
    atlas_pb2,
    atlas_pb2_grpc,
    correlation_pb2,
    correlation_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

START = 1_790_000_000


def otlp_request(*names: str) -> trace_service_pb2.ExportTraceServiceRequest:
    spans = [
        otlp.Span(
            trace_id=bytes(15) + b"\x07",
            span_id=(index + 1).to_bytes(8, "big"),
            name=name,
            start_time_unix_nano=START * 10**9,
            end_time_unix_nano=START * 10**9 + 10**6,
        )
        for index, name in enumerate(names)
    ]
    return trace_service_pb2.ExportTraceServiceRequest(
        resource_spans=[otlp.ResourceSpans(scope_spans=[otlp.ScopeSpans(spans=spans)])]
    )


def refusal(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def error_info(reason: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain="agent-tracer")


def retry_info(milliseconds: int) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(milliseconds)
    return info


async def abort(context: Context, status: status_pb2.Status) -> None:
    rpc = rpc_status.to_status(status)
    await context.abort(rpc.code, rpc.details, rpc.trailing_metadata)


class Traces(trace_pb2_grpc.TraceServiceServicer):
    """Answers from what a test puts in; remembers the requests."""

    def __init__(self) -> None:
        self.traces: list[trace_pb2.Trace] = []
        self.spans: list[trace_pb2.Span] = []
        self.agents: list[trace_pb2.Agent] = []
        self.rows: list[trace_pb2.AggregateRow] = []
        self.requests: list[Any] = []
        self.refusals: list[status_pb2.Status] = []
        self.watched = threading.Event()

    async def _begin(self, request: Any, context: Context) -> None:
        self.requests.append(request)
        if self.refusals:
            await abort(context, self.refusals.pop(0))

    async def ListTraces(self, request: Any, context: Context) -> trace_pb2.ListTracesResponse:
        await self._begin(request, context)
        first = int(request.page_token or 0)
        last = first + min(request.page_size, PAGE_SIZE_MAX)
        more = str(last) if last < len(self.traces) else ""
        return trace_pb2.ListTracesResponse(traces=self.traces[first:last], next_page_token=more)

    async def GetTrace(self, request: Any, context: Context) -> trace_pb2.Trace:
        await self._begin(request, context)
        found = trace_pb2.Trace()
        known = {stored.trace_id: stored for stored in self.traces}
        found.CopyFrom(known.get(request.trace_id) or trace(request.trace_id))
        found.spans.extend(self.spans[:1000])
        return found

    async def ListSpans(self, request: Any, context: Context) -> trace_pb2.ListSpansResponse:
        await self._begin(request, context)
        first = int(request.page_token or 0)
        last = first + request.page_size
        more = str(last) if last < len(self.spans) else ""
        return trace_pb2.ListSpansResponse(spans=self.spans[first:last], next_page_token=more)

    async def WatchTraces(self, request: Any, context: Context) -> AsyncIterator[trace_pb2.Trace]:
        await self._begin(request, context)
        for trace in self.traces:
            yield trace
        self.watched.set()
        if request.agent_id == "endless":
            await asyncio.Event().wait()

    async def AggregateTraces(self, request: Any, context: Context) -> trace_pb2.AggregateTracesResponse:
        await self._begin(request, context)
        return trace_pb2.AggregateTracesResponse(rows=self.rows)

    async def DeleteTrace(self, request: Any, context: Context) -> empty_pb2.Empty:
        await self._begin(request, context)
        return empty_pb2.Empty()

    async def ListAgents(self, request: Any, context: Context) -> trace_pb2.ListAgentsResponse:
        await self._begin(request, context)
        return trace_pb2.ListAgentsResponse(agents=self.agents)

    async def CreateTrace(self, request: Any, context: Context) -> trace_pb2.Trace:
        await self._begin(request, context)
        return trace_pb2.Trace()

    async def CreateEvaluation(self, request: Any, context: Context) -> trace_pb2.Evaluation:
        await self._begin(request, context)
        return trace_pb2.Evaluation()

    async def ExportTraces(self, request: Any, context: Context) -> AsyncIterator[trace_pb2.ExportTracesResponse]:
        await self._begin(request, context)
        for names in (("plan", "search"), ("write",)):
            yield trace_pb2.ExportTracesResponse(otlp=otlp_request(*names).SerializeToString())


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes OTLP; refuses what a test says first."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.refusals: list[status_pb2.Status] = []
        self.rejected = 0

    async def Export(self, request: Any, context: Context) -> trace_service_pb2.ExportTraceServiceResponse:
        if self.refusals:
            await abort(context, self.refusals.pop(0))
        self.names += [s.name for r in request.resource_spans for c in r.scope_spans for s in c.spans]
        answer = trace_service_pb2.ExportTraceServiceResponse()
        if self.rejected:
            answer.partial_success.rejected_spans = self.rejected
            answer.partial_success.error_message = "span_id must be 8 bytes"
        return answer


class Analyses:
    """Gives each method's answer as a test puts it in; remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[type[Message], Message] = {}
        self.requests: list[Any] = []
        self.refusals: list[status_pb2.Status] = []

    def put(self, *answers: Message) -> None:
        self.answers |= {type(answer): answer for answer in answers}

    async def give(self, kind: type[Message], request: Any, context: Context) -> Any:
        self.requests.append(request)
        if self.refusals:
            await abort(context, self.refusals.pop(0))
        return self.answers.get(kind) or kind()


class Ace(Analyses, ace_pb2_grpc.AceServiceServicer):
    async def ScoreAgent(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.AgentScore, request, context)

    async def ListScores(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.ListScoresResponse, request, context)

    async def CreateBenchmark(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.Benchmark, request, context)

    async def GetBenchmark(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.Benchmark, request, context)

    async def ListBenchmarks(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.ListBenchmarksResponse, request, context)

    async def CompareVersions(self, request: Any, context: Context) -> Any:
        return await self.give(ace_pb2.VersionComparison, request, context)


class Atlas(Analyses, atlas_pb2_grpc.AtlasServiceServicer):
    async def AnalyzeLearning(self, request: Any, context: Context) -> Any:
        return await self.give(atlas_pb2.LearningAnalysis, request, context)

    async def OptimizeWorkflow(self, request: Any, context: Context) -> Any:
        return await self.give(atlas_pb2.WorkflowOptimization, request, context)

    async def GetCriticalPath(self, request: Any, context: Context) -> Any:
        return await self.give(atlas_pb2.CriticalPath, request, context)

    async def FindSimilarTraces(self, request: Any, context: Context) -> Any:
        return await self.give(atlas_pb2.FindSimilarTracesResponse, request, context)


class Correlation(Analyses, correlation_pb2_grpc.CorrelationServiceServicer):
    async def FindCorrelations(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.Correlations, request, context)

    async def AnalyzeRootCause(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.RootCauseAnalysis, request, context)

    async def AttributeFailure(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.FailureAttribution, request, context)

    async def ListFailureGroups(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.ListFailureGroupsResponse, request, context)

    async def ReceiveAlerts(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.ReceiveAlertsResponse, request, context)

    async def GetServiceGraph(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.ServiceGraph, request, context)

    async def CreateIncident(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.Incident, request, context)

    async def GetIncident(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.Incident, request, context)

    async def ListIncidents(self, request: Any, context: Context) -> Any:
        return await self.give(correlation_pb2.ListIncidentsResponse, request, context)


class Server:
    def __init__(self) -> None:
        self.traces = Traces()
        self.ace = Ace()
        self.atlas = Atlas()
        self.correlation = Correlation()
        self.collector = Collector()
        self.port = 0

    async def serve(self, ready: "Future[asyncio.Event]") -> None:
        server = grpc.aio.server()
        trace_pb2_grpc.add_TraceServiceServicer_to_server(self.traces, server)
        ace_pb2_grpc.add_AceServiceServicer_to_server(self.ace, server)
        atlas_pb2_grpc.add_AtlasServiceServicer_to_server(self.atlas, server)
        correlation_pb2_grpc.add_CorrelationServiceServicer_to_server(self.correlation, server)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self.collector, server)  # type: ignore[no-untyped-call]
        self.port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop = asyncio.Event()
        ready.set_result(stop)
        await stop.wait()
        await server.stop(grace=None)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def serving() -> Iterator[Server]:
    """The server in a thread of its own, so that the command runs as it does for people: without a loop."""
    made = Server()
    loop = asyncio.new_event_loop()
    ready: Future[asyncio.Event] = Future()
    thread = threading.Thread(target=loop.run_until_complete, args=(made.serve(ready),))
    thread.start()
    stop = ready.result(timeout=60)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def run(server: Server, *arguments: str, stdin: str | None = None) -> Result:
    """The command in this process, against the server."""
    return CliRunner().invoke(build(), list(arguments), env={"AGENT_TRACER_GRPC_URL": server.endpoint}, input=stdin)


def trace(trace_id: str, **fields: Any) -> trace_pb2.Trace:
    made = trace_pb2.Trace(
        trace_id=trace_id,
        agent_id=fields.pop("agent_id", "planner"),
        operation=fields.pop("operation", "plan"),
        status=fields.pop("status", "success"),
        duration=fields.pop("duration", 1250),
        **fields,
    )
    made.start_time.seconds = START
    return made
