"""The graph in a Neo4j server."""

from agent_tracer.server.adapters.neo4j_graph.graph import Neo4jGraph

__all__ = ["Neo4jGraph"]
