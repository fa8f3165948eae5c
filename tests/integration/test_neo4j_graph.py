"""A Neo4j that is down, slow, or refuses; and one that gets what it missed."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.graph import ClickHouseGraph
from agent_tracer.server.adapters.clickhouse.graph_source import ClickHouseGraphSource
from agent_tracer.server.adapters.neo4j_graph import Neo4jGraph, connection
from agent_tracer.server.domain.graph.records import BUCKET_NS, Graph, GraphFact, NodeKey, NodeKind
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.incidents import Incident, IncidentSource, IncidentStatus
from agent_tracer.server.domain.rca.analysis import RootCause
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import GRAPH_CALL_SECONDS_MAX
from agent_tracer.server.ports.graph import GraphDownError, GraphRefusedError, Touched
from agent_tracer.server.services import graph_replica
from agent_tracer.server.services.graph_projector import GraphProjector
from agent_tracer.server.services.graph_replica import GraphReplica
from agent_tracer.server.services.incident_graph import IncidentGraph
from agent_tracer.server.services.service_graphs import ServiceGraphs
from tests.fixtures.graphs import AMPLE, bucket, edge, service
from tests.fixtures.neo4j import started_neo4j
from tests.fixtures.program import free_ports
from tests.servers.neo4j.running import USER, Neo4jServer

SHOP, CART, STOCK = map(service, ("shop", "cart", "stock"))
ROOT = Path(__file__).parents[2]
SECRET = "very-secret-1"  # noqa: S105 - of nobody


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_replica, "GRAPH_RETRY_SECONDS_MIN", 0.05)
    monkeypatch.setattr(graph_replica, "GRAPH_RETRY_SECONDS_MAX", 0.2)


@pytest.fixture(scope="module")
def own_neo4j(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """One that tests stop and start."""
    yield from started_neo4j(request, tmp_path_factory.mktemp("own-neo4j"))


class Unmoved(ClickHouseGraphSource):
    """No calls were settled: those of other tests in the store are not waited for."""

    async def touched(self, *, after_ns: int, limit: int) -> Touched:
        del after_ns, limit
        return Touched((), 0)


class Parts:
    """Everything between the store and Neo4j, at the clock's time."""

    def __init__(self, engine: Engine, neo4j: Neo4jGraph) -> None:
        self.store = ClickHouseGraph(engine)
        self.replica = GraphReplica(log=self.store, target=neo4j, clock_ns=time.time_ns)
        self.projector = GraphProjector(
            source=Unmoved(engine),
            store=self.store,
            settle=self._nothing,
            clock_ns=time.time_ns,
            replica=self.replica,
        )
        self.graphs = ServiceGraphs(
            store=self.store,
            projector=self.projector,
            replica=self.replica,
            catch_up=self._caught_up,
            clock_ns=time.time_ns,
        )

    async def _nothing(self) -> None:
        """All is settled."""

    async def _caught_up(self) -> Sequence[str]:
        await self.projector.settled()
        return ()

    async def call(self, tenant: TenantId, *targets: NodeKey) -> None:
        """Calls of the shop, just now."""
        version = time.time_ns()
        made = bucket(tenant, 0, [edge(SHOP, target, 1, 2) for target in targets], version=version)
        now = version - version % BUCKET_NS
        await self.store.put([replace(made, start_ns=now)])
        self.replica.wake()


