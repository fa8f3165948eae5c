"""What the graph looks like in Neo4j, as Cypher.

Components are nodes `TracedNode` with a second label of their kind (Service, Agent, ...). CALLED is what one called
another in five minutes; CALLS is there once for two that ever called, so that the graph can be looked at. A
TracedPeriod SAW the components of five minutes. Incidents AFFECT components, are CAUSED_BY causes, which
LIE_IN components.
"""

from collections.abc import Mapping
from typing import Final

from agent_tracer.server.domain.graph.records import NodeKind
from agent_tracer.server.limits import GRAPH_FACTS_READ_MAX, GRAPH_PAIRS_MAX

LABELS: Final[Mapping[NodeKind, str]] = {kind: kind.value.capitalize() for kind in NodeKind}

SCHEMA: Final = (
    "CREATE CONSTRAINT traced_node IF NOT EXISTS FOR (n:TracedNode) REQUIRE (n.tenant, n.kind, n.id) IS UNIQUE",
    "CREATE CONSTRAINT traced_period IF NOT EXISTS FOR (p:TracedPeriod) REQUIRE (p.tenant, p.start) IS UNIQUE",
    "CREATE CONSTRAINT traced_state IF NOT EXISTS FOR (s:TracedState) REQUIRE s.name IS UNIQUE",
    "CREATE INDEX traced_period_start IF NOT EXISTS FOR (p:TracedPeriod) ON (p.start)",
    "CREATE INDEX traced_called IF NOT EXISTS FOR ()-[c:CALLED]-() ON (c.tenant, c.start)",
)

_PERIOD: Final = "(p:TracedPeriod {tenant: $tenant, start: $start})"

CLEAR_PERIOD: Final = f"MATCH {_PERIOD}-[s:SAW]->() DELETE s"
CLEAR_CALLED: Final = "MATCH ()-[c:CALLED]->() WHERE c.tenant = $tenant AND c.start = $start DELETE c"
KEEP_PERIOD: Final = f"MERGE {_PERIOD} SET p.version = $version, p.left_out = $left_out"

KEEP_NODES: Final = """
UNWIND $ids AS id
MERGE (n:TracedNode {{tenant: $tenant, kind: $kind, id: id}}) ON CREATE SET n:{label}, n.name = id
"""

KEEP_SAW: Final = f"""
MATCH {_PERIOD} UNWIND $rows AS row
MATCH (n:TracedNode {{tenant: $tenant, kind: row[0], id: row[1]}})
CREATE (p)-[:SAW {{calls: row[2], errors: row[3], bins: row[4], counts: row[5]}}]->(n)
"""

KEEP_CALLED: Final = """
UNWIND $rows AS row
MATCH (a:TracedNode {tenant: $tenant, kind: row[0], id: row[1]})
MATCH (b:TracedNode {tenant: $tenant, kind: row[2], id: row[3]})
CREATE (a)-[:CALLED {tenant: $tenant, start: $start, calls: row[4], errors: row[5], duration_p95_ms: row[6],
  bins: row[7], counts: row[8], gap_bins: row[9], gap_counts: row[10]}]->(b)
MERGE (a)-[k:CALLS]->(b)
ON CREATE SET k.first = $start, k.last = $start
ON MATCH SET k.first = CASE WHEN k.first > $start THEN $start ELSE k.first END,
  k.last = CASE WHEN k.last < $start THEN $start ELSE k.last END
"""

KEEP_STATE: Final = """
MERGE (s:TracedState {name: $name})
SET s.version = CASE WHEN coalesce(s.version, 0) < $version THEN $version ELSE s.version END
"""
STATES: Final = "MATCH (s:TracedState) RETURN s.name, s.version"

_WINDOW: Final = """
MATCH (a:TracedNode)-[c:CALLED]->(b:TracedNode) USING INDEX c:CALLED(tenant, start)
WHERE c.tenant = $tenant AND c.start >= $from AND c.start < $to
"""
_SEEN: Final = """
MATCH (p:TracedPeriod)-[s:SAW]->(n:TracedNode) WHERE p.tenant = $tenant AND p.start >= $from AND p.start < $to
"""
_ENDS: Final = "a.kind AS a_kind, a.id AS a_id, b.kind AS b_kind, b.id AS b_id"

NODES: Final = f"""
{_SEEN} RETURN n.kind AS kind, n.id AS id, sum(s.calls) AS calls, sum(s.errors) ORDER BY calls DESC, kind, id
"""
NODE_BINS: Final = f"""
{_SEEN} UNWIND range(0, size(s.bins) - 1) AS i
WITH n, s.bins[i] AS bin, sum(s.counts[i]) AS total RETURN n.kind, n.id, collect([bin, total])
"""
EDGES: Final = f"""
{_WINDOW} RETURN {_ENDS}, sum(c.calls) AS calls, sum(c.errors)
ORDER BY calls DESC, a_kind, a_id, b_kind, b_id LIMIT {GRAPH_PAIRS_MAX}
"""
EDGE_BINS: Final = f"""
{_WINDOW} UNWIND range(0, size(c.bins) - 1) AS i
WITH a, b, c.bins[i] AS bin, sum(c.counts[i]) AS total RETURN {_ENDS}, collect([bin, total])
"""
EDGE_GAPS: Final = EDGE_BINS.replace("c.bins", "c.gap_bins").replace("c.counts", "c.gap_counts")
LEFT_OUT: Final = """
MATCH (p:TracedPeriod) WHERE p.tenant = $tenant AND p.start >= $from AND p.start < $to
RETURN coalesce(sum(p.left_out), 0)
"""

KEEP_FACT: Final = """
MATCH (f:TracedNode {{tenant: $tenant, kind: $kind, id: $id}})
MATCH (n:TracedNode {{tenant: $tenant, kind: $about_kind, id: $about}})
SET f.name = $title, f.confidence = $confidence
WITH f, n OPTIONAL MATCH (f)-[former:AFFECTS|LIES_IN]->() DELETE former
WITH DISTINCT f, n CREATE (f)-[:{relation} {{start: $start, end: $end}}]->(n)
"""
LINK_CAUSE: Final = """
MATCH (i:TracedNode {tenant: $tenant, kind: 'incident', id: $id})
MATCH (c:TracedNode {tenant: $tenant, kind: 'cause', id: $id})
MERGE (i)-[:CAUSED_BY]->(c)
"""
FACTS: Final = f"""
MATCH (f:TracedNode)-[r:AFFECTS|LIES_IN]->(n:TracedNode)
WHERE f.tenant = $tenant AND f.kind IN ['incident', 'cause'] AND f.id >= ''
  AND r.start < $to AND (r.end IS NULL OR r.end >= $from)
RETURN f.kind, f.id, n.kind, n.id ORDER BY r.start DESC, f.kind, f.id LIMIT {GRAPH_FACTS_READ_MAX}
"""

OLD_PERIODS: Final = """
MATCH (p:TracedPeriod) WHERE p.start < $from RETURN p.tenant, p.start.epochSeconds ORDER BY p.start LIMIT 100
"""
DROP_PERIOD: Final = f"MATCH {_PERIOD} DETACH DELETE p"
SWEEP: Final = (
    "MATCH (a)-[k:CALLS]->(b) WHERE NOT EXISTS {(a)-[:CALLED]->(b)} WITH k LIMIT 10000 DELETE k RETURN count(*)",
    "MATCH (n:TracedNode) WHERE NOT (n)--() WITH n LIMIT 10000 DELETE n RETURN count(*)",
)
"""What stands for nothing any more; until they find none."""
