"""Scores are published without anybody asking, of agents that have worked, once each time."""

import time
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from agent_tracer.server.adapters.clickhouse.archive import ClickHouseArchive
from agent_tracer.server.adapters.clickhouse.busy_agents import ClickHouseBusyAgents
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.task_store import ClickHouseTasks
from agent_tracer.server.adapters.score_metrics import PrometheusScores
from agent_tracer.server.domain.ids import AgentId, TenantId
from agent_tracer.server.limits import SCORE_PUBLISH_AGENTS, SCORED_AGENTS_MAX
from agent_tracer.server.ports.busy_agents import BusyAgent
from agent_tracer.server.ports.store import StoreDownError
from agent_tracer.server.services.agent_scores import AgentScores
from agent_tracer.server.services.score_publisher import ScorePublisher
from tests.fixtures.settled import settle
from tests.fixtures.trees import NOON_NS, SECOND_NS, Node, agent

START_SECONDS = -100 * 86400
"""A day on which no other test has tasks: all of them share a store."""
NOW_NS = NOON_NS + (START_SECONDS + 3600) * SECOND_NS


class Publishing:
    """A publisher over the real store that remembers whom it scored; its clock stands an hour after the tasks."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.scored: list[tuple[TenantId, AgentId]] = []
        self._scores = AgentScores(
            reader=ClickHouseTasks(engine),
            archive=ClickHouseArchive(engine),
            metrics=PrometheusScores(self.registry),
            catch_up=_nobody_waits,
            clock_ns=lambda: NOW_NS,
            new_id=lambda: "id",
            evaluation_weights={},
        )
        self.publisher = ScorePublisher(
            agents=ClickHouseBusyAgents(engine), scorer=self, settled=_nothing, clock_ns=lambda: NOW_NS
        )

    async def publish(self, tenant: TenantId, agent_id: AgentId) -> None:
        self.scored.append((tenant, agent_id))
        await self._scores.publish(tenant, agent_id)

    async def publish_for(self, tenant: TenantId) -> list[str]:
        """Publish until nothing is left; the tenant's agents that were scored."""
        self.scored.clear()
        before = -1
        while len(self.scored) > before:
            before = len(self.scored)
            await self.publisher.publish_some()
        return sorted(agent_id for of, agent_id in self.scored if of == tenant)

    def value(self, agent_id: str, dimension: str = "overall") -> float | None:
        return self.registry.get_sample_value("agent_tracer_ace_score", {"agent_id": agent_id, "dimension": dimension})


async def _nobody_waits() -> Sequence[str]:
    return ()


async def _nothing() -> None:
    pass


def task(number: int, name: str, *, failed: bool = False) -> Node:
    trace_id = (time.time_ns() + number).to_bytes(16, "big")
    return Node(number, start=START_SECONDS, attributes=agent(name), failed=failed, trace_id=trace_id)


async def test_an_agent_is_scored_when_it_has_worked_and_only_then(engine: Engine, tenant: TenantId) -> None:
    publishing, settler = Publishing(engine), ClickHouseSettler(engine)
    await publishing.publish_for(tenant)
    name = f"agent-{time.time_ns()}"
    await settle(engine, tenant, [task(1, name)], settler=settler)
    assert await publishing.publish_for(tenant) == [name]
    first = publishing.value(name, "overall")
    assert first is not None
    assert 0 < first <= 1
    assert await publishing.publish_for(tenant) == [], "nothing is new"
    await settle(engine, tenant, [task(2, name, failed=True)], settler=settler)
    assert await publishing.publish_for(tenant) == [name]
    second = publishing.value(name, "overall")
    assert second is not None
    assert second < first


async def test_what_is_published_unasked_is_not_kept(engine: Engine, tenant: TenantId) -> None:
    publishing = Publishing(engine)
    await settle(engine, tenant, [task(1, "one")])
    assert await publishing.publish_for(tenant) == ["one"]
    assert await ClickHouseArchive(engine).scores(tenant, "", limit=10, after=None) == []


async def test_more_agents_than_one_turn_takes_have_all_their_turn(engine: Engine, tenant: TenantId) -> None:
    publishing, settler = Publishing(engine), ClickHouseSettler(engine)
    await publishing.publish_for(tenant)
    publishing.scored.clear()
    count = SCORE_PUBLISH_AGENTS + 5
    await settle(engine, tenant, [task(n, f"agent {n:03}") for n in range(1, count + 1)], settler=settler)
    await publishing.publisher.publish_some()
    assert len(publishing.scored) == SCORE_PUBLISH_AGENTS
    await publishing.publisher.publish_some()
    assert sorted(agent_id for _, agent_id in publishing.scored) == [f"agent {n:03}" for n in range(1, count + 1)]


async def test_an_agent_whose_score_failed_with_the_store_is_scored_when_it_answers_again() -> None:
    agents, scorer = OneBusyAgent(), FailingScorer()
    publisher = ScorePublisher(agents=agents, scorer=scorer, settled=_nothing, clock_ns=lambda: NOW_NS)
    with pytest.raises(StoreDownError):
        await publisher.publish_some()
    await publisher.publish_some()
    assert scorer.scored == ["a"]
    assert agents.asked == [0, 7], "the second look asks for what was settled after the first"


class OneBusyAgent:
    """ports.busy_agents.BusyAgents of which one has worked once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def busy(self, *, settled_after_ns: int, started_from_ns: int, limit: int) -> Sequence[BusyAgent]:
        assert (started_from_ns, limit) == (NOW_NS - 86_400 * SECOND_NS, SCORED_AGENTS_MAX)
        self.asked.append(settled_after_ns)
        return [BusyAgent(TenantId("t"), AgentId("a"), 7)] if settled_after_ns < 7 else []


class FailingScorer:
    """Meets a store that is down the first time."""

    def __init__(self) -> None:
        self.scored: list[str] = []
        self._is_down = True

    async def publish(self, tenant: TenantId, agent_id: AgentId) -> None:
        assert tenant == "t"
        if self._is_down:
            self._is_down = False
            raise StoreDownError("down")
        self.scored.append(agent_id)
