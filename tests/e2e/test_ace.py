"""AceService against the started program: scores, benchmarks and comparisons of tasks that were sent in."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.rpc import code_pb2

from agent_tracer.v1 import ace_pb2, trace_pb2
from tests.e2e.talk import TRACES, analysed, create, error_info, message, refusal, rest, unique, wrong_fields
from tests.fixtures.program import Program

SCORE, BENCHMARKS, COMPARE = "/api/v1/ace/score", "/api/v1/ace/benchmarks", "/api/v1/ace/compare"


@pytest.fixture
def traces(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


@pytest.fixture
def ace(program: Program) -> Iterator[httpx.Client]:
    with rest(program, program.ace) as client:
        yield client


def send(traces: httpx.Client, agent_id: str, successes: int, failures: int, **fields: Any) -> list[str]:
    """Tasks of one agent; their trace ids."""
    ids = [unique("task") for _ in range(successes + failures)]
    for number, trace_id in enumerate(ids):
        status = "success" if number < successes else "error"
        create(traces, trace_id, agent_id, **{"status": status, "taskType": "review", **fields})
    return ids


def scored(ace: httpx.Client, agent_id: str, tasks: int) -> ace_pb2.AgentScore:
    """Of so many tasks."""
    return analysed(
        lambda: ace.post(SCORE, json={"agentId": agent_id}),
        ace_pb2.AgentScore,
        lambda found: found.sample_size == tasks,
    )


def test_the_call_of_the_documentation_answers(traces: httpx.Client, ace: httpx.Client) -> None:
    first = (
        '{"traceId":"trace-abc123","agentId":"tdd-enforcer-001","operation":"test-validation","duration":2500,'
        '"status":"success","metadata":{"coverage":85,"tests_run":150}}'
    )
    traces.post(TRACES, content=first)
    asked = '{"agentId":"tdd-enforcer-001","period":"24h"}'
    score = analysed(lambda: ace.post(SCORE, content=asked), ace_pb2.AgentScore, lambda found: found.sample_size == 1)
    assert (score.agent_id, score.period, score.sample_size) == ("tdd-enforcer-001", "24h", 1)
    assert score.quality == pytest.approx(0.85)
    assert 0 < score.intervals["overall"].lower <= score.overall <= score.intervals["overall"].upper < 1
    assert any("1 tasks" in caveat for caveat in score.caveats)


def test_a_score_stands_on_what_was_acknowledged_before_it(traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("coder")
    ids = send(traces, agent_id, 16, 4, taskType=unique("review"))
    judged = {"evaluation": {"name": "correct", "score": 0.5}}
    assert traces.post(f"{TRACES}/{ids[0]}/evaluations", json=judged["evaluation"]).status_code == 200
    score = scored(ace, agent_id, 20)
    named = {component.name: component for component in score.components}
    assert (score.sample_size, named["success_rate"].value) == (20, 0.8)
    assert (named["correct"].value, named["correct"].source) == (0.5, "evaluations")
    assert not score.HasField("efficiency"), "nobody else, and no earlier time, to compare with"
    listed = message(ace.get("/api/v1/ace/scores", params={"agentId": agent_id}), ace_pb2.ListScoresResponse)
    assert list(listed.scores) == [score]


def test_figures_of_the_caller_take_the_place_of_traced_ones(ace: httpx.Client) -> None:
    metrics = {"tasksCompleted": 100, "tasksSuccessful": 90, "coverageAchieved": 75}
    score = message(ace.post(SCORE, json={"agentId": unique("new"), "metrics": metrics}), ace_pb2.AgentScore)
    assert {c.source for c in score.components} == {"request"}
    assert score.sample_size == 100
    assert score.quality == pytest.approx(0.75)


def test_scores_are_published_as_a_metric(program: Program, traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("published")
    send(traces, agent_id, 3, 0)
    score = scored(ace, agent_id, 3)
    line = f'agent_tracer_ace_score{{agent_id="{agent_id}",dimension="reliability"}} {score.reliability}'
    assert line in traces.get("/metrics").text


def test_scores_are_listed_on_pages_newest_first(traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("often")
    send(traces, agent_id, 1, 0)
    made = [message(ace.post(SCORE, json={"agentId": agent_id}), ace_pb2.AgentScore).score_id for _ in range(3)]
    seen, token = [], ""
    while True:
        asked: dict[str, str | int] = {"agentId": agent_id, "pageSize": 2, "pageToken": token}
        page = message(ace.get("/api/v1/ace/scores", params=asked), ace_pb2.ListScoresResponse)
        seen += [score.score_id for score in page.scores]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


def test_a_benchmark_ranks_agents_and_is_kept(traces: httpx.Client, ace: httpx.Client) -> None:
    good, bad = unique("good"), unique("bad")
    send(traces, good, 40, 0, duration=100)
    send(traces, bad, 10, 30, duration=900)
    assert [scored(ace, agent_id, 40).sample_size for agent_id in (good, bad)] == [40, 40]
    asked = {"agentId": bad, "compareAgainst": [good], "tasks": [{"type": "review", "count": 100}]}
    made = message(ace.post(BENCHMARKS, json=asked), ace_pb2.Benchmark)
    assert [(a.agent_id, a.overall_rank, a.rank_lower, a.rank_upper, a.dominated) for a in made.agents] == [
        (good, 1, 1, 1, False),
        (bad, 2, 2, 2, True),
    ]
    assert (made.overall_rank, made.scores["review"].score, made.scores["review"].task_count) == (2, 0.25, 40)
    assert message(ace.get(f"{BENCHMARKS}/{made.benchmark_id}"), ace_pb2.Benchmark) == made
    listed = message(ace.get(BENCHMARKS, params={"agentId": bad}), ace_pb2.ListBenchmarksResponse)
    assert list(listed.benchmarks) == [made]


def test_a_benchmark_of_the_last_tasks_leaves_out_earlier_ones(traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("learner")
    send(traces, agent_id, 0, 5)
    send(traces, agent_id, 5, 0)
    assert scored(ace, agent_id, 10).sample_size == 10
    asked = {"agentId": agent_id, "tasks": [{"type": "review", "count": 5}]}
    made = message(ace.post(BENCHMARKS, json=asked), ace_pb2.Benchmark)
    assert (made.scores["review"].score, made.scores["review"].task_count) == (1.0, 5)


def version(traces: httpx.Client, agent_id: str, name: str, successes: int, failures: int) -> None:
    send(traces, agent_id, successes, failures, metadata={"prompt": name})


def test_versions_are_compared_by_any_attribute(traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("versions")
    version(traces, agent_id, "a", 40, 0)
    version(traces, agent_id, "b", 10, 30)
    assert scored(ace, agent_id, 80).sample_size == 80
    asked = {"agentId": agent_id, "attribute": "prompt", "base": "a", "candidate": "b"}
    found = message(ace.post(COMPARE, json=asked), ace_pb2.VersionComparison)
    (success,) = [measure for measure in found.measures if measure.measure == "success_rate"]
    assert (found.verdict, success.verdict) == ("worse", "worse")
    assert success.difference == pytest.approx(-0.75)
    assert success.lower < -0.75 < success.upper < 0
    back = message(ace.post(COMPARE, json={**asked, "base": "b", "candidate": "a"}), ace_pb2.VersionComparison)
    assert back.verdict == "better"
    nothing = message(ace.post(COMPARE, json={**asked, "candidate": "c"}), ace_pb2.VersionComparison)
    assert nothing.verdict == "insufficient_data"


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        (SCORE, {}, ["agent_id"]),
        (SCORE, {"agentId": "a", "period": "soon"}, ["period"]),
        (SCORE, {"agentId": "a", "endTime": "1970-01-01T00:00:00Z"}, ["end_time"]),
        (SCORE, {"agentId": "a", "weights": {"qualityWeight": 0.5}}, ["weights"]),
        (SCORE, {"agentId": "a", "metrics": {"coverageAchieved": 101}}, ["metrics.coverage_achieved"]),
        (BENCHMARKS, {"agentId": "a", "compareAgainst": [""]}, ["compare_against[0]"]),
        (BENCHMARKS, {"agentId": "a", "tasks": [{"type": "t", "count": -1}]}, ["tasks[0].count"]),
        (COMPARE, {"agentId": "a", "base": "1", "candidate": "1"}, ["candidate"]),
        (COMPARE, {}, ["agent_id", "base", "candidate"]),
    ],
    ids=json.dumps,
)
def test_wrong_fields_are_named(ace: httpx.Client, path: str, body: dict[str, Any], fields: list[str]) -> None:
    status = refusal(ace.post(path, json=body))
    assert (status.code, wrong_fields(status)) == (code_pb2.INVALID_ARGUMENT, fields)


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", SCORE, {"agentId": "nobody-at-all"}, "AGENT_NOT_FOUND"),
        ("POST", BENCHMARKS, {"agentId": "nobody-at-all"}, "AGENT_NOT_FOUND"),
        ("POST", COMPARE, {"agentId": "nobody-at-all", "base": "1", "candidate": "2"}, "AGENT_NOT_FOUND"),
        ("GET", f"{BENCHMARKS}/no-such-benchmark", None, "BENCHMARK_NOT_FOUND"),
    ],
)
def test_unknown_ids_are_not_found(ace: httpx.Client, method: str, path: str, body: object, reason: str) -> None:
    status = refusal(ace.request(method, path, json=body))
    assert (status.code, error_info(status).reason) == (code_pb2.NOT_FOUND, reason)


def test_a_known_agent_without_tasks_in_the_period_is_told_so(traces: httpx.Client, ace: httpx.Client) -> None:
    agent_id = unique("idle")
    create(traces, unique("task"), agent_id, startTime="2020-01-01T00:00:00Z")
    message(traces.get(TRACES, params={"agentId": agent_id}), trace_pb2.ListTracesResponse)
    status = refusal(ace.post(SCORE, json={"agentId": agent_id, "period": "1h"}))
    assert (status.code, error_info(status).reason) == (code_pb2.FAILED_PRECONDITION, "NO_DATA")
    early = {"agentId": agent_id, "period": "1h", "endTime": "2020-01-01T00:30:00Z"}
    assert message(ace.post(SCORE, json=early), ace_pb2.AgentScore).sample_size == 1
    decade = {"agentId": agent_id, "period": "3650d"}
    assert message(ace.post(SCORE, json=decade), ace_pb2.AgentScore).sample_size == 1
