"""`instrument()` and the decorators against the running program: what agents write is what TraceService tells."""

import json
import uuid

import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs, unique
from tests.fixtures.agent_process import run_agent
from tests.fixtures.program import Program
from tests.fixtures.receiving import receiver

HEAD = """
import asyncio, json, os, sys
from agent_tracer.client.telemetry import instrument, agent, task, tool, workflow
"""

WORK = (
    HEAD
    + """
from opentelemetry import trace
handle = instrument({service!r}, auto=False, resource_attributes={{"deployment.environment.name": "test"}})
third = trace.get_tracer("somebody.else")

@workflow("checkout", session="s-1")
async def run():
    with agent("Planner", id="planner-1", version="2", type="planner") as span:
        await plan("go")
        return span.trace_id

@task("planning", id="t-1")
async def plan(goal):
    with third.start_as_current_span("SELECT 1"):
        return [word async for word in words()]

@tool
async def words():
    yield "a"
    yield "b"

print(asyncio.run(run()))
"""
)


def read(program: Program, trace_id: str) -> trace_pb2.Trace:
    with stubs(program.target) as stub:
        return stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=CALL_SECONDS)


def by_name(trace: trace_pb2.Trace) -> dict[str, trace_pb2.Span]:
    return {span.name: span for span in trace.spans}


@pytest.mark.parametrize("transport", ["rest", "otlp http", "otlp grpc", "grpc"])
def test_what_an_agent_does_is_read_back(program: Program, transport: str) -> None:
    url = {
        "rest": program.url,
        "otlp http": f"http://127.0.0.1:{program.otlp_http}",
        "otlp grpc": f"grpc://127.0.0.1:{program.otlp_grpc}",
        "grpc": f"grpc://{program.target}",
    }[transport]
    service = unique("service")
    ended = run_agent(WORK.format(service=service), AGENT_TRACER_URL=url)
    assert ended.err == ""
    found = read(program, ended.lines[0])
    spans = by_name(found)
    assert {name: span.kind for name, span in spans.items()} == {
        "invoke_workflow checkout": "workflow",
        "invoke_agent Planner": "agent",
        "task planning": "task",
        "SELECT 1": "internal",
        "execute_tool words": "tool",
    }
    below = {name: span.agent_id for name, span in spans.items() if name != "invoke_workflow checkout"}
    assert set(below.values()) == {"planner-1"}
    assert spans["execute_tool words"].tool_name == "words"
    assert spans["execute_tool words"].output == "ab"
    assert json.loads(spans["task planning"].input) == {"goal": "go"}
    assert {span.service for span in found.spans} == {service}
    assert found.status == "success"
    attributes = dict(spans["task planning"].attributes)
    assert (attributes["task.type"], attributes["task.id"]) == ("planning", "t-1")
    for span in found.spans:
        assert dict(span.attributes)["gen_ai.workflow.name"] == "checkout"
        assert dict(span.attributes)["gen_ai.conversation.id"] == "s-1"


def test_the_environment_names_service_resource_and_parent(program: Program) -> None:
    trace_id, parent = uuid.uuid4().hex, "00f067aa0ba902b7"
    script = (
        HEAD
        + """
import threading
from opentelemetry import trace
instrument(auto=False)
with tool("here") as span:
    with tool("below"): pass
def elsewhere():
    with trace.get_tracer("somebody.else").start_as_current_span("in a thread"): pass
    with tool("decorated in a thread"): pass
thread = threading.Thread(target=elsewhere); thread.start(); thread.join()
print(span.trace_id)
"""
    )
    ended = run_agent(
        script,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{program.otlp_http}",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_SERVICE_NAME="named by the environment",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=ci",
        TRACEPARENT=f"00-{trace_id}-{parent}-01",
        TRACESTATE="vendor=1",
        BAGGAGE="gen_ai.agent.id=parent-agent",
    )
    assert ended.lines == [trace_id]
    spans = by_name(read(program, trace_id))
    roots = ["execute_tool here", "in a thread", "execute_tool decorated in a thread"]
    assert {spans[name].parent_span_id for name in roots} == {parent}
    assert spans["execute_tool below"].parent_span_id == spans["execute_tool here"].span_id
    assert {span.service for span in spans.values()} == {"named by the environment"}
    assert {span.agent_id for span in spans.values()} == {"parent-agent"}


