"""`failures` against a real gRPC server whose answers the test chooses."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from agent_tracer.v1 import correlation_pb2
from tests.integration.cli_server import START, Server, error_info, refusal, run, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("AGENT_TRACER_GRPC_URL", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def group(number: int, **fields: Any) -> correlation_pb2.FailureGroup:
    made = correlation_pb2.FailureGroup(
        group_id=f"{number:016x}",
        title="tool search: TimeoutError: no answer from <url>",
        trace_count=100 - number,
        share=0.25,
        agents=["planner", "coder", "critic", "writer"],
        trend="rising",
        sample_trace_ids=["run-9", "run-8"],
        **fields,
    )
    made.first_seen_time.seconds, made.last_seen_time.seconds = START - 7200, START
    return made


def culprit(**fields: Any) -> correlation_pb2.FailureAttribution:
    first = correlation_pb2.FailureCandidate(
        agent_id="coder", span_id="00000000000000aa", step=4, confidence=0.62, reasons=["It was the first to act."]
    )
    second = correlation_pb2.FailureCandidate(agent_id="planner", step=0, confidence=0.2, reasons=["It set the task."])
    return correlation_pb2.FailureAttribution(trace_id="run-9", culprit=first, candidates=[first, second], **fields)


def test_groups_are_listed_with_what_one_looks_at_next(server: Server) -> None:
    server.correlation.put(correlation_pb2.ListFailureGroupsResponse(groups=[group(1, cost=1.5), group(2)]))
    answer = run(server, "failures", "--period", "30d", "--agent-id", "planner")
    assert answer.exit_code == 0, answer.output
    (asked,) = server.correlation.requests
    assert (asked.period, asked.agent_id, asked.page_size) == ("30d", "planner", 20)
    for word in (
        "99",
        "25",
        "rising",
        "TimeoutError: no answer",
        "planner, coder, critic and 1 more",
        "run-9",
        "$1.50",
    ):
        assert word in answer.output, word


def test_nothing_failed_is_said_with_what_may_be_missing(server: Server) -> None:
    server.correlation.put(correlation_pb2.ListFailureGroupsResponse(caveats=["some runs are missing"]))
    answer = run(server, "failures")
    assert answer.exit_code == 0
    assert "No failed runs." in answer.output
    assert "some runs are missing" in answer.output


def test_more_groups_are_told_with_the_way_to_them(server: Server) -> None:
    more = correlation_pb2.ListFailureGroupsResponse(groups=[group(1)])
    more.next_page_token = "next"  # noqa: S105 - a page's
    server.correlation.put(more)
    answer = run(server, "failures", "--limit", "1")
    assert "--page-token next" in answer.output


def test_a_run_s_culprit_comes_with_reasons(server: Server) -> None:
    server.correlation.put(culprit())
    answer = run(server, "failures", "attribute", "--trace-id", "run-9")
    assert answer.exit_code == 0, answer.output
    assert server.correlation.requests[0].trace_id == "run-9"
    for word in ("coder", "62", "1. It was the first to act.", "2. It set the task.", "00000000000000aa"):
        assert word in answer.output, word


def test_json_is_the_api_s(server: Server) -> None:
    server.correlation.put(culprit())
    answer = run(server, "failures", "attribute", "run-9", "--json")
    assert json.loads(answer.output)["culprit"]["agentId"] == "coder"


def test_a_run_in_which_nobody_acted_has_no_culprit(server: Server) -> None:
    server.correlation.put(correlation_pb2.FailureAttribution(trace_id="run-9"))
    answer = run(server, "failures", "attribute", "run-9")
    assert answer.exit_code == 0
    assert "Nobody did anything" in answer.output


def test_an_unknown_trace_is_refused(server: Server) -> None:
    server.correlation.refusals.append(
        refusal(grpc.StatusCode.NOT_FOUND, "there is no trace 'run-9'", error_info("TRACE_NOT_FOUND"))
    )
    answer = run(server, "failures", "attribute", "run-9")
    assert answer.exit_code == 1
    assert "there is no trace" in answer.output
