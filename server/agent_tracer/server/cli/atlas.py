"""`atlas analyze | optimize | critical-path | similar`: each one call of AtlasService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

from typing import Annotated, Final

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import atlas_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.limits import CLI_CALL_SECONDS

SIMILAR_MAX: Final = 100
"""What the API gives at most."""


def analyze(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    agent_id: Annotated[str, typer.Option("--agent-id", help="The agent.", show_default=False)],
    period: Annotated[str, typer.Option("--period", help="15m, 24h, 30d, 4w.", show_default="30d")] = "",
    task_type: Annotated[str, typer.Option("--task-type", help="Only tasks of this type.", show_default=False)] = "",
    end_time: options.EndTime = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Tell whether an agent gets better.

    Its first tasks against its last ones, trends, changes of level with what else changed then, and what it used.
    """
    from agent_tracer.v1 import atlas_pb2

    request = atlas_pb2.AnalyzeLearningRequest(
        agent_id=agent_id, period=period, task_type=task_type, end_time=options.end_time(end_time)
    )
    with atlas_service(endpoint) as atlas:
        answer = atlas.AnalyzeLearning(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.learning import print_learning

    print_learning(console(), answer)


def optimize(
    workflow_id: Annotated[str, typer.Option("--workflow-id", help="The workflow.", show_default=False)],
    period: Annotated[str, typer.Option("--period", help="15m, 24h, 30d, 4w.", show_default="7d")] = "",
    end_time: options.EndTime = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Tell what would make a workflow faster.

    And by how much, replayed on its recorded traces; and where its time goes.
    """
    from agent_tracer.v1 import atlas_pb2

    request = atlas_pb2.OptimizeWorkflowRequest(
        workflow_id=workflow_id, period=period, end_time=options.end_time(end_time)
    )
    with atlas_service(endpoint) as atlas:
        answer = atlas.OptimizeWorkflow(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.workflows import print_optimization

    print_optimization(console(), answer)


def critical_path(
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    max_segments: Annotated[
        int, typer.Option("--max-segments", min=1, help="Segments shown, the longest; the rest is counted.")
    ] = 100,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Show the spans that a trace's duration is made of."""
    from agent_tracer.v1 import atlas_pb2

    request = atlas_pb2.GetCriticalPathRequest(trace_id=options.one_trace_id(trace_id, argument))
    with atlas_service(endpoint) as atlas:
        answer = atlas.GetCriticalPath(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.workflows import print_critical_path

    print_critical_path(console(), answer, max_segments)


def similar(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    argument: options.TraceIdArgument = None,
    trace_id: options.TraceIdOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=SIMILAR_MAX, help="How many, nearest first.")] = 10,
    status: options.Status = "",
    period: options.Period = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Find the traces that are most like one."""
    from agent_tracer.v1 import atlas_pb2

    request = atlas_pb2.FindSimilarTracesRequest(
        trace_id=options.one_trace_id(trace_id, argument), limit=limit, status=status, period=period
    )
    with atlas_service(endpoint) as atlas:
        answer = atlas.FindSimilarTraces(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.traces:
        show("No similar traces.", stderr=True)
        return
    from agent_tracer.server.cli.workflows import print_similar

    print_similar(console(), answer.traces)
