"""CorrelationService on failed runs, against the started program: culprits, groups, and ids that stay."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.rpc import code_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.v1 import correlation_pb2
from tests.e2e.otlp import attribute, otlp_span, send, spans_request
from tests.e2e.talk import counted, create, error_info, message, refusal, rest, unique, wrong_fields
from tests.evaluation.failures_otlp import trace_key
from tests.fixtures.program import Program, running_program

FAILURES = "/api/v1/failures"


@pytest.fixture
def api(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


def failed_run(name: str, agent_id: str, error: str) -> Sequence[Span]:
    """A root that failed, over an agent's turn and the tool that it called, which says why."""
    key = trace_key(name)
    said = {"gen_ai.agent.id": agent_id, "gen_ai.operation.name": "chat", "output.value": "I look it up"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup", "output.value": error}
    spans = [otlp_span(key, 1, 0), otlp_span(key, 2, 1, said), otlp_span(key, 3, 1, tool)]
    spans[0].end_time_unix_nano += 10**9
    for span in (spans[0], spans[2]):
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=error if span is spans[2] else ""))
    spans[0].attributes.append(attribute("gen_ai.operation.name", "invoke_workflow"))
    return spans


def send_failed(program: Program, agent_id: str, *errors: str) -> list[str]:
    """A failed run of each error; their trace ids."""
    names = [unique("failed-run") for _ in errors]
    for name, error in zip(names, errors, strict=True):
        send(program, spans_request(*failed_run(name, agent_id, error)))
    return [trace_key(name).hex() for name in names]


def groups(client: httpx.Client, **asked: Any) -> correlation_pb2.ListFailureGroupsResponse:
    """Once none is said to be missing."""
    return counted(
        lambda: message(client.get(FAILURES, params=asked), correlation_pb2.ListFailureGroupsResponse),
        lambda found: not found.caveats,
    )


def test_runs_that_failed_alike_are_one_group_right_after_they_were_sent(program: Program, api: httpx.Client) -> None:
    agent_id = unique("clerk")
    traces = send_failed(program, agent_id, *(f"OrderError: order {n} is not there" for n in (17, 4)), "no route")
    found = groups(api, agent_id=agent_id)
    orders, route = found.groups
    assert (orders.trace_count, route.trace_count) == (2, 1)
    assert (orders.step_kind, orders.step_name, orders.error_type) == ("tool", "lookup", "OrderError")
    assert orders.message_template == "OrderError: order <value> is not there"
    assert set(orders.sample_trace_ids) == set(traces[:2])
    assert orders.share == pytest.approx(2 / 3)
    assert (list(orders.agents), orders.trend) == ([agent_id], "new")
    first = groups(api, agent_id=agent_id, page_size=1)
    rest_ = groups(api, agent_id=agent_id, page_size=1, page_token=first.next_page_token)
    assert [g.group_id for g in (*first.groups, *rest_.groups)] == [orders.group_id, route.group_id]
    assert not rest_.next_page_token


def test_a_culprit_is_a_step_of_the_run(program: Program, api: httpx.Client) -> None:
    agent_id = unique("clerk")
    (trace_id,) = send_failed(program, agent_id, "OrderError: order 5 is not there")
    found = message(api.get(f"/api/v1/traces/{trace_id}/failure"), correlation_pb2.FailureAttribution)
    assert (found.trace_id, found.culprit.agent_id, found.culprit.step) == (trace_id, agent_id, 0)
    assert found.culprit.span_id == f"{2:016x}"
    assert found.culprit.reasons
    assert found.candidates[0] == found.culprit


def test_a_run_of_create_trace_is_grouped_too_and_gone_once_deleted(api: httpx.Client) -> None:
    agent_id, trace_id = unique("clerk"), unique("failed-run")
    create(api, trace_id, agent_id, status="error")
    create(api, unique("good-run"), agent_id, status="success")
    (group,) = groups(api, agent_id=agent_id).groups
    assert (list(group.sample_trace_ids), group.share) == ([trace_id], 0.5)
    assert api.delete(f"/api/v1/traces/{trace_id}").status_code == 200
    assert not groups(api, agent_id=agent_id).groups


def test_group_ids_stay_over_restarts_and_new_runs(tmp_path: Path) -> None:
    with running_program(tmp_path) as program:
        agent_id = unique("clerk")
        send_failed(program, agent_id, "OrderError: order 5 is not there", "no route")
        with rest(program) as client:
            before = {group.title: group.group_id for group in groups(client).groups}
        program.stop()
        program.start()
        send_failed(program, agent_id, "OrderError: order 77 is not there")
        with rest(program) as client:
            after = groups(client).groups
    assert {group.title: group.group_id for group in after} == before
    assert [group.trace_count for group in after] == [2, 1]


def test_the_command_shows_groups_and_culprits(program: Program, api: httpx.Client) -> None:
    agent_id = unique("clerk")
    (trace_id,) = send_failed(program, agent_id, "OrderError: order 5 is not there")
    assert groups(api, agent_id=agent_id).groups
    listed = program.run("failures", "--agent-id", agent_id).stdout
    assert "OrderError" in listed
    assert json.loads(program.run("failures", "--agent-id", agent_id, "--json").stdout)["groups"][0]["traceCount"] == 1
    told = program.run("failures", "attribute", "--trace-id", trace_id).stdout
    assert agent_id in told
    assert "1. " in told


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"period": "ever"}, ["period"]),
        ({"page_size": -1}, ["page_size"]),
        ({"page_token": "none-of-these"}, ["page_token"]),
        ({"agent_id": "a" * 257}, ["agent_id"]),
    ],
    ids=json.dumps,
)
def test_wrong_fields_are_named(api: httpx.Client, asked: dict[str, Any], fields: list[str]) -> None:
    status = refusal(api.get(FAILURES, params=asked))
    assert (status.code, wrong_fields(status)) == (code_pb2.INVALID_ARGUMENT, fields)


def test_the_failure_of_an_unknown_trace_is_not_found(api: httpx.Client) -> None:
    status = refusal(api.get("/api/v1/traces/no-such-trace/failure"))
    assert (status.code, error_info(status).reason) == (code_pb2.NOT_FOUND, "TRACE_NOT_FOUND")
