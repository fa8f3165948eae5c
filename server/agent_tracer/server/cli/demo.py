"""`demo`: three agents at work, then the run that failed as a tree."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import TYPE_CHECKING, Annotated

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import server_address, trace_service
from agent_tracer.server.cli.console import console, show
from agent_tracer.server.cli.errors import CommandError, WrongUsageError
from agent_tracer.server.cli.spans import read_nodes
from agent_tracer.server.cli.text import counted, plain
from agent_tracer.server.limits import CLI_CALL_SECONDS, DEMO_RUNS_MAX

if TYPE_CHECKING:
    from agent_tracer.server.demo.workflow import DemoResult
    from agent_tracer.v1 import trace_pb2
    from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub

_SPANS_DRAWN_MAX = 60
_FAILED = ("error", "timeout")


def demo(
    runs: Annotated[int, typer.Option("--runs", min=1, max=DEMO_RUNS_MAX, help="How many.")] = 5,
    endpoint: options.Endpoint = None,
) -> None:
    """Play three agents at work and show a trace.

    Real SDKs against a stand-in for the model: no keys, no network.
    """
    from agent_tracer.v1 import trace_pb2

    with trace_service(endpoint) as traces:
        # Nothing to play for where nobody listens.
        traces.ListTraces(trace_pb2.ListTracesRequest(page_size=1), timeout=CLI_CALL_SECONDS)
        result = _play(server_address(endpoint), runs)
        shown = _most_telling(traces, result)
        spans = read_nodes(traces, shown, _SPANS_DRAWN_MAX)
    from agent_tracer.server.cli.lists import print_trace

    out = console()
    out.print()
    print_trace(out, shown, spans, _SPANS_DRAWN_MAX)
    out.print()
    figures = {"run": runs, "span": result.spans, "model call": result.llm_calls, "error": result.errors}
    show(", ".join(counted(number, noun) for noun, number in figures.items()) + ". Next:")
    show(f"  agent-tracer traces list --session-id {plain(result.session_id)}")
    show("  agent-tracer traces aggregate --group-by model")
    show("  agent-tracer failures")
    show("  agent-tracer graph")


def _play(address: str, runs: int) -> "DemoResult":
    try:
        from agent_tracer.server.demo.telemetry import DemoDeliveryError
        from agent_tracer.server.demo.workflow import run_demo
    except ModuleNotFoundError as error:
        message = f"the demo drives real SDKs, and {error.name} is not installed"
        raise WrongUsageError(message, ["pip install '.[server,demo]' in a clone of the repository"]) from None
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    out = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("demo", total=runs)

        def report(line: str) -> None:
            progress.console.print(plain(line), soft_wrap=True)
            progress.advance(task)

        try:
            return run_demo(address, runs=runs, progress=report)
        except DemoDeliveryError as error:
            raise CommandError(str(error)) from None


def _most_telling(traces: "TraceServiceStub", result: "DemoResult") -> "trace_pb2.Trace":
    """The first run that failed, else the one with most errors, else the last."""
    from agent_tracer.v1 import trace_pb2

    found = [
        traces.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=CLI_CALL_SECONDS)
        for trace_id in result.trace_ids[:20]
    ]
    return max(found, key=lambda trace: (trace.status in _FAILED, trace.error_count))
