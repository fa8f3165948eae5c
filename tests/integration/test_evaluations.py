"""Judgements of traces on the real store, and of such that are deleted meanwhile."""

import time

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.domain.errors import TraceNotFoundError
from agent_tracer.server.domain.evaluations import EvaluationDraft
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import Trace
from agent_tracer.server.services.evaluations import Evaluations
from tests.fixtures.engine import load
from tests.fixtures.trees import TRACE_ID, Node, request
from tests.unit.test_similar_traces import Loaded

KEY = OtelTraceId(TRACE_ID)
DRAFT = EvaluationDraft(name="helpful", score=0.5)


class DeletedWhenLookedAt(ClickHouseStore):
    """Somebody else deletes a trace right after it was seen."""

    async def trace(self, tenant: TenantId, trace_id: OtelTraceId) -> Trace | None:
        found = await super().trace(tenant, trace_id)
        await self.delete_trace(tenant, trace_id)
        return found


def evaluations(store: ClickHouseStore) -> Evaluations:
    return Evaluations(
        reader=store,
        store=store,
        loaded=Loaded(),  # type: ignore[arg-type]
        clock_ns=time.time_ns,
        new_id=lambda: "one",
    )


async def send(engine: Engine, tenant: TenantId) -> None:
    await load(engine, tenant, Signal.TRACES, [request([Node(1)])])


async def judged(engine: Engine, tenant: TenantId) -> list[str]:
    found = await ClickHouseStore(engine).trace(tenant, KEY)
    assert found is not None
    return [one.evaluation_id for one in found.evaluations]


async def test_a_judgement_is_kept_with_its_trace(engine: Engine, tenant: TenantId) -> None:
    await send(engine, tenant)
    assert (await evaluations(ClickHouseStore(engine)).create(tenant, KEY.hex(), DRAFT)).evaluation_id == "one"
    assert await judged(engine, tenant) == ["one"]


async def test_a_judgement_of_a_trace_that_is_deleted_meanwhile_is_refused_and_does_not_come_back_with_its_id(
    engine: Engine, tenant: TenantId
) -> None:
    await send(engine, tenant)
    with pytest.raises(TraceNotFoundError):
        await evaluations(DeletedWhenLookedAt(engine)).create(tenant, KEY.hex(), DRAFT)
    await send(engine, tenant)
    assert await judged(engine, tenant) == []
