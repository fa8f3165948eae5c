"""What evaluations send, against what was recorded or simulated; nothing is started here."""

import json
from typing import Any, Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.v1 import atlas_pb2
from tests.evaluation import atlas_workflows, published
from tests.evaluation.improving import otlp_of as run_to_otlp
from tests.evaluation.paths import exclusive_times, expected_times
from tests.evaluation.paths import otlp_of as jaeger_to_otlp
from tests.evaluation.rows import equal, share, table
from tests.evaluation.tasks import BASE_NS, DAY_NS, MS_NS, Task, one_span, task_and_call

TRIAL: Final = {
    "TaskName": "cache-ttl-stampede", "ModelName": "vendor/model-1", "ModelDisplay": "model-1", "Passed": False,
    "CostUSD": 0.25, "InputTokens": 9_000, "OutputTokens": 100, "DurationSec": 155.5,
    "StartedAt": "2026-07-07T15:24:49.080238Z",
}  # fmt: skip


def values(span: Span) -> dict[str, Any]:
    return {item.key: getattr(item.value, str(item.value.WhichOneof("value"))) for item in span.attributes}


def test_a_trial_is_a_task_with_one_priced_call() -> None:
    task, call = task_and_call(published.trial_of(TRIAL))
    assert (task.start_time_unix_nano, task.end_time_unix_nano - task.start_time_unix_nano) == (
        1_783_437_889_080_238_000,
        155_500 * MS_NS,
    )
    assert task.status.code == Status.STATUS_CODE_ERROR
    assert values(task) | {"gen_ai.agent.id": "model-1", "task.type": "cache-ttl-stampede"} == values(task)
    assert (call.parent_span_id, call.trace_id) == (task.span_id, task.trace_id)
    assert call.status.code == Status.STATUS_CODE_UNSET, "that the task failed says nothing of the call"
    assert values(call)["gen_ai.usage.cost"] == 0.25
    assert "gen_ai.usage.cost" not in values(task), "it would count twice"


def test_every_task_is_a_trace_of_its_own() -> None:
    task = Task("a", "t", BASE_NS, True, task_id="7", version="2")
    (first,), (second,) = one_span(task), one_span(task)
    assert first.trace_id != second.trace_id
    assert values(first) == {
        "gen_ai.agent.id": "a",
        "task.type": "t",
        "task.id": "7",
        "gen_ai.agent.version": "2",
    }


def test_a_trial_of_reflexion_is_a_day_in_the_order_of_its_log() -> None:
    tasks = published.reflexion_tasks("webshop", [[True, False], [True, True]])
    assert [(task.task_id, task.is_success) for task in tasks] == [
        ("env_0", True), ("env_1", False), ("env_0", True), ("env_1", True),
    ]  # fmt: skip
    assert [(task.start_ns - BASE_NS) // DAY_NS for task in tasks] == [0, 0, 1, 1]
    assert tasks[0].start_ns < tasks[1].start_ns


def test_published_rates_are_met_by_the_trials_made_of_them() -> None:
    trials = published.tau2_trials()
    for agent, rates in published.tau2_published().items():
        for domain, rate in rates.items():
            solved = [task.is_success for task in trials if (task.agent_id, task.task_type) == (agent, domain)]
            assert len(solved) == published.TAU2_TRIALS[domain]
            assert sum(solved) / len(solved) == pytest.approx(rate, abs=0.5 / len(solved) + 1e-9)


def jaeger(trace_id: str, operation: str, parent: str = "") -> dict[str, Any]:
    references = [{"refType": "CHILD_OF", "traceID": "A", "spanID": parent}] if parent else []
    return {
        "traceID": "A", "spanID": trace_id, "operationName": operation, "references": references, "startTime": 5,
        "duration": 70, "processID": "p1", "warnings": None,
    }  # fmt: skip


def test_a_case_of_crisp_keeps_all_but_its_ids_and_its_year() -> None:
    trace = {
        "traceID": "A",
        "spans": [jaeger("A", "O1"), jaeger("B", "O2", "A")],
        "processes": {"p1": {"serviceName": "S1", "tags": []}},
    }
    document = {"data": [trace], "testing": [{"[S1] O1": 0, "[S1] O2": 70}]}
    trace_id, (request,) = jaeger_to_otlp(json.loads(json.dumps(document)))
    other_id, _ = jaeger_to_otlp(document)
    (block,) = request.resource_spans
    first, second = block.scope_spans[0].spans
    assert trace_id != other_id
    assert (first.trace_id.hex(), first.name, second.name) == (trace_id, "O1", "O2")
    assert second.parent_span_id == first.span_id
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (BASE_NS + 5_000, BASE_NS + 75_000)
    assert expected_times(document) == {"[S1] O2": 70}
    path = atlas_pb2.CriticalPath(
        segments=[
            atlas_pb2.PathSegment(service="S1", name="O2", duration=0.03),
            atlas_pb2.PathSegment(service="S1", name="O2", duration=0.04),
        ]
    )
    assert exclusive_times(path) == expected_times(document)


def test_a_simulated_run_is_sent_as_it_is() -> None:
    (run,) = atlas_workflows.retrying(1, False, first=3)
    spans = run_to_otlp(run, "w")
    assert [span.end_time_unix_nano - span.start_time_unix_nano for span in spans] == [one.duration_ns for one in run]
    assert [span.parent_span_id for span in spans] == [one.parent_id or b"" for one in run]
    assert [span.status.code == Status.STATUS_CODE_ERROR for span in spans] == [one.failed for one in run]
    assert {span.trace_id for span in spans} == {spans[0].trace_id}
    assert [values(span).get("workflow.id") for span in spans] == ["w", *[None] * (len(run) - 1)]
    assert [values(span).get("input.value", "") for span in spans] == [one.input for one in run]


def test_a_table_says_what_was_missed() -> None:
    rows = [equal("a", "1", "1", 3), share("b", 4, 100, most=0.03)]
    assert table(rows).splitlines()[2:] == [
        "| a | 1 | 1 | yes | 3 | 0.0 |",
        "| b | 4.0% (1.6% to 9.8%) | <= 3% | NO | 100 | 0.0 |",
    ]
