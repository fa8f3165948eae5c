"""What the Agent Mesh costs a call: grpc.aio over loopback, with and without it, call by call in turn."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from grpc import aio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from agent_tracer.client import mesh
from tests.benchmarks.options import Options
from tests.benchmarks.report import Report, Target

CALLS: Final = 2000
"""Pairs of calls a round: at some 0.3 ms a call a round takes about two seconds."""
WARM_UP: Final = 200
TARGET: Final = Target(60.0)
"""Microseconds a call, of both sides together."""
SERVICE: Final = "mesh.benchmark.Agent"
BARE: Final = {f"rpc.attribute.{number}": "of a call" for number in range(10)}
"""About as many as a span of the mesh has."""


class _Nowhere(SpanExporter):
    """Takes batches as an exporter does, without the cost of sending, which no call waits for."""

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class _PassClient(aio.UnaryUnaryClientInterceptor):
    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        _bare_span(self._tracer)
        return await continuation(client_call_details, request)


class _PassServer(aio.ServerInterceptor):
    def __init__(self, tracer: Tracer | None) -> None:
        self._tracer = tracer

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        _bare_span(self._tracer)
        return await continuation(handler_call_details)


def _bare_span(tracer: Tracer | None) -> None:
    if tracer is not None:
        tracer.start_span("call", attributes=BARE).end()


@dataclass(frozen=True)
class Side:
    """Which ends of a call are traced, and whether the spans go to a batch processor or nowhere.

    `passes`: interceptors that do nothing, instead, which is what grpc.aio takes for having any; with `bare`, each makes
    a span of the SDK's with as many attributes as the mesh's, and neither headers nor agents.
    """

    name: str
    client: bool
    server: bool
    batch: bool = True
    passes: bool = False
    bare: bool = False

    def interceptors(self, provider: TracerProvider) -> tuple[list[Any], list[Any]]:
        """The server's and the client's."""
        if self.passes:
            tracer = provider.get_tracer("bare") if self.bare else None
            return [_PassServer(tracer)], [_PassClient(tracer)]
        server = [mesh.aio_server_interceptor("writer", tracer_provider=provider)] if self.server else []
        return server, mesh.aio_client_interceptors("planner", tracer_provider=provider) if self.client else []


SIDES: Final = (
    Side("both sides, batch", client=True, server=True),
    Side("both sides, no exporter", client=True, server=True, batch=False),
    Side("client alone, batch", client=True, server=False),
    Side("server alone, batch", client=False, server=True),
    Side("interceptors that do nothing", client=False, server=False, passes=True),
    Side("two bare spans of the SDK, batch", client=False, server=False, passes=True, bare=True),
)


async def _echo(request: bytes, _: Any) -> bytes:
    return request


def measure(options: Options, report: Report) -> None:
    """Medians of the differences of paired calls, a value a round: of the time, and of the process's CPU."""
    for side in SIDES:
        found = [asyncio.run(_round(side)) for _ in range(options.rounds)]
        target = TARGET if side.client and side.server else None
        report.add(f"mesh: time a call, {side.name}", "us", [time.median for time, _ in found], target)
        report.add(f"mesh: its middle half spans, {side.name}", "us", [time.spread for time, _ in found])
        report.add(f"mesh: CPU a call, {side.name}", "us", [cpu.median for _, cpu in found])


@dataclass(frozen=True)
class Added:
    """What tracing adds to a call, in microseconds: the median, and how far apart the quartiles are."""

    median: float
    spread: float


async def _round(side: Side) -> tuple[Added, Added]:
    """Time and CPU."""
    provider = TracerProvider()
    if side.batch:
        provider.add_span_processor(BatchSpanProcessor(_Nowhere()))
    server, client = side.interceptors(provider)
    plain, traced = await _serve([]), await _serve(server)
    try:
        async with (
            aio.insecure_channel(f"127.0.0.1:{plain[1]}") as without,
            aio.insecure_channel(f"127.0.0.1:{traced[1]}", interceptors=client) as with_mesh,
        ):
            return await _compare(without, with_mesh)
    finally:
        await asyncio.gather(plain[0].stop(None), traced[0].stop(None))
        provider.shutdown()


async def _serve(interceptors: list[Any]) -> tuple[Any, int]:
    server = aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
    handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(_echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def _compare(without: Any, with_mesh: Any) -> tuple[Added, Added]:
    methods = [channel.unary_unary(f"/{SERVICE}/Echo") for channel in (without, with_mesh)]
    message = b"x" * 100
    for _ in range(WARM_UP):
        for method in methods:
            await method(message)
    differences: tuple[list[float], list[float]] = ([], [])
    for number in range(CALLS):
        taken = [(0.0, 0.0), (0.0, 0.0)]
        for which in (0, 1) if number % 2 else (1, 0):
            begun, cpu = time.perf_counter(), time.process_time()
            await methods[which](message)
            taken[which] = (time.perf_counter() - begun, time.process_time() - cpu)
        for column, of_both in zip(differences, zip(*taken, strict=True), strict=True):
            column.append((of_both[1] - of_both[0]) * 1e6)
    quarters = [statistics.quantiles(column, n=4) for column in differences]
    seconds, cpu_seconds = [Added(middle, high - low) for low, middle, high in quarters]
    return seconds, cpu_seconds
