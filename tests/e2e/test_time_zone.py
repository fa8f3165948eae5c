"""A server on a machine whose clock shows another time than UTC finds the same."""

from collections.abc import Iterator

import httpx
import pytest

from agent_tracer.v1 import atlas_pb2, correlation_pb2
from tests.e2e.talk import counted, create, message, rest, unique
from tests.fixtures.program import Program, running_program


@pytest.fixture(scope="module", params=["Pacific/Auckland", "America/St_Johns"])
def elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", request.param)
        with running_program(tmp_path_factory.mktemp("elsewhere")) as started:
            yield started


@pytest.fixture
def traces(elsewhere: Program) -> Iterator[httpx.Client]:
    with rest(elsewhere) as client:
        yield client


@pytest.fixture
def atlas(elsewhere: Program) -> Iterator[httpx.Client]:
    with rest(elsewhere, elsewhere.atlas) as client:
        yield client


def test_failures_similar_traces_workflows_and_calls_are_found(traces: httpx.Client, atlas: httpx.Client) -> None:
    agent_id, ids = unique("planner"), [unique("run") for _ in range(2)]
    for trace_id in ids:
        create(traces, trace_id, agent_id, status="error", workflowId="nightly", duration=400)
    failures = counted(
        lambda: message(traces.get("/api/v1/failures"), correlation_pb2.ListFailureGroupsResponse),
        lambda found: not found.caveats,
    )
    assert [group.trace_count for group in failures.groups] == [2]
    similar = counted(
        lambda: message(atlas.get(f"/api/v1/atlas/similar/{ids[0]}"), atlas_pb2.FindSimilarTracesResponse),
        lambda found: bool(found.traces),
    )
    assert [trace.id for trace in similar.traces] == ids[1:]
    asked = {"workflowId": "nightly", "period": "7d"}
    workflow = message(atlas.post("/api/v1/atlas/optimize", json=asked), atlas_pb2.WorkflowOptimization)
    assert (workflow.trace_count, workflow.avg_duration) == (2, 400)
    graph = counted(
        lambda: message(traces.get("/api/v1/graph"), correlation_pb2.ServiceGraph),
        lambda found: not found.caveats,
    )
    assert (agent_id, 2) in [(node.id, node.call_count) for node in graph.nodes]
