"""`ace score | scores | benchmark | benchmarks | compare`: each one call of AceService."""

# Imports wait until a command needs them: `--help` must be quick.
# ruff: noqa: PLC0415

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_tracer.server.cli import options
from agent_tracer.server.cli.connection import ace_service
from agent_tracer.server.cli.console import console, show, show_json
from agent_tracer.server.cli.errors import CommandError, WrongUsageError
from agent_tracer.server.limits import CLI_CALL_SECONDS, PAGE_SIZE_MAX

if TYPE_CHECKING:
    from agent_tracer.v1 import ace_pb2

COUNT_MAX: Final = 2**31 - 1
"""What the API's counts hold."""

EXIT_CODES: Final = {"better": 0, "no_difference": 0, "mixed": 4, "worse": 4, "insufficient_data": 5}
"""Of `ace compare`, by verdict: 4 wherever something is proven worse, so that a gate stays shut until one looks."""

_TASK: Final = re.compile(r"(.+):([0-9]{1,9})")
_WEIGHTS: Final = 3

AgentId = Annotated[str, typer.Option("--agent-id", help="The agent.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=1, max=PAGE_SIZE_MAX, help="How many, newest first.")]


def score(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    agent_id: AgentId,
    period: Annotated[str, typer.Option("--period", help="15m, 24h, 30d, 4w.", show_default="24h")] = "",
    end_time: options.EndTime = "",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="Q,E,R",
            help="Of quality, efficiency and reliability; together 1.",
            show_default="0.4,0.3,0.3",
        ),
    ] = "",
    tasks_completed: Annotated[
        int | None, typer.Option("--tasks-completed", min=0, max=COUNT_MAX, help="Your own count.", show_default=False)
    ] = None,
    tasks_successful: Annotated[
        int | None, typer.Option("--tasks-successful", min=0, max=COUNT_MAX, help="Your own count.", show_default=False)
    ] = None,
    avg_duration: Annotated[
        float | None, typer.Option("--avg-duration", min=0, help="Milliseconds a task.", show_default=False)
    ] = None,
    coverage_achieved: Annotated[
        float | None, typer.Option("--coverage-achieved", min=0, max=100, help="Percent.", show_default=False)
    ] = None,
    tests_generated: Annotated[
        int | None, typer.Option("--tests-generated", min=0, max=COUNT_MAX, help="In all tasks.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Score an agent.

    Quality, efficiency, reliability and all three in one, from what was traced. Figures that you give yourself
    (--tasks-completed and those below it) take the place of the traced ones.
    """
    from agent_tracer.v1 import ace_pb2

    figures = {
        "tasks_completed": tasks_completed,
        "tasks_successful": tasks_successful,
        "avg_duration": avg_duration,
        "coverage_achieved": coverage_achieved,
        "tests_generated": tests_generated,
    }
    given = {name: value for name, value in figures.items() if value is not None}
    request = ace_pb2.ScoreAgentRequest(
        agent_id=agent_id,
        period=period,
        end_time=options.end_time(end_time),
        weights=_weights(weights) if weights else None,
        metrics=ace_pb2.AgentMetrics(**given) if given else None,  # type: ignore[arg-type]
    )
    with ace_service(endpoint) as ace:
        answer = ace.ScoreAgent(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.scores import print_score

    print_score(console(), answer)


def _weights(text: str) -> "ace_pb2.ScoringWeights":
    from agent_tracer.v1 import ace_pb2

    try:
        quality, efficiency, reliability = map(float, text.split(","))
    except ValueError:
        message = f"--weights {text!r} is not {_WEIGHTS} numbers with commas between"
        raise WrongUsageError(message, ["quality, efficiency, reliability: --weights 0.4,0.3,0.3"]) from None
    return ace_pb2.ScoringWeights(quality_weight=quality, efficiency_weight=efficiency, reliability_weight=reliability)


def list_scores(
    agent_id: options.AgentId = "",
    limit: Limit = 20,
    page_token: options.PageToken = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Earlier scores."""
    from agent_tracer.v1 import ace_pb2

    request = ace_pb2.ListScoresRequest(agent_id=agent_id, page_size=limit, page_token=page_token)
    with ace_service(endpoint) as ace:
        answer = ace.ListScores(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.scores:
        show("No scores.", stderr=True)
        return
    from agent_tracer.server.cli.scores import print_scores

    print_scores(console(), answer.scores)
    _tell_more(answer.next_page_token)


def _tell_more(page_token: str) -> None:
    if page_token:
        show(f"There are more: --limit N, or --page-token {page_token}", "dim", stderr=True)


def benchmark(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    agents: Annotated[
        list[str],
        typer.Option(
            "--agents",
            metavar="A,B,...",
            help="The agent asked about, then those it is ranked with.",
            show_default=False,
        ),
    ],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="TYPE:COUNT,...",
            help="Task types, each with how many of an agent's latest tasks count (none, or 0: all of the period).",
            show_default="all types",
        ),
    ] = None,
    period: Annotated[str, typer.Option("--period", help="15m, 24h, 30d, 4w.", show_default="30d")] = "",
    end_time: options.EndTime = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Rank agents on their recorded tasks, and keep it."""
    from agent_tracer.v1 import ace_pb2

    agent_id, *others = options.listed("--agents", agents)
    request = ace_pb2.CreateBenchmarkRequest(
        agent_id=agent_id,
        compare_against=others,
        tasks=[_task(part) for part in options.listed("--tasks", tasks or [])],
        period=period,
        end_time=options.end_time(end_time),
    )
    with ace_service(endpoint) as ace:
        answer = ace.CreateBenchmark(request, timeout=CLI_CALL_SECONDS)
    _show_benchmark(answer, as_json=as_json)


def _task(text: str) -> "ace_pb2.BenchmarkTask":
    from agent_tracer.v1 import ace_pb2

    if ":" not in text:
        return ace_pb2.BenchmarkTask(type=text)
    match = _TASK.fullmatch(text)
    if match is None:
        message = f"--tasks {text!r} is not TYPE:COUNT"
        raise WrongUsageError(message, ["such as --tasks review:50,search; a type with a colon needs its count: a:b:0"])
    return ace_pb2.BenchmarkTask(type=match[1], count=int(match[2]))


def _show_benchmark(answer: "ace_pb2.Benchmark", *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    from agent_tracer.server.cli.benchmarks import print_benchmark

    print_benchmark(console(), answer)


def list_benchmarks(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    benchmark_id: Annotated[str, typer.Option("--benchmark-id", help="This one, in full.", show_default=False)] = "",
    agent_id: Annotated[str, typer.Option("--agent-id", help="Only those asked of it.", show_default=False)] = "",
    limit: Limit = 20,
    page_token: options.PageToken = "",
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Earlier benchmarks, or one of them in full."""
    from agent_tracer.v1 import ace_pb2

    with ace_service(endpoint) as ace:
        if benchmark_id:
            one = ace.GetBenchmark(ace_pb2.GetBenchmarkRequest(benchmark_id=benchmark_id), timeout=CLI_CALL_SECONDS)
            _show_benchmark(one, as_json=as_json)
            return
        request = ace_pb2.ListBenchmarksRequest(agent_id=agent_id, page_size=limit, page_token=page_token)
        answer = ace.ListBenchmarks(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
        return
    if not answer.benchmarks:
        show("No benchmarks.", stderr=True)
        return
    from agent_tracer.server.cli.benchmarks import print_benchmarks

    print_benchmarks(console(), answer.benchmarks)
    _tell_more(answer.next_page_token)


def compare(  # noqa: PLR0913, PLR0917 - typer makes options of parameters
    agent_id: AgentId,
    base: Annotated[str, typer.Option("--base", help="The version there was.", show_default=False)],
    candidate: Annotated[str, typer.Option("--candidate", help="The version to judge.", show_default=False)],
    attribute: Annotated[
        str,
        typer.Option(
            "--attribute",
            help="What tells versions apart: model, prompt_version or any attribute of the task.",
            show_default="agent_version",
        ),
    ] = "",
    task_type: Annotated[str, typer.Option("--task-type", help="Only tasks of this type.", show_default=False)] = "",
    period: Annotated[str, typer.Option("--period", help="15m, 24h, 30d, 4w.", show_default="30d")] = "",
    end_time: options.EndTime = "",
    allow_mixed: Annotated[bool, typer.Option("--allow-mixed", help="Exit with 0 where the verdict is mixed.")] = False,
    as_json: options.AsJson = False,
    endpoint: options.Endpoint = None,
) -> None:
    """Tell whether a version is better than another.

    On recorded tasks. For gates: the exit code is the verdict.

    Exit code 0: better, or no difference. 4: worse, or mixed (better in one measure and worse in another; 0 with
    --allow-mixed). 5: too few tasks to tell. 1: refused. 2: wrong usage. 3: the server was not reached.
    """
    from agent_tracer.v1 import ace_pb2

    request = ace_pb2.CompareVersionsRequest(
        agent_id=agent_id,
        attribute=attribute,
        base=base,
        candidate=candidate,
        period=period,
        end_time=options.end_time(end_time),
        task_type=task_type,
    )
    with ace_service(endpoint) as ace:
        answer = ace.CompareVersions(request, timeout=CLI_CALL_SECONDS)
    if as_json:
        show_json(answer)
    else:
        from agent_tracer.server.cli.comparisons import print_comparison

        print_comparison(console(), answer)
    raise typer.Exit(_exit_code(answer.verdict, allow_mixed=allow_mixed))


def _exit_code(verdict: str, *, allow_mixed: bool) -> int:
    if verdict not in EXIT_CODES:
        raise CommandError("the server's verdict is none that this version knows", ["is the server a newer one?"])
    return 0 if allow_mixed and verdict == "mixed" else EXIT_CODES[verdict]
