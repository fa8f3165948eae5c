"""Tasks of arbitrary trees against a plain reference."""

import time

from hypothesis import HealthCheck, given, settings

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.domain.ids import AgentId, SpanId, TenantId
from agent_tracer.server.domain.telemetry import SpanOutline
from agent_tracer.server.domain.trees import depth_first
from tests.fixtures.settled import Task, settle, tasks
from tests.fixtures.trees import Node, agent, call
from tests.integration.test_settle import SHAPES, task


def tree_of(shape: list[tuple[int, str, bool, bool, int]], trace_id: bytes) -> list[Node]:
    """Spans whose parent is any earlier number, none (0) or missing; starts in any order."""
    return [
        Node(
            number,
            parent if parent < number or parent > len(shape) else 0,
            start=start,
            attributes={
                **(agent(name) if name else {}),
                **({"task.id": "t"} if is_task else {}),
                **(call(number) if is_call else {}),
            },
            trace_id=trace_id,
        )
        for number, (parent, name, is_task, is_call, start) in enumerate(shape, 1)
    ]


def expected(nodes: list[Node]) -> list[Task]:
    """Tasks by the definition, span by span."""
    by_number = {node.number: node for node in nodes}
    outline = [
        SpanOutline(
            SpanId(n.number.to_bytes(8, "big")),
            SpanId(n.parent.to_bytes(8, "big")) if n.parent else None,
            round(n.start * 1e9),
            AgentId(str(n.attributes.get("gen_ai.agent.id", ""))),
        )
        for n in nodes
    ]
    agents = {int.from_bytes(p.span.span_id, "big"): p.agent_id for p in depth_first(outline)}

    def is_task(node: Node) -> bool:
        own = node.attributes.get("gen_ai.agent.id", "")
        return "task.id" in node.attributes or (own != "" and agents.get(node.parent, "") != own)

    owned: dict[int, list[int]] = {node.number: [] for node in nodes if is_task(node)}
    for node in nodes:
        above: Node | None = node
        while above is not None and above.number not in owned:
            above = by_number.get(above.parent)
        if above is not None and "gen_ai.operation.name" in node.attributes:
            owned[above.number].append(node.number)
    return [task(n, agents[n], len(calls), sum(calls)) for n, calls in sorted(owned.items())]


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(SHAPES)
async def test_tasks_are_those_of_the_definition(
    engine: Engine, tenant: TenantId, shapes: list[list[tuple[int, str, bool, bool, int]]]
) -> None:
    tenant = TenantId(f"{tenant}-{time.time_ns()}")
    trees = [tree_of(shape, number.to_bytes(16, "big")) for number, shape in enumerate(shapes, 1)]
    await settle(engine, tenant, [node for tree in trees for node in tree])
    assert await tasks(engine, tenant) == [found for tree in trees for found in expected(tree)]
