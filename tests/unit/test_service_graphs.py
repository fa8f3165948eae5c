"""What an answer of the service graph says that it lacks."""

from collections.abc import Sequence

from agent_tracer.server.domain.graph.records import Graph, GraphLimit
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.services.service_graphs import ServiceGraphs
from agent_tracer.server.services.settled_reads import BEHIND
from tests.unit.test_graph_projector import MemoryGraph, projector


class Empty:
    """A GraphReader, as far as it is asked here."""

    async def graph(self, tenant: TenantId, time_range: TimeRange, limit: GraphLimit) -> Graph:
        del tenant, time_range, limit
        return Graph(left_out=3)


async def test_an_answer_that_did_not_wait_for_everything_says_so_first() -> None:
    async def behind() -> Sequence[str]:
        return (BEHIND,)

    graphs = ServiceGraphs(
        store=Empty(),  # type: ignore[arg-type]
        projector=projector(MemoryGraph()),
        replica=None,
        catch_up=behind,
        clock_ns=lambda: 10**18,
    )
    found = await graphs.graph(TenantId("one"), "1h")
    assert found.caveats[0] == BEHIND
    assert len(found.caveats) == 2