@asynccontextmanager
async def parts(engine: Engine, server: Neo4jGraph) -> AsyncIterator[Parts]:
    made = Parts(engine, server)
    running = asyncio.create_task(made.replica.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def graph_at(port: int, password: str = SECRET) -> Neo4jGraph:
    return Neo4jGraph(f"bolt://127.0.0.1:{port}", USER, password)


def targets(graph: Graph) -> set[NodeKey]:
    return {one.target for one in graph.edges}


def last_hour() -> TimeRange:
    now = time.time_ns()
    return TimeRange(now - 3600 * 10**9, now)


async def test_a_server_that_is_down_is_told_and_the_store_answers(engine: Engine, tenant: TenantId) -> None:
    down = graph_at(free_ports(1)[0])
    with pytest.raises(GraphDownError, match=r"correlation\.neo4j\.uri") as raised:
        await down.versions()
    assert SECRET not in str(raised.value)
    async with parts(engine, down) as made:
        await made.call(tenant, CART)
        started = time.perf_counter()
        found = await made.graphs.graph(tenant, "1h")
        assert time.perf_counter() - started < GRAPH_CALL_SECONDS_MAX
        assert targets(found.graph) == {CART}
        assert any("correlation.neo4j.uri" in caveat and "store" in caveat for caveat in found.caveats)


async def test_a_server_that_never_answers_is_given_up(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GRAPH_CALL_SECONDS_MAX", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = graph_at(listening.getsockname()[1])
        await _is_given_up(engine, tenant, silent)


async def _is_given_up(engine: Engine, tenant: TenantId, silent: Neo4jGraph) -> None:
    async with parts(engine, silent) as made:
        await made.call(tenant, CART)
        started = time.perf_counter()
        found = await made.graphs.graph(tenant, "1h")
        assert time.perf_counter() - started < GRAPH_CALL_SECONDS_MAX
        assert targets(found.graph) == {CART}
        assert any("correlation.neo4j.uri" in caveat for caveat in found.caveats)


async def test_an_address_of_something_else_is_refused() -> None:
    listening = await asyncio.start_server(_answer_http, "127.0.0.1", 0)
    async with listening:
        graph = graph_at(listening.sockets[0].getsockname()[1])
        with pytest.raises(GraphDownError, match=r"correlation\.neo4j\.uri"):
            await graph.versions()
        await graph.aclose()


async def _answer_http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.servers
async def test_a_wrong_password_names_the_settings(own_neo4j: Neo4jServer, engine: Engine, tenant: TenantId) -> None:
    wrong = graph_at(own_neo4j.port, SECRET)
    with pytest.raises(GraphRefusedError, match=r"correlation\.neo4j\.password") as raised:
        await wrong.versions()
    assert SECRET not in str(raised.value)
    await wrong.aclose()
    no_database = Neo4jGraph(own_neo4j.uri, USER, own_neo4j.password, "nowhere")
    with pytest.raises(GraphRefusedError, match="database"):
        await no_database.versions()
    await no_database.aclose()
    async with parts(engine, graph_at(own_neo4j.port, SECRET)) as made:
        await made.call(tenant, CART)
        found = await made.graphs.graph(tenant, "1h")
        assert targets(found.graph) == {CART}
        assert any("correlation.neo4j.password" in caveat for caveat in found.caveats)


@pytest.mark.servers
async def test_a_server_that_was_down_gets_what_it_missed(
    own_neo4j: Neo4jServer, engine: Engine, tenant: TenantId
) -> None:
    neo4j = graph_at(own_neo4j.port, own_neo4j.password)
    async with parts(engine, neo4j) as made:
        await made.call(tenant, CART)
        await _current(made.replica)
        assert targets(await neo4j.graph(tenant, last_hour(), AMPLE)) == {CART}
        assert (await made.graphs.graph(tenant, "1h")).caveats == []
        await asyncio.to_thread(own_neo4j.kill)
        await made.call(tenant, CART, STOCK)
        told = await made.graphs.graph(tenant, "1h")
        assert targets(told.graph) == {CART, STOCK}
        assert told.caveats
        await IncidentGraph(made.projector.keep_facts).note(
            tenant, _outage("down"), RootCause("stock", "out of disk", 0.9)
        )
        await asyncio.to_thread(own_neo4j.start)
        await _current(made.replica)
        assert targets(await neo4j.graph(tenant, last_hour(), AMPLE)) == {CART, STOCK}
        rows = await neo4j._connection.rows(
            "MATCH (:Incident {tenant: $tenant})-[:CAUSED_BY]->(c:Cause)-[:LIES_IN]->(s:Service) RETURN c.name, s.name",
            {"tenant": tenant},
        )
        assert rows == [["out of disk", "stock"]]
        assert (await made.graphs.graph(tenant, "1h")).caveats == []


@pytest.mark.servers
async def test_an_emptied_server_is_filled_again(own_neo4j: Neo4jServer, engine: Engine, tenant: TenantId) -> None:
    neo4j = graph_at(own_neo4j.port, own_neo4j.password)
    async with parts(engine, neo4j) as made:
        await made.call(tenant, CART)
        await _current(made.replica)
    other = graph_at(own_neo4j.port, own_neo4j.password)
    await other._connection.rows("MATCH (n) DETACH DELETE n", {})
    async with parts(engine, other) as made:
        await _current(made.replica)
        assert targets(await other.graph(tenant, last_hour(), AMPLE)) == {CART}


@pytest.mark.servers
async def test_the_queries_of_the_documentation_find_something(own_neo4j: Neo4jServer) -> None:
    checkout, gpt = service("checkout"), NodeKey(NodeKind.MODEL, "gpt-5-mini")
    planner, lead = NodeKey(NodeKind.AGENT, "planner"), NodeKey(NodeKind.AGENT, "lead")
    tenant, now = TenantId("documentation"), time.time_ns()
    calls = [edge(checkout, lead, 5), edge(lead, planner, 5, errors=1), edge(planner, gpt, 1)]
    made = bucket(tenant, 0, calls)
    neo4j = graph_at(own_neo4j.port, own_neo4j.password)
    await neo4j.put([replace(made, start_ns=now - now % BUCKET_NS)])
    about = {"title": "slow", "start_ns": now}
    await neo4j.put_facts(
        [
            GraphFact(tenant, NodeKey(NodeKind.INCIDENT, "i"), checkout, **about),  # type: ignore[arg-type]
            GraphFact(tenant, NodeKey(NodeKind.CAUSE, "i"), planner, **about),  # type: ignore[arg-type]
        ]
    )
    queries = re.findall("```cypher\n(.*?)```", (ROOT / "docs" / "graph.md").read_text(), re.DOTALL)
    assert len(queries) == 5
    for query in queries:
        assert await neo4j._connection.rows(query, {}), query
    await neo4j.aclose()


@pytest.mark.servers
async def test_what_is_old_leaves(own_neo4j: Neo4jServer, tenant: TenantId) -> None:
    neo4j = graph_at(own_neo4j.port, own_neo4j.password)
    await neo4j.put([bucket(tenant, 0, [edge(SHOP, CART, 1)]), bucket(tenant, 1, [edge(SHOP, STOCK, 1)])])
    second = bucket(tenant, 1, []).start_ns
    await neo4j.trim(second)
    everything = TimeRange(second - BUCKET_NS, second + BUCKET_NS)
    assert targets(await neo4j.graph(tenant, everything, AMPLE)) == {STOCK}
    left = await neo4j._connection.rows(
        "MATCH (n:TracedNode {tenant: $tenant}) RETURN n.id ORDER BY n.id", {"tenant": tenant}
    )
    assert left == [["shop"], ["stock"]]
    await neo4j.aclose()


def _outage(name: str) -> Incident:
    return Incident(
        name, "the shop is down", IncidentStatus.OPEN, "critical", "shop", time.time_ns(), None, IncidentSource.API
    )


async def _current(replica: GraphReplica) -> None:
    """Wait until it has everything; pytest's timeout guards it."""
    while replica.problem:
        await asyncio.sleep(0.05)  # it is asked as its readers ask it
