"""`atlas ...` against a real gRPC server whose answers the test chooses."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from agent_tracer.v1 import atlas_pb2
from tests.integration.cli_server import START, Server, error_info, refusal, run, serving

PROGRAM = str(Path(sys.executable).parent / "agent-tracer")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for name in ("AGENT_TRACER_GRPC_URL", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def window(duration: float, success: float, cost: float | None, start: int) -> atlas_pb2.TaskWindow:
    made = atlas_pb2.TaskWindow(avg_duration=duration, success_rate=success, task_count=33, avg_cost=cost)
    made.start_time.seconds, made.end_time.seconds = START + start, START + start + 3600
    return made


def learning(**fields: Any) -> atlas_pb2.LearningAnalysis:
    points = [
        atlas_pb2.LearningPoint(task_count=10, avg_duration=2500 - 50 * at, success_rate=at / 10) for at in range(8)
    ]
    points[2].avg_cost = 0.01
    points[7].avg_cost = 0.02
    step = atlas_pb2.ChangePoint(
        measure="duration", before=2500, after=1900, p_value=0.001, coincident_changes=["model gpt-5-mini"]
    )
    step.time.seconds = START
    return atlas_pb2.LearningAnalysis(
        agent_id="api-builder-001",
        period="30d",
        improvement_rate=0.15,
        tasks=atlas_pb2.TaskWindows(initial=window(2500, 0.8, None, 0), current=window(2100, 0.914, 0.0314, 7200)),
        insights=["The success rate went from 80.0 % to 91.4 %."],
        verdict="improving",
        duration_trend=atlas_pb2.Trend(
            slope_per_day=-12, slope_lower=-20, slope_upper=-4, p_value=0.0002, direction="down", sample_size=60
        ),
        success_trend=atlas_pb2.Trend(slope_per_day=0.004, slope_upper=0.01, p_value=0.03, direction="up"),
        curve=points,
        change_points=[step],
        resource_utilization=atlas_pb2.ResourceUtilization(
            llm_calls=1200,
            tool_calls=1,
            input_tokens=812_000,
            output_tokens=14_300,
            cost=3.4,
            busy_share=0.12,
            peak_concurrency=3,
            metrics={"process.cpu.utilization": 0.41},
        ),
        caveats=["Costs are those of the 30 of 80 tasks all of whose calls have a price."],
        **fields,
    )


def optimization() -> atlas_pb2.WorkflowOptimization:
    suggestion = atlas_pb2.Suggestion(
        change="fewer_retries",
        stage="planner/search",
        text="Make planner/search succeed at once: 9 of its 40 calls (22 %) failed and were tried again.",
        estimated_improvement=0.22,
        lower=0.18,
        upper=0.26,
        cost_change=-0.002,
    )
    return atlas_pb2.WorkflowOptimization(
        workflow_id="feature-development",
        period="7d",
        bottlenecks=[
            atlas_pb2.Bottleneck(
                stage="planner/search",
                avg_duration=4200,
                recommendation=suggestion.text,
                critical_share=0.41,
                span_count=40,
                queue_share=0.25,
                error_rate=0.225,
            ),
            atlas_pb2.Bottleneck(
                stage="writer/chat", recommendation="Were writer/chat 20 % faster, a run would be.", critical_share=0.2
            ),
        ],
        estimated_improvement=0.35,
        suggested_changes=[suggestion.text],
        suggestions=[suggestion],
        trace_count=34,
        avg_duration=12_400,
        caveats=["Waiting is seen only as far as the traces hold all of a stage's calls."],
    )


def critical_path(*durations: float) -> atlas_pb2.CriticalPath:
    path = atlas_pb2.CriticalPath(trace_id="trace-1", duration=sum(durations))
    for at, duration in enumerate(durations):
        path.segments.add(
            span_id=f"{at:016x}", name=f"step {at}", service="agents", agent_id="planner", duration=duration
        )
    return path


def similar() -> atlas_pb2.FindSimilarTracesResponse:
    answer = atlas_pb2.FindSimilarTracesResponse()
    for at, near in enumerate((0.97, 0.5)):
        found = answer.traces.add(
            id=f"trace-{at}", similarity=near, agent_id="planner", operation="plan", status=("error", "success")[at]
        )
        found.start_time.seconds = START
    return answer


def line_of(shown: str, start: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith(start))


def test_analyze_shows_verdict_windows_trends_curves_and_what_changed(server: Server) -> None:
    server.atlas.put(learning())
    result = run(server, "atlas", "analyze", "--agent-id", "api-builder-001")
    assert result.exit_code == 0, result.stderr
    shown = result.stdout
    assert "api-builder-001  30d  ▲ improving" in shown
    assert line_of(shown, "last ").split() == ["last", "2026-09-21", "16:13:20", "2026-09-21", "17:13:20", "33"]
    assert "mean duration, task types held constant: 15.0% shorter" in shown
    success = line_of(shown, "success")
    for told in ("80.0%", "91.4%", "↗ up", "+0.4 points", "0.0 to +1.0 points", "0.030"):
        assert told in success
    assert success.endswith("▁▂▃▄▅▆▇█")
    duration = line_of(shown, "duration")
    for told in ("2.50 s", "2.10 s", "↘ down", "-12 ms", "-20 to -4 ms", "<0.001"):
        assert told in duration
    assert duration.endswith("█▇▆▅▄▃▂▁")
    assert line_of(shown, "cost").split()[1:3] == ["-", "$0.0314"]
    assert line_of(shown, "cost").endswith("  ▁    █")
    step = line_of(shown, "2026-09-21 14:13:20")
    assert "2.50 s" in step
    assert "model gpt-5-mini" in step
    assert "- The success rate went from 80.0 % to 91.4 %." in shown
    assert "- Used: 1,200 model calls, 1 tool call, 812,000 → 14,300 tokens, $3.40, busy 12.0% of the period" in shown
    assert "process.cpu.utilization 0.41" in shown
    assert "! Costs are those of the 30 of 80 tasks" in shown


def test_analyze_without_tasks_says_so_and_shows_no_empty_table(server: Server) -> None:
    server.atlas.put(
        atlas_pb2.LearningAnalysis(
            agent_id="a", verdict="insufficient_data", period="30d", caveats=["There are no tasks in the period."]
        )
    )
    result = run(server, "atlas", "analyze", "--agent-id=a")
    assert result.exit_code == 0
    assert "? insufficient data" in result.stdout
    assert "MEASURE" not in result.stdout
    assert "cost not known" in result.stdout
    assert "! There are no tasks in the period." in result.stdout


def test_every_command_sends_what_it_was_given(server: Server) -> None:
    end = "--end-time=2026-09-21T14:13:20Z"
    run(server, "atlas", "analyze", "--agent-id=a", "--period=60d", "--task-type=review", end)
    run(server, "atlas", "optimize", "--workflow-id=w", "--period=3d", end)
    run(server, "atlas", "critical-path", "t")
    run(server, "atlas", "similar", "--trace-id=t", "--limit=3", "--status=error", "--period=7d")
    run(server, "atlas", "similar", "t")
    analyze = atlas_pb2.AnalyzeLearningRequest(agent_id="a", period="60d", task_type="review")
    optimize = atlas_pb2.OptimizeWorkflowRequest(workflow_id="w", period="3d")
    analyze.end_time.seconds = optimize.end_time.seconds = START
    assert server.atlas.requests == [
        analyze,
        optimize,
        atlas_pb2.GetCriticalPathRequest(trace_id="t"),
        atlas_pb2.FindSimilarTracesRequest(trace_id="t", limit=3, status="error", period="7d"),
        atlas_pb2.FindSimilarTracesRequest(trace_id="t", limit=10),
    ]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["analyze", "--agent-id=a"], learning()),
        (["optimize", "--workflow-id=w"], optimization()),
        (["critical-path", "trace-1"], critical_path(1, 2)),
        (["similar", "trace-1"], similar()),
        (["similar", "trace-1"], atlas_pb2.FindSimilarTracesResponse()),
    ],
)
def test_json_is_the_api_answer_as_one_document(server: Server, arguments: list[str], answer: Any) -> None:
    server.atlas.put(answer)
    result = run(server, "atlas", *arguments, "--json")
    assert result.exit_code == 0
    assert json_format.Parse(result.stdout, type(answer)()) == answer


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze"],
        ["analyze", "--agent-id=a", "--end-time=1"],
        ["optimize"],
        ["critical-path"],
        ["critical-path", "a", "--trace-id=b"],
        ["critical-path", "a", "--max-segments=0"],
        ["similar", "a", "--limit=101"],
    ],
)
def test_what_cannot_be_asked_is_wrong_usage_and_asks_nothing(server: Server, arguments: list[str]) -> None:
    assert run(server, "atlas", *arguments).exit_code == 2
    assert server.atlas.requests == []


def test_optimize_shows_each_gain_with_its_interval_and_advice_once(server: Server) -> None:
    server.atlas.put(optimization())
    shown = run(server, "atlas", "optimize", "--workflow-id=feature-development").stdout
    assert "feature-development  7d  34 traces, mean 12.40 s" in shown
    assert "all suggestions together: 35.0% faster (12.40 s → 8.06 s)" in shown
    suggestion = line_of(shown, "1  fewer retries")
    for told in ("planner/search", "22.0%", "18.0% to 26.0%", "├●┤", "-$0.002"):
        assert told in suggestion
    assert shown.count("Make planner/search succeed at once") == 1
    assert "1. Make planner/search" in shown
    stage = line_of(shown, "planner/search")
    assert [part for part in stage.split() if "%" in part] == ["41.0%", "25.0%", "22.5%"]
    assert "- Were writer/chat 20 % faster, a run would be." in shown
    assert "! Waiting is seen only" in shown


def test_optimize_without_suggestions_says_so(server: Server) -> None:
    server.atlas.put(atlas_pb2.WorkflowOptimization(workflow_id="w", period="7d", trace_count=1, avg_duration=10))
    assert "1 trace, mean 10 ms\nNo change" in run(server, "atlas", "optimize", "--workflow-id=w").stdout
    server.atlas.put(atlas_pb2.WorkflowOptimization(workflow_id="w", period="7d", caveats=["no finished trace"]))
    assert run(server, "atlas", "optimize", "--workflow-id=w").stdout == "w  7d  0 traces\n\n! no finished trace\n"


def test_critical_path_shows_segments_in_time_order_with_their_shares(server: Server) -> None:
    path = critical_path(100, 700, 200)
    path.segments[2].ClearField("name")
    path.segments[2].ClearField("span_id")
    server.atlas.put(path)
    shown = run(server, "atlas", "critical-path", "trace-1").stdout
    assert "trace-1  1.00 s" in shown
    rows = [line for line in shown.splitlines() if "%" in line]
    assert [next(part for part in row.split() if "%" in part) for row in rows] == ["10.0%", "70.0%", "20.0%"]
    assert rows[1].startswith("100 ms  step 1")
    assert rows[1].index("━") > rows[0].index("━")
    assert "(no span)" in rows[2]


def test_a_long_critical_path_shows_its_longest_segments_and_counts_the_rest(server: Server) -> None:
    server.atlas.put(critical_path(*([1.0] * 50), 900, *([1.0] * 50), 100))
    shown = run(server, "atlas", "critical-path", "--trace-id=trace-1", "--max-segments=2").stdout
    assert [line.split()[2:4] for line in shown.splitlines() if "%" in line] == [["step", "50"], ["step", "101"]]
    assert "100 shorter segments of 100 ms together" in shown


def test_critical_path_of_no_duration_is_no_error(server: Server) -> None:
    server.atlas.put(critical_path())
    assert run(server, "atlas", "critical-path", "trace-1").stdout == "trace-1  0 ms\n"


def test_similar_shows_how_near_and_what_each_is(server: Server) -> None:
    server.atlas.put(similar())
    rows = run(server, "atlas", "similar", "t").stdout.splitlines()[1:]
    assert rows[0].split()[0] == "0.970"
    assert rows[0].count("━") > rows[1].count("━")
    assert "✗ error" in rows[0]
    assert "2026-09-21 14:13:20" in rows[1]
    server.atlas.put(atlas_pb2.FindSimilarTracesResponse())
    assert "No similar traces." in run(server, "atlas", "similar", "t").stderr


def test_a_refusal_exits_1_with_the_reason(server: Server) -> None:
    server.atlas.refusals = [
        refusal(grpc.StatusCode.NOT_FOUND, "no workflow 'w' is stored", error_info("WORKFLOW_NOT_FOUND"))
    ]
    result = run(server, "atlas", "optimize", "--workflow-id=w")
    assert result.exit_code == 1
    assert "NOT_FOUND: no workflow 'w' is stored" in result.stderr


def test_a_server_of_another_version_is_told_as_such(server: Server) -> None:
    server.atlas.refusals = [refusal(grpc.StatusCode.UNIMPLEMENTED, "")]
    result = run(server, "atlas", "similar", "t")
    assert result.exit_code == 1
    assert "agent-tracer doctor" in result.stderr


COMMANDS = [
    ["analyze", "--agent-id=a"],
    ["optimize", "--workflow-id=w"],
    ["critical-path", "t"],
    ["similar", "t"],
]


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_nothing_is_wider_than_the_terminal(server: Server, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    server.atlas.put(learning(), optimization(), critical_path(1, 2, 3), similar())
    for arguments in COMMANDS:
        # The first line holds an id, which is left to the terminal to break.
        _, *shown = run(server, "atlas", *arguments).stdout.splitlines()
        assert [line for line in shown if len(line) > columns] == []


def test_a_terminal_without_unicode_gets_bars_and_curves_of_ascii(server: Server) -> None:
    server.atlas.put(learning(), optimization(), critical_path(1, 2), similar())
    for arguments in COMMANDS:
        done = subprocess.run(
            [PROGRAM, "atlas", *arguments],
            env=os.environ | {"AGENT_TRACER_GRPC_URL": server.endpoint, "PYTHONIOENCODING": "ascii", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "\\u" not in done.stdout, "nothing that the program draws needs an escape"
        assert "\x1b" not in done.stdout
