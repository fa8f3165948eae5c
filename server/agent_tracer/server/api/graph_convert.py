"""ServiceGraph's message out of what the service found. Pure."""

from collections.abc import Iterable, Mapping

from agent_tracer.server.api.fields import int32
from agent_tracer.server.domain.checks import NS_PER_MS
from agent_tracer.server.domain.graph.histograms import Histogram
from agent_tracer.server.domain.graph.records import COMPONENTS, NodeKey
from agent_tracer.server.services.service_graphs import ServiceGraph
from agent_tracer.v1 import correlation_pb2 as pb

_P95 = 0.95


def service_graph_to(found: ServiceGraph) -> pb.ServiceGraph:
    """Durations in milliseconds; those with the most calls first. An id is a name, told apart where two share it."""
    graph = found.graph
    ids = unique_ids(one.node for one in graph.nodes)
    return pb.ServiceGraph(
        nodes=[
            pb.ServiceNode(
                id=ids[one.node],
                kind=one.node.kind,
                call_count=int32(one.calls),
                error_count=int32(one.errors),
                duration_p95=_p95(one.durations),
            )
            for one in graph.nodes
        ],
        edges=[
            pb.ServiceEdge(
                source=ids[one.source],
                target=ids[one.target],
                call_count=int32(one.calls),
                error_count=int32(one.errors),
                duration_p95=_p95(one.durations),
                gap_p95=_p95(one.gaps),
            )
            for one in graph.edges
        ],
        caveats=found.caveats,
    )


def unique_ids(nodes: Iterable[NodeKey]) -> Mapping[NodeKey, str]:
    """The node's own id; `kind:id` for all but the first kind (services first) where several kinds have that id."""
    order = list(COMPONENTS)
    taken: set[str] = set()
    ids = {}
    for node in sorted(nodes, key=lambda node: (order.index(node.kind), node.id)):
        ids[node] = node.id
        while ids[node] in taken:
            ids[node] = f"{node.kind}:{ids[node]}"
        taken.add(ids[node])
    return ids


def _p95(durations: Histogram) -> float:
    return durations.quantile_ns(_P95) / NS_PER_MS