def test_a_provider_that_is_there_already_is_kept(program: Program) -> None:
    script = (
        HEAD
        + """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider, theirs = TracerProvider(resource=Resource.create({"service.name": "theirs"})), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(theirs))
trace.set_tracer_provider(provider)
handle = instrument("ours", os.environ["URL"], auto=False)
assert trace.get_tracer_provider() is provider
with agent("a") as span:
    with trace.get_tracer("t").start_as_current_span("theirs too"): pass
handle.shutdown()
with agent("b"): pass
print(span.trace_id, len(theirs.get_finished_spans()))
"""
    )
    trace_id, count = run_agent(script, URL=program.url).lines[0].split()
    assert count == "3", "their own exporter goes on, after ours has ended too"
    assert {span.service for span in read(program, trace_id).spans} == {"theirs"}


def test_calling_it_again_makes_no_second_pipeline_and_after_shutdown_a_new_one(program: Program) -> None:
    script = (
        HEAD
        + """
one = instrument("first", os.environ["URL"], auto=False)
assert instrument("second", os.environ["URL"], auto=False) is one
with agent("a") as first: pass
one.shutdown()
with instrument("third", os.environ["URL"], auto=False) as two:
    assert two is not one
    with agent("b") as second: pass
    assert two.flush(), two.dropped_spans_by_reason
print(first.trace_id, second.trace_id)
"""
    )
    first, second = run_agent(script, URL=program.url).lines[0].split()
    assert [span.service for span in read(program, first).spans] == ["first"]
    assert [span.service for span in read(program, second).spans] == ["third"]


def test_sampling_is_as_the_environment_says(program: Program) -> None:
    script = HEAD + 'h = instrument("s", auto=False)\nwith agent("a") as s: pass\nprint(s.trace_id)'
    ended = run_agent(script, AGENT_TRACER_URL=program.url, OTEL_TRACES_SAMPLER="always_off")
    assert ended.err == ""
    with stubs(program.target) as stub, pytest.raises(Exception, match="NOT_FOUND"):
        stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=ended.lines[0]), timeout=CALL_SECONDS)


FORK = (
    HEAD
    + """
import multiprocessing
handle = instrument("forking", auto=False)
with tool("before") as span: pass
assert handle.flush()   # a connection is open when the process forks
with tool("waiting in the parent"): pass

def child(n):
    with tool(f"child {n}"): pass

def os_fork():
    pid = os.fork()
    if pid == 0:
        with tool("forked"): pass
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0

with task("all") as span:
    processes = [multiprocessing.get_context("fork").Process(target=child, args=(n,)) for n in range(3)]
    for p in processes: p.start()
    with tool("meanwhile in the parent"): pass
    for p in processes: p.join()
    assert [p.exitcode for p in processes] == [0, 0, 0]
    os_fork()
print(span.trace_id)
"""
)


def test_forked_children_send_their_own_spans_and_no_one_elses(program: Program) -> None:
    ended = run_agent(FORK, AGENT_TRACER_URL=program.url)
    spans = read(program, ended.lines[-1]).spans
    names = sorted(span.name for span in spans)
    assert names == sorted(
        ["task all", "execute_tool meanwhile in the parent", "execute_tool forked"]
        + [f"execute_tool child {n}" for n in range(3)]
    ), ended.err
    (whole,) = [span for span in spans if span.name == "task all"]
    assert {span.parent_span_id for span in spans if span is not whole} >= {whole.span_id}


def test_logs_and_metrics_where_they_are_asked_for() -> None:
    script = (
        HEAD
        + """
import logging
from opentelemetry import metrics
handle = instrument("all signals", auto=False, logs=logging.INFO, metrics=True)
metrics.get_meter("m").create_counter("agent.things").add(2)
with agent("a") as span:
    logging.getLogger("mine").warning("look at %s", "this")
    logging.getLogger("mine").debug("not this")
handle.shutdown()
print(span.trace_id, handle.dropped_log_records)
"""
    )
    with receiver() as (url, got):
        ended = run_agent(script, AGENT_TRACER_URL=url, AGENT_TRACER_API_KEY="secret-key")
    assert ended.lines[0].endswith(" 0"), ended.err
    assert {key for _, key, _ in got} == {"Bearer secret-key"}
    bodies = {path: body for path, _, body in got}
    assert set(bodies) == {"/v1/traces", "/v1/logs", "/v1/metrics"}
    logs = logs_service_pb2.ExportLogsServiceRequest.FromString(bodies["/v1/logs"])
    (record,) = [record for group in logs.resource_logs for scope in group.scope_logs for record in scope.log_records]
    assert (record.body.string_value, record.severity_text) == ("look at this", "WARNING")
    assert record.trace_id.hex() == ended.lines[0].split()[0]
    assert b"agent.things" in bodies["/v1/metrics"]
