"""`agent-tracer demo`: what it plays is really there afterwards."""

import json
import re
import subprocess
from collections.abc import Sequence

import pytest

from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, all_traces, stubs
from tests.fixtures.program import Program

RUNS = 4
"""The fourth run is the first that fails."""


@pytest.fixture(scope="module")
def played(program: Program) -> subprocess.CompletedProcess[str]:
    return program.run("demo", "--runs", str(RUNS))


@pytest.fixture(scope="module")
def session(played: subprocess.CompletedProcess[str]) -> str:
    (found,) = re.findall(r"--session-id (\S+)", played.stdout)
    return str(found)


@pytest.fixture(scope="module")
def traces(program: Program, session: str) -> Sequence[trace_pb2.Trace]:
    with stubs(program.target) as stub:
        return all_traces(stub, session_id=session)


def test_it_ends_well_and_draws_the_failed_run_as_a_tree(played: subprocess.CompletedProcess[str]) -> None:
    assert played.returncode == 0
    assert "invoke_workflow release_notes" in played.stdout
    for agent in ("release-planner", "release-researcher"):
        assert agent in played.stdout
    assert "timeout" in played.stdout, "the run that failed is the one that is drawn"
    assert re.search(r"[├└]", played.stdout) or re.search(r"[|`]-", played.stdout)
    assert f"{RUNS} runs" in played.stdout


def test_its_traces_are_listed(program: Program, session: str, traces: Sequence[trace_pb2.Trace]) -> None:
    listed = json.loads(program.run("traces", "list", "--session-id", session, "--json").stdout)["traces"]
    assert len(listed) == RUNS
    assert {trace["traceId"] for trace in listed} == {trace.trace_id for trace in traces}
    assert sorted(trace.status for trace in traces) == ["success"] * (RUNS - 1) + ["timeout"]
    table = program.run("traces", "list", "--session-id", session).stdout
    assert all(trace.trace_id in table for trace in traces)


def test_every_model_call_of_it_is_priced(program: Program, traces: Sequence[trace_pb2.Trace]) -> None:
    with stubs(program.target) as stub:
        for trace in traces:
            assert trace.cost > 0
            spans = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace.trace_id), timeout=CALL_SECONDS).spans
            calls = [span for span in spans if span.kind in ("llm", "embedding")]
            assert calls
            assert all(call.cost > 0 and call.usage.total_tokens > 0 for call in calls)
            assert trace.cost == pytest.approx(sum(call.cost for call in calls))
            assert trace.usage.total_tokens == sum(call.usage.total_tokens for call in calls)
            assert {"release-planner", "release-researcher"} <= set(trace.agents)


def test_the_failure_is_where_the_tool_was(program: Program, traces: Sequence[trace_pb2.Trace]) -> None:
    (failed,) = [trace for trace in traces if trace.status == "timeout"]
    with stubs(program.target) as stub:
        spans = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=failed.trace_id)).spans
    wrong = [span for span in spans if span.status == "error"]
    assert failed.error_count == len(wrong)
    deepest = max(wrong, key=lambda span: span.depth)
    assert (deepest.kind, deepest.tool_name) == ("tool", "search_changelog")
    assert deepest.agent_id == "release-researcher"
