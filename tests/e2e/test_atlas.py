"""AtlasService against the started program: learning, workflows and critical paths of what was sent in."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.rpc import code_pb2

from agent_tracer.v1 import atlas_pb2
from tests.e2e.talk import analysed, counted, create, error_info, message, refusal, rest, unique, wrong_fields
from tests.fixtures.program import Program

ANALYTICS, OPTIMIZE = "/api/v1/atlas/analytics", "/api/v1/atlas/optimize"


@pytest.fixture
def traces(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


@pytest.fixture
def atlas(program: Program) -> Iterator[httpx.Client]:
    with rest(program, program.atlas) as client:
        yield client


def day(number: int) -> str:
    return f"2026-03-{number + 1:02d}T12:00:00Z"


def send_days(traces: httpx.Client, agent_id: str, days: int, **more: Any) -> None:
    """Three tasks a day, a tenth faster every day; all fail on the first day, none from the third on."""
    for number in range(days):
        for which in range(3):
            create(
                traces,
                unique("task"),
                agent_id,
                startTime=day(number),
                duration=1000 * 0.9**number + which,
                status="error" if number == 0 or (number == 1 and which == 0) else "success",
                taskType="build",
                metadata={"step": which},
                **more,
            )


def test_an_agent_that_becomes_faster_is_said_to_improve(traces: httpx.Client, atlas: httpx.Client) -> None:
    agent_id = unique("api-builder")
    send_days(traces, agent_id, 12)
    asked = {"period": "30d", "endTime": day(20)}
    found = analysed(
        lambda: atlas.get(f"{ANALYTICS}/{agent_id}", params=asked),
        atlas_pb2.LearningAnalysis,
        lambda answer: sum(point.task_count for point in answer.curve) == 36,
    )
    assert (found.agent_id, found.period, found.verdict) == (agent_id, "30d", "improving")
    assert found.tasks.initial.task_count == found.tasks.current.task_count == 12
    expected = 1 - found.tasks.current.avg_duration / found.tasks.initial.avg_duration
    assert found.improvement_rate == pytest.approx(expected, rel=0.01)
    assert found.improvement_rate > 0.4
    assert found.duration_trend.direction == "down"
    assert sum(point.task_count for point in found.curve) == 36
    assert found.resource_utilization.peak_concurrency == 3
    assert found.insights


def test_a_few_tasks_get_no_verdict(traces: httpx.Client, atlas: httpx.Client) -> None:
    agent_id = unique("young")
    create(traces, unique("task"), agent_id)
    found = analysed(
        lambda: atlas.get(f"{ANALYTICS}/{agent_id}"),
        atlas_pb2.LearningAnalysis,
        lambda answer: answer.tasks.current.task_count == 1,
    )
    assert (found.verdict, found.tasks.current.task_count) == ("insufficient_data", 1)
    assert found.caveats
    empty = message(
        atlas.get(f"{ANALYTICS}/{agent_id}", params={"period": "1h", "endTime": day(0)}), atlas_pb2.LearningAnalysis
    )
    assert (empty.verdict, len(empty.curve)) == ("insufficient_data", 0)
    assert empty.caveats


def test_a_workflow_is_optimised_over_its_traces(traces: httpx.Client, atlas: httpx.Client) -> None:
    workflow_id = unique("feature-development")
    for _ in range(3):
        create(traces, unique("run"), "planner", workflowId=workflow_id, duration=400)
    found = analysed(
        lambda: atlas.post(OPTIMIZE, json={"workflowId": workflow_id, "period": "7d"}),
        atlas_pb2.WorkflowOptimization,
        lambda answer: answer.trace_count == 3,
    )
    assert (found.workflow_id, found.trace_count, found.avg_duration) == (workflow_id, 3, 400)
    (stage,) = found.bottlenecks
    assert (stage.stage, stage.critical_share, stage.span_count) == ("planner/work", 1, 3)
    assert found.caveats
    quiet = message(
        atlas.post(OPTIMIZE, json={"workflowId": workflow_id, "endTime": day(0)}), atlas_pb2.WorkflowOptimization
    )
    assert (quiet.trace_count, len(quiet.caveats)) == (0, 1)


def test_a_critical_path_adds_up_to_its_trace(traces: httpx.Client, atlas: httpx.Client) -> None:
    trace_id = unique("trace")
    create(traces, trace_id, "planner", duration=250)
    path = message(atlas.get(f"/api/v1/atlas/critical-path/{trace_id}"), atlas_pb2.CriticalPath)
    assert (path.trace_id, path.duration) == (trace_id, 250)
    assert [(s.name, s.agent_id, s.duration) for s in path.segments] == [("work", "planner", 250)]


def test_similar_traces_are_of_the_same_kind_and_gone_once_deleted(traces: httpx.Client, atlas: httpx.Client) -> None:
    mark = unique("kind")
    kind = {"operation": f"parse {mark}", "status": "error"}
    alike = [unique("alike") for _ in range(3)]
    for trace_id in alike:
        create(traces, trace_id, mark, **kind)
    create(traces, unique("other"), mark, operation="render a page", status="success")
    asked: dict[str, str | int] = {"limit": 2, "status": "error"}
    found = counted(
        lambda: message(
            atlas.get(f"/api/v1/atlas/similar/{alike[0]}", params=asked), atlas_pb2.FindSimilarTracesResponse
        ),
        lambda answer: {trace.id for trace in answer.traces} >= set(alike[1:]),
    )
    assert {trace.id for trace in found.traces} == set(alike[1:])
    assert all(trace.similarity > 0.9 for trace in found.traces)
    assert traces.delete(f"/api/v1/traces/{alike[1]}").status_code == 200
    left = message(atlas.get(f"/api/v1/atlas/similar/{alike[0]}", params=asked), atlas_pb2.FindSimilarTracesResponse)
    assert alike[1] not in {trace.id for trace in left.traces}


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("GET", f"{ANALYTICS}/a?period=ever", None, ["period"]),
        ("GET", f"{ANALYTICS}/a?end_time=1969-01-01T00:00:00Z", None, ["end_time"]),
        ("GET", "/api/v1/atlas/similar/a?limit=101&status=odd", None, ["limit", "status"]),
        ("POST", OPTIMIZE, {}, ["workflow_id"]),
        ("POST", OPTIMIZE, {"workflowId": "w" * 257}, ["workflow_id"]),
    ],
    ids=json.dumps,
)
def test_wrong_fields_are_named(
    atlas: httpx.Client, method: str, path: str, body: dict[str, Any] | None, fields: list[str]
) -> None:
    status = refusal(atlas.request(method, path, json=body))
    assert (status.code, wrong_fields(status)) == (code_pb2.INVALID_ARGUMENT, fields)


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("GET", f"{ANALYTICS}/nobody-at-all", None, "AGENT_NOT_FOUND"),
        ("POST", OPTIMIZE, {"workflowId": "no-such-workflow"}, "WORKFLOW_NOT_FOUND"),
        ("GET", "/api/v1/atlas/critical-path/no-such-trace", None, "TRACE_NOT_FOUND"),
        ("GET", "/api/v1/atlas/similar/no-such-trace", None, "TRACE_NOT_FOUND"),
    ],
)
def test_unknown_ids_are_not_found(
    atlas: httpx.Client, method: str, path: str, body: dict[str, Any] | None, reason: str
) -> None:
    status = refusal(atlas.request(method, path, json=body))
    assert (status.code, error_info(status).reason) == (code_pb2.NOT_FOUND, reason)
