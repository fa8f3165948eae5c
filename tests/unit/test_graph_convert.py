"""The service graph's message: figures, ids that are told apart, counts that do not fit."""

import pytest

from agent_tracer.server.api.graph_convert import service_graph_to, unique_ids
from agent_tracer.server.domain.graph.records import EdgeCalls, Graph, NodeCalls, NodeKey, NodeKind
from agent_tracer.server.services.service_graphs import ServiceGraph
from tests.fixtures.graphs import edge, node, service

SHOP, CART = service("shop"), service("cart")


def test_figures_are_milliseconds() -> None:
    graph = Graph([node(CART, 10, 20, errors=1), node(SHOP)], [edge(SHOP, CART, 10, 20, errors=1, gaps=[3])])
    made = service_graph_to(ServiceGraph(graph, ["one"]))
    assert [(one.id, one.kind, one.call_count, one.error_count) for one in made.nodes] == [
        ("cart", "service", 2, 1),
        ("shop", "service", 0, 0),
    ]
    (only,) = made.edges
    assert (only.source, only.target, only.call_count, only.error_count) == ("shop", "cart", 2, 1)
    assert only.duration_p95 == made.nodes[0].duration_p95 == pytest.approx(20, rel=0.025)
    assert only.gap_p95 == pytest.approx(3, rel=0.025)
    assert list(made.caveats) == ["one"]


def test_ids_that_several_kinds_have_are_told_apart() -> None:
    agent, tool = NodeKey(NodeKind.AGENT, "shop"), NodeKey(NodeKind.TOOL, "shop")
    odd = service("agent:shop")
    assert unique_ids([tool, agent, SHOP, CART, odd]) == {
        SHOP: "shop",
        CART: "cart",
        odd: "agent:shop",
        agent: "agent:agent:shop",
        tool: "tool:shop",
    }
    made = service_graph_to(ServiceGraph(Graph([node(SHOP), node(agent)], [edge(SHOP, agent, 1)]), []))
    assert (made.edges[0].source, made.edges[0].target) == ("shop", "agent:shop")


def test_counts_past_their_field_are_cut() -> None:
    graph = Graph([NodeCalls(SHOP, 2**40, 2**33), NodeCalls(CART)], [EdgeCalls(SHOP, CART, 2**40)])
    made = service_graph_to(ServiceGraph(graph, []))
    assert (made.nodes[0].call_count, made.edges[0].call_count) == (2**31 - 1, 2**31 - 1)
