"""GetServiceGraph against the started program, right after spans were sent; and with Neo4j beside it."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.v1 import correlation_pb2
from tests.e2e.otlp import attribute, otlp_span, send, span_id, spans_request
from tests.e2e.talk import SECOND_NS, TRACES, counted, message, refusal, rest, unique, wrong_fields
from tests.fixtures.neo4j import neo4j
from tests.fixtures.program import Program, free_ports, running_program
from tests.servers.neo4j.running import USER, Neo4jServer

__all__ = ["neo4j"]

GRAPH = "/api/v1/graph"
INCOMPLETE = ("not counted yet", "not caught up")
"""In caveats of answers that may lack calls."""


@pytest.fixture
def api(program: Program) -> Iterator[httpx.Client]:
    with rest(program) as client:
        yield client


def graph_of(client: httpx.Client, period: str = "") -> correlation_pb2.ServiceGraph:
    """Once no call is said to be missing."""
    asked = {"period": period} if period else {}
    return counted(
        lambda: message(client.get(GRAPH, params=asked), correlation_pb2.ServiceGraph),
        lambda found: not any(told in caveat for caveat in found.caveats for told in INCOMPLETE),
    )


def send_calls(program: Program, caller: str, callee: str, *, failed: bool = False) -> bytes:
    """A client's span of 30 ms in one service, a server's of 20 ms in another, with a database under it."""
    trace_id, now = os.urandom(16), time.time_ns() - SECOND_NS
    call = _lasting(otlp_span(trace_id, 1, 0, start_ns=now), 30)
    call.kind = Span.SPAN_KIND_CLIENT
    served = _lasting(otlp_span(trace_id, 2, 1, start_ns=now), 20)
    served.kind = Span.SPAN_KIND_SERVER
    query = _lasting(otlp_span(trace_id, 3, 2, start_ns=now), 5)
    query.kind = Span.SPAN_KIND_CLIENT
    query.attributes.extend([attribute("db.system.name", "mysql"), attribute("db.namespace", f"{callee}-db")])
    if failed:
        served.status.code = Status.STATUS_CODE_ERROR
    send(program, spans_request(call, service=caller))
    send(program, spans_request(served, query, service=callee))
    return trace_id


def _lasting(span: Span, ms: int) -> Span:
    span.end_time_unix_nano = span.start_time_unix_nano + ms * 1_000_000
    return span


def send_run(program: Program, service: str, planner: str, coder: str) -> None:
    """A planner that calls a model and hands over to a coder, who calls a tool."""
    trace_id, now = os.urandom(16), time.time_ns() - SECOND_NS
    spans = (
        (1, 0, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": planner}),
        (2, 1, {"gen_ai.operation.name": "chat", "gen_ai.request.model": f"{planner}-model"}),
        (3, 1, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": coder}),
        (4, 3, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": f"{coder}-tool"}),
    )
    made = [otlp_span(trace_id, number, parent, of, start_ns=now) for number, parent, of in spans]
    assert made[1].parent_span_id == span_id(1)
    send(program, spans_request(*made, service=service))


def edges(graph: correlation_pb2.ServiceGraph, *names: str) -> dict[tuple[str, str], correlation_pb2.ServiceEdge]:
    """Those among these components: the program is shared."""
    return {(one.source, one.target): one for one in graph.edges if one.source in names and one.target in names}


def kinds(graph: correlation_pb2.ServiceGraph, names: Sequence[str]) -> dict[str, str]:
    return {one.id: one.kind for one in graph.nodes if one.id in names}


def test_services_are_in_the_graph_right_after_their_spans_were_sent(program: Program, api: httpx.Client) -> None:
    web, cart = unique("web"), unique("cart")
    for number in range(3):
        send_calls(program, web, cart, failed=number == 0)
    database = f"mysql/{cart}-db"
    found = graph_of(api)
    assert kinds(found, [web, cart, database]) == {web: "service", cart: "service", database: "database"}
    called = edges(found, web, cart, database)
    assert set(called) == {(web, cart), (cart, database)}
    call = called[web, cart]
    assert (call.call_count, call.error_count) == (3, 1)
    assert call.duration_p95 == pytest.approx(20, rel=0.03)
    assert call.gap_p95 == pytest.approx(10, rel=0.03)
    (node,) = (one for one in found.nodes if one.id == cart)
    assert (node.call_count, node.error_count) == (3, 1)


def test_agents_call_agents_models_and_tools(program: Program, api: httpx.Client) -> None:
    names = service, planner, coder = unique("crew"), unique("planner"), unique("coder")
    send_run(program, *names)
    others = (f"{planner}-model", f"{coder}-tool")
    found = graph_of(api, "15m")
    assert kinds(found, [*names, *others]) == dict(
        zip((*names, *others), ("service", "agent", "agent", "model", "tool"), strict=True)
    )
    assert set(edges(found, *names, *others)) == {
        (service, planner),
        (planner, f"{planner}-model"),
        (planner, coder),
        (coder, f"{coder}-tool"),
    }


def test_a_deleted_trace_is_counted_no_more(program: Program, api: httpx.Client) -> None:
    web, cart = unique("web"), unique("cart")
    kept, gone = (send_calls(program, web, cart) for _ in range(2))
    assert kept != gone
    assert edges(graph_of(api), web, cart)[web, cart].call_count == 2
    with rest(program) as traces:
        assert traces.delete(f"{TRACES}/{gone.hex()}").status_code == 200
    assert edges(graph_of(api), web, cart)[web, cart].call_count == 1


def test_a_malformed_period_is_refused(api: httpx.Client) -> None:
    assert wrong_fields(refusal(api.get(GRAPH, params={"period": "soon"}))) == ["period"]


def test_the_command_prints_who_calls_whom(program: Program, api: httpx.Client) -> None:
    web, cart = unique("web"), unique("cart")
    send_calls(program, web, cart)
    assert (web, cart) in edges(graph_of(api, "15m"), web, cart)
    found = json.loads(program.run("graph", "--period", "15m", "--json").stdout)
    assert {(one["source"], one["target"]) for one in found["edges"]} >= {(web, cart), (cart, f"mysql/{cart}-db")}
    shown = program.run("graph", "--limit", "100000").stdout
    assert web in shown
    assert "CALLER" in shown


def test_a_graph_database_that_is_down_holds_up_nothing(tmp_path: Path) -> None:
    with _with_neo4j(tmp_path, f"bolt://127.0.0.1:{free_ports(1)[0]}", "no-such-password") as started:
        send_calls(started, "web", "cart")
        with rest(started) as client:
            found = graph_of(client)
            assert set(edges(found, "web", "cart")) == {("web", "cart")}
            # Until the driver has failed, the answer says no more than that the database lacks the latest calls.
            told = counted(lambda: graph_of(client), lambda found: "correlation.neo4j.uri" in str(found.caveats))
        assert "correlation.neo4j.uri" in str(told.caveats)
        assert found.caveats
        assert "no-such-password" not in started.log
        assert started.stop() == 0


@pytest.mark.servers
def test_neo4j_holds_the_graph_and_answers(tmp_path: Path, neo4j: Neo4jServer) -> None:
    with _with_neo4j(tmp_path, neo4j.uri, neo4j.password) as started:
        web, cart = unique("web"), unique("cart")
        until = time.monotonic() + 180
        send_calls(started, web, cart)
        with rest(started) as client:
            found = graph_of(client)
            while found.caveats and time.monotonic() < until:  # the driver and the server warm up
                found = graph_of(client)
        assert list(found.caveats) == []
        assert edges(found, web, cart)[web, cart].call_count == 1
        assert started.stop() == 0


def _with_neo4j(folder: Path, uri: str, password: str) -> AbstractContextManager[Program]:
    settings = {"uri": uri, "user": USER, "password": password}
    return running_program(folder / "program", correlation={"neo4j": settings})
