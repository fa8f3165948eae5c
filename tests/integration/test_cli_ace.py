"""`ace ...` against a real gRPC server whose answers the test chooses."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from typer.testing import CliRunner, Result

from agent_tracer.server.cli.root import build, build_ace
from agent_tracer.v1 import ace_pb2
from tests.integration.cli_server import START, Server, error_info, refusal, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def score(**fields: Any) -> ace_pb2.AgentScore:
    made = ace_pb2.AgentScore(
        agent_id=fields.pop("agent_id", "planner"),
        period="24h",
        overall=0.812,
        reliability=0.9,
        efficiency=0.5,
        intervals={"overall": ace_pb2.Interval(lower=0.74, upper=0.88), "success_rate": ace_pb2.Interval(upper=1)},
        components=[
            ace_pb2.ScoreComponent(
                dimension="reliability",
                name="success_rate",
                value=0.95,
                weight=0.75,
                sample_size=1200,
                source="request",
            )
        ],
        weights=ace_pb2.ScoringWeights(quality_weight=0.4, efficiency_weight=0.3, reliability_weight=0.3),
        sample_size=1200,
        caveats=["no evaluation, coverage or tests: quality is absent"],
        score_id="score-1",
        **fields,
    )
    made.create_time.seconds = START
    return made


def standing(agent_id: str, rank: int, **fields: Any) -> ace_pb2.AgentBenchmark:
    interval = ace_pb2.Interval(lower=0.8, upper=0.95)
    repeated = [0.42, 0.2732] if fields.pop("repeated", False) else []
    task = ace_pb2.TaskScore(score=0.9, rank=rank, interval=interval, task_count=50, success_count=45, pass_k=repeated)
    return ace_pb2.AgentBenchmark(
        agent_id=agent_id,
        scores={"review": task},
        overall_score=1 - rank / 10,
        overall_rank=rank,
        rank_lower=1,
        rank_upper=2,
        duration_per_task=2500,
        **fields,
    )


def benchmark() -> ace_pb2.Benchmark:
    made = ace_pb2.Benchmark(
        benchmark_id="bench-1",
        agent_id="b",
        overall_rank=2,
        agents=[standing("a", 1, cost_per_task=0.0314), standing("b", 2, dominated=True)],
        period="30d",
        caveats=["no cost per task, for want of known prices on some task type: b"],
    )
    made.create_time.seconds = START
    return made


def comparison(verdict: str) -> ace_pb2.VersionComparison:
    measure = ace_pb2.MeasureComparison(
        measure="success_rate",
        base=0.7,
        candidate=0.76,
        difference=0.06,
        lower=-0.01,
        upper=0.13,
        p_value=0.0004,
        base_count=400,
        candidate_count=390,
        verdict="better",
    )
    slower = ace_pb2.MeasureComparison(
        measure="duration", base=1000, candidate=1250, difference=250, lower=100, upper=400, verdict="worse"
    )
    return ace_pb2.VersionComparison(
        agent_id="planner",
        base="1.0",
        candidate="1.1",
        verdict=verdict,
        measures=[measure, slower] if verdict else [],
        caveats=["durations and costs are geometric means of successful tasks"],
    )


def compare(server: Server, *arguments: str) -> Result:
    return run(server, "ace", "compare", "--agent-id=planner", "--base=1.0", "--candidate=1.1", *arguments)


def test_score_shows_each_dimension_with_its_interval_and_what_is_absent(server: Server) -> None:
    server.ace.put(score())
    result = run(server, "ace", "score", "--agent-id", "planner")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    overall = next(line for line in lines if line.startswith("overall"))
    assert overall.split()[1:5] == ["0.812", "0.740", "to", "0.880"]
    assert overall.endswith("·├─●┤···")
    assert next(line for line in lines if line.startswith("quality")).split() == ["quality", "absent", "0.4"]
    component = next(line for line in lines if line.startswith("success_rate"))
    assert component.split()[-3:] == ["75%", "1,200", "request"]
    assert "! no evaluation, coverage or tests: quality is absent" in lines
    assert "planner  24h  1,200 tasks" in lines
    assert "kept as score-1, 2026-09-21 14:13:20" in lines


def test_score_sends_the_period_and_nothing_that_was_not_given(server: Server) -> None:
    assert run(server, "ace", "score", "--agent-id=a").exit_code == 0
    arguments = [
        "--agent-id=a", "--period=7d", "--end-time=2026-09-21T14:13:20Z", "--weights=.5, .25,0.25", "--tasks-completed=9",
        "--tasks-successful=0", "--avg-duration=1.5", "--coverage-achieved=85", "--tests-generated=3",
    ]  # fmt: skip
    assert run(server, "ace", "score", *arguments).exit_code == 0
    full = ace_pb2.ScoreAgentRequest(
        agent_id="a",
        period="7d",
        weights=ace_pb2.ScoringWeights(quality_weight=0.5, efficiency_weight=0.25, reliability_weight=0.25),
        metrics=ace_pb2.AgentMetrics(
            tasks_completed=9, tasks_successful=0, avg_duration=1.5, coverage_achieved=85, tests_generated=3
        ),
    )
    full.end_time.seconds = START
    assert server.ace.requests == [ace_pb2.ScoreAgentRequest(agent_id="a"), full]


@pytest.mark.parametrize(
    "arguments",
    [
        ["score"],
        ["score", "--agent-id=a", "--weights=0.5,0.5"],
        ["score", "--agent-id=a", "--weights=a,b,c"],
        ["score", "--agent-id=a", "--end-time=yesterday"],
        ["score", "--agent-id=a", "--tasks-completed=-1"],
        ["score", "--agent-id=a", "--tasks-completed=2147483648"],
        ["scores", "--limit=0"],
        ["benchmark"],
        ["benchmark", "--agents=a,,b"],
        ["benchmark", "--agents="],
        ["benchmark", "--agents=a", "--tasks=review:many"],
        ["benchmark", "--agents=a", "--tasks=review:99999999999"],
        ["benchmark", "--agents=a", "--tasks=:5"],
        ["compare", "--agent-id=a", "--base=1"],
        ["compare", "--agent-id=a", "--base=1", "--candidate=2", "--end-time=now"],
    ],
)
def test_what_cannot_be_asked_is_wrong_usage_and_asks_nothing(server: Server, arguments: list[str]) -> None:
    result = run(server, "ace", *arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert server.ace.requests == []


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["score", "--agent-id=planner"], score()),
        (["scores"], ace_pb2.ListScoresResponse(scores=[score()], next_page_token="on")),  # noqa: S106 - a place
        (["scores"], ace_pb2.ListScoresResponse()),
        (["benchmark", "--agents=b,a"], benchmark()),
        (["benchmarks", "--benchmark-id=bench-1"], benchmark()),
        (["benchmarks"], ace_pb2.ListBenchmarksResponse(benchmarks=[benchmark()])),
        (["compare", "--agent-id=a", "--base=1", "--candidate=2"], comparison("better")),
    ],
)
def test_json_is_the_api_answer_as_one_document(server: Server, arguments: list[str], answer: Any) -> None:
    server.ace.put(answer)
    result = run(server, "ace", *arguments, "--json")
    assert result.exit_code == 0
    assert json_format.Parse(result.stdout, type(answer)()) == answer
    # Zero values are there too, as the REST API prints them; what is absent is not.
    if isinstance(answer, ace_pb2.AgentScore):
        assert "quality" not in json.loads(result.stdout)


def test_scores_are_a_table_and_of_one_agent_a_curve(server: Server) -> None:
    server.ace.put(ace_pb2.ListScoresResponse(scores=[score(), score()], next_page_token="on"))  # noqa: S106 - a place
    result = run(server, "ace", "scores", "--agent-id=planner", "--limit=2", "--page-token=from")
    assert result.stdout.count("0.740 to 0.880") == 2
    assert "score-1" in result.stdout
    assert "oldest to newest" in result.stdout
    assert "--page-token on" in result.stderr
    assert server.ace.requests == [
        ace_pb2.ListScoresRequest(agent_id="planner", page_size=2, page_token="from")  # noqa: S106 - a place
    ]
    server.ace.put(ace_pb2.ListScoresResponse(scores=[score(), score(agent_id="writer")]))
    assert "oldest to newest" not in run(server, "ace", "scores").stdout


def test_lists_without_anything_say_so(server: Server) -> None:
    assert "No scores." in run(server, "ace", "scores").stderr
    assert "No benchmarks." in run(server, "ace", "benchmarks").stderr


def test_benchmark_asks_for_the_first_agent_against_the_others(server: Server) -> None:
    server.ace.put(benchmark())
    result = run(
        server, "ace", "benchmark", "--agents=b,a", "--agents=c", "--tasks=review:50,search,a:b:0", "--period=7d"
    )
    assert result.exit_code == 0, result.stderr
    task = ace_pb2.BenchmarkTask
    assert server.ace.requests == [
        ace_pb2.CreateBenchmarkRequest(
            agent_id="b",
            compare_against=["a", "c"],
            tasks=[task(type="review", count=50), task(type="search"), task(type="a:b")],
            period="7d",
        )
    ]


def test_benchmark_shows_ranks_that_may_be_otherwise_types_costs_and_who_is_dominated(server: Server) -> None:
    server.ace.put(benchmark())
    for arguments in (["benchmark", "--agents=b,a"], ["benchmarks", "--benchmark-id=bench-1"]):
        shown = run(server, "ace", *arguments).stdout
        assert "b  rank 2 of 2  30d" in shown
        first, second = (
            next(line.split() for line in shown.splitlines() if line.startswith(f"   {n}")) for n in (1, 2)
        )
        assert first[:6] == ["1", "a", "0.900", "1", "to", "2"]
        assert first[7:] == ["$0.0314", "2.50", "s"]
        assert second[7:] == ["-", "2.50", "s", "dominated"]
        review = next(line for line in shown.splitlines() if line.startswith("review"))
        assert "80.0% to 95.0%" in review
        assert review.endswith("45/50")
        assert "! no cost per task" in shown
        assert "kept as bench-1, 2026-09-21 14:13:20" in shown


def test_pass_k_stands_beside_a_type_whose_tasks_were_repeated(server: Server) -> None:
    server.ace.put(ace_pb2.Benchmark(benchmark_id="x", agent_id="a", agents=[standing("a", 1, repeated=True)]))
    shown = run(server, "ace", "benchmark", "--agents=a").stdout
    assert "PASS^1 …" in shown
    assert "45/50  42.0% 27.3%\n" in shown
    server.ace.put(benchmark())
    assert "PASS^1" not in run(server, "ace", "benchmark", "--agents=b,a").stdout


def test_benchmarks_are_a_table_and_one_in_which_the_agent_has_no_task_is_too(server: Server) -> None:
    unranked = ace_pb2.Benchmark(benchmark_id="bench-2", agent_id="z", agents=[standing("a", 1)])
    server.ace.put(ace_pb2.ListBenchmarksResponse(benchmarks=[benchmark(), unranked]))
    shown = run(server, "ace", "benchmarks", "--agent-id=b", "--limit=3").stdout
    assert "2 of 2" in shown
    assert "not ranked" in shown
    assert server.ace.requests == [ace_pb2.ListBenchmarksRequest(agent_id="b", page_size=3)]


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [
        ("better", 0, "▲ better"),
        ("no_difference", 0, "= no difference"),
        ("worse", 4, "▼ worse"),
        ("mixed", 4, "◆ mixed"),
        ("insufficient_data", 5, "? insufficient data"),
    ],
)
def test_the_verdict_of_a_comparison_is_a_word_and_the_exit_code(
    server: Server, verdict: str, code: int, word: str
) -> None:
    server.ace.put(comparison(verdict))
    result = compare(server)
    assert result.exit_code == code
    assert word in result.stdout.splitlines()[0]
    assert compare(server, "--json").exit_code == code


def test_mixed_passes_where_it_is_allowed_and_worse_does_not(server: Server) -> None:
    server.ace.put(comparison("mixed"))
    assert compare(server, "--allow-mixed").exit_code == 0
    server.ace.put(comparison("worse"))
    assert compare(server, "--allow-mixed").exit_code == 4


def test_a_verdict_of_a_newer_server_is_told_and_passes_no_gate(server: Server) -> None:
    server.ace.put(comparison("slightly_better"))
    result = compare(server)
    assert result.exit_code == 1
    assert "newer" in result.stderr


def test_a_comparison_shows_each_measure_in_its_unit_around_zero(server: Server) -> None:
    server.ace.put(comparison("mixed"))
    result = compare(server, "--attribute=model", "--task-type=review", "--period=7d")
    success, duration = (
        next(line for line in result.stdout.splitlines() if line.startswith(name)) for name in ("success", "duration")
    )
    for told in ("70.0%", "76.0%", "+6.0 points", "-1.0 to +13.0 points", "<0.001", "400 → 390", "▲ better"):
        assert told in success
    assert success.index("├") < success.index("┊") < success.index("●") < success.index("┤")
    for told in ("1.00 s", "1.25 s", "+250 ms", "+100 to +400 ms", "▼ worse"):
        assert told in duration
    assert duration.index("┊") < duration.index("├")
    assert "! durations and costs" in result.stdout
    assert server.ace.requests == [
        ace_pb2.CompareVersionsRequest(
            agent_id="planner", base="1.0", candidate="1.1", attribute="model", task_type="review", period="7d"
        )
    ]


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_table_is_wider_than_the_terminal(server: Server, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    server.ace.put(score(), benchmark(), comparison("better"), ace_pb2.ListScoresResponse(scores=[score(), score()]))
    results = [run(server, "ace", *arguments) for arguments in (["score", "--agent-id=a"], ["benchmark", "--agents=a"])]
    for result in (*results, compare(server)):
        # The first line holds an id, which is left to the terminal to break.
        _, *shown = result.stdout.splitlines()
        assert shown
        assert [line for line in shown if len(line) > columns] == []
    assert max(map(len, run(server, "ace", "scores").stdout.splitlines())) <= columns


def test_names_that_would_steer_a_terminal_are_shown_as_text(server: Server) -> None:
    hostile = "\x1b[2J\u202eevil"
    server.ace.put(score(agent_id=hostile), comparison("better"))
    server.ace.answers[ace_pb2.VersionComparison].caveats.append(hostile)  # type: ignore[attr-defined]
    for result in (run(server, "ace", "score", "--agent-id=a"), compare(server)):
        assert "\\x1b[2J\\u202eevil" in result.stdout
        assert "\x1b" not in result.stdout


def test_a_refusal_exits_1_with_the_reason(server: Server) -> None:
    server.ace.refusals = [
        refusal(grpc.StatusCode.FAILED_PRECONDITION, "no task lies in the period", error_info("NOTHING_TO_SCORE"))
    ]
    result = run(server, "ace", "score", "--agent-id=a")
    assert result.exit_code == 1
    assert "FAILED_PRECONDITION: no task lies in the period" in result.stderr
    server.ace.refusals = [refusal(grpc.StatusCode.NOT_FOUND, "no agent 'a' is stored", error_info("AGENT_NOT_FOUND"))]
    assert compare(server).exit_code == 1


@pytest.mark.parametrize("arguments", [["scores"], ["compare", "--agent-id=a", "--base=1", "--candidate=2"]])
def test_nobody_there_exits_3(arguments: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(build(), ["ace", *arguments, "--endpoint", endpoint])
    assert result.exit_code == 3
    assert endpoint in result.stderr


def test_the_program_ace_has_the_same_commands_and_exit_codes(server: Server) -> None:
    server.ace.put(score(), comparison("worse"))
    environment = {"AGENT_TRACER_GRPC_URL": server.endpoint}
    scored = CliRunner().invoke(build_ace(), ["score", "--agent-id=planner"], env=environment)
    assert scored.exit_code == 0
    assert "0.812" in scored.stdout
    arguments = ["compare", "--agent-id=a", "--base=1", "--candidate=2"]
    assert CliRunner().invoke(build_ace(), arguments, env=environment).exit_code == 4


def test_the_exit_codes_stand_in_the_help() -> None:
    told = CliRunner().invoke(build(), ["ace", "compare", "--help"]).stdout
    assert all(f"{code}:" in " ".join(told.split()) for code in (0, 1, 2, 3, 4, 5))
    assert "3 the server was not reached" in " ".join(CliRunner().invoke(build(), ["atlas", "--help"]).stdout.split())
