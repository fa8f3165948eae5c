"""Installed instrumentors switched on by `instrument()`: every model call is one span, its usage counted once."""

import json
from collections.abc import Iterator

import pytest

from agent_tracer.server.demo.stand_in import stand_in
from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, stubs
from tests.fixtures.agent_process import run_agent
from tests.fixtures.program import Program

MODEL = "gpt-4.1-mini"


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with stand_in() as url:
        yield url


def read(program: Program, trace_id: str) -> trace_pb2.Trace:
    with stubs(program.target) as stub:
        return stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=CALL_SECONDS)


def calls(trace: trace_pb2.Trace) -> list[trace_pb2.Span]:
    return [span for span in trace.spans if span.kind == "llm"]


HEAD = """
import asyncio, json, os
from agent_tracer.client.telemetry import instrument, agent
handle = instrument("libraries"{arguments})
"""

PLAIN = """
import anthropic, openai
messages = [{{"role": "user", "content": "What is the refund policy?"}}]
openai_client = openai.OpenAI(base_url=os.environ["MODELS"] + "/v1")
anthropic_client = anthropic.Anthropic(base_url=os.environ["MODELS"])
with agent("helper") as span:
    first = openai_client.chat.completions.create(model="gpt-4.1-mini", messages=messages)
    second = anthropic_client.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=messages)
handle.shutdown()
print(span.trace_id)
print(json.dumps([first.usage.prompt_tokens + second.usage.input_tokens,
                  first.usage.completion_tokens + second.usage.output_tokens]))
print(handle.duplicate_spans)
"""


def script(body: str, arguments: str = "") -> str:
    return HEAD.format(arguments=arguments) + body.replace("{{", "{").replace("}}", "}")


def checked(program: Program, out: list[str], count: int) -> trace_pb2.Trace:
    """The trace has so many model calls, and the tokens that the SDKs told."""
    found = read(program, out[0])
    assert len(calls(found)) == count, [(span.name, span.kind) for span in found.spans]
    assert [found.usage.input_tokens, found.usage.output_tokens] == json.loads(out[1])
    assert {span.agent_id for span in calls(found)} == {"helper"}
    return found


def test_openai_and_anthropic_one_span_a_call(program: Program, models: str) -> None:
    ended = run_agent(script(PLAIN), AGENT_TRACER_URL=program.url, MODELS=models)
    assert ended.err == ""
    found = checked(program, ended.lines, 2)
    assert {span.provider for span in calls(found)} == {"openai", "anthropic"}
    assert "refund policy" in calls(found)[0].input


def test_libraries_that_were_imported_before(program: Program, models: str) -> None:
    body = "import openai, anthropic\n" + script(PLAIN)
    checked(program, run_agent(body, AGENT_TRACER_URL=program.url, MODELS=models).lines, 2)


def test_anthropics_own_spans_where_its_instrumentor_is_not_wanted(program: Program, models: str) -> None:
    body = script(PLAIN, ', auto=["openai"]')
    found = checked(program, run_agent(body, AGENT_TRACER_URL=program.url, MODELS=models).lines, 2)
    assert "anthropic.messages.create" in {span.name for span in calls(found)}


def test_a_client_that_writes_its_own_spans_beside_the_instrumentors(program: Program, models: str) -> None:
    body = script(PLAIN).replace("handle.shutdown()", "handle.shutdown()", 1)
    ended = run_agent(body, AGENT_TRACER_URL=program.url, MODELS=models, ANTHROPIC_OPEN_TELEMETRY="true")
    checked(program, ended.lines, 2)
    assert ended.lines[2] == "1", "the inner one was left out"


def test_no_content_of_prompts_and_answers(program: Program, models: str) -> None:
    body = script(PLAIN, ", capture_content=False")
    found = checked(program, run_agent(body, AGENT_TRACER_URL=program.url, MODELS=models).lines, 2)
    assert "refund" not in str(found)


LANGCHAIN = """
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="gpt-4.1-mini", base_url=os.environ["MODELS"] + "/v1", api_key="test")

async def run():
    with agent("helper") as span:
        answers = [model.invoke("What is the refund policy?"), await model.ainvoke("And for late shipments?")]
        answers += await asyncio.gather(*(model.ainvoke(f"Question {n}") for n in range(3)))
        whole = None
        for chunk in model.stream("Stream it", stream_usage=True):
            whole = chunk if whole is None else whole + chunk
        async for chunk in model.astream("Stream it again", stream_usage=True):
            whole = whole if chunk.usage_metadata is None else whole + chunk
        return span.trace_id, [*answers, whole]

trace_id, answers = asyncio.run(run())
handle.shutdown()
print(trace_id)
print(json.dumps([sum(a.usage_metadata["input_tokens"] for a in answers),
                  sum(a.usage_metadata["output_tokens"] for a in answers)]))
print(handle.duplicate_spans)
"""


def test_langchain_over_openai_counts_usage_once(program: Program, models: str) -> None:
    ended = run_agent(script(LANGCHAIN), AGENT_TRACER_URL=program.url, MODELS=models)
    checked(program, ended.lines, 7)
    assert ended.lines[2] == "7"


LANGGRAPH = """
import openai
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
model = ChatOpenAI(model="gpt-4.1-mini", base_url=os.environ["MODELS"] + "/v1", api_key="test")
client = openai.OpenAI(base_url=os.environ["MODELS"] + "/v1")
direct = []

def first(state):
    return {{"messages": [model.invoke(state["messages"])]}}

def second(state):
    direct.append(client.chat.completions.create(model="gpt-4.1-mini", messages=[{{"role": "user", "content": "Hi"}}]))
    return {{}}

graph = StateGraph(MessagesState)
graph.add_node("first", first); graph.add_node("second", second)
graph.add_edge(START, "first"); graph.add_edge("first", "second"); graph.add_edge("second", END)
with agent("helper") as span:
    out = graph.compile().invoke({{"messages": [("user", "What is the refund policy?")]}})
handle.shutdown()
told = out["messages"][-1].usage_metadata
print(span.trace_id)
print(json.dumps([told["input_tokens"] + direct[0].usage.prompt_tokens,
                  told["output_tokens"] + direct[0].usage.completion_tokens]))
"""


def test_a_graph_with_a_call_by_langchain_and_one_by_hand(program: Program, models: str) -> None:
    ended = run_agent(script(LANGGRAPH), AGENT_TRACER_URL=program.url, MODELS=models)
    checked(program, ended.lines, 2)


AGENTS = """
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner
from openai import AsyncOpenAI
client = AsyncOpenAI(base_url=os.environ["MODELS"] + "/v1")
made = [OpenAIResponsesModel("gpt-4.1-mini", client), OpenAIChatCompletionsModel("gpt-4.1-mini", client)]

async def run():
    with agent("helper") as span:
        results = [await Runner.run(Agent(name="Writer", model=m), "What is the refund policy?") for m in made]
        return span.trace_id, [r.context_wrapper.usage for r in results]

trace_id, usages = asyncio.run(run())
handle.shutdown()
print(trace_id)
print(json.dumps([sum(u.input_tokens for u in usages), sum(u.output_tokens for u in usages)]))
print(handle.duplicate_spans)
"""


def test_openai_agents_over_openai_counts_usage_once(program: Program, models: str) -> None:
    ended = run_agent(script(AGENTS), AGENT_TRACER_URL=program.url, MODELS=models)
    found = read(program, ended.lines[0])
    assert len(calls(found)) == 2, [(span.name, span.kind) for span in found.spans]
    assert [found.usage.input_tokens, found.usage.output_tokens] == json.loads(ended.lines[1])
    assert ended.lines[2] == "2"
    assert {span.agent_id for span in calls(found)} == {"Writer"}, "the framework's agent, not the one around it"


def test_an_instrumentor_that_the_agent_switched_on_itself_stays_the_only_one(program: Program, models: str) -> None:
    before = "from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor\nimport openai, anthropic\n"
    body = script(PLAIN).replace("handle = ", before + "OpenAIInstrumentor().instrument()\nhandle = ")
    ended = run_agent(body + "print(handle.instrumented)", AGENT_TRACER_URL=program.url, MODELS=models)
    checked(program, ended.lines, 2)


def test_which_libraries_are_switched_on() -> None:
    body = script("print(handle.instrumented)\nfrom openinference.instrumentation.openai import OpenAIInstrumentor\n"
                  "import openai, sys\nprint(OpenAIInstrumentor().is_instrumented_by_opentelemetry, 'agents' in sys.modules)")  # fmt: skip
    quiet = {"OTEL_TRACES_SAMPLER": "always_off"}
    everything = run_agent(body, **quiet)
    assert everything.lines == ["('anthropic', 'langchain', 'openai', 'openai_agents')", "True False"]
    assert run_agent(body, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="openai,langchain", **quiet).lines == [
        "('anthropic', 'openai_agents')",
        "False False",
    ]
    named = run_agent(body.replace('"libraries"', '"libraries", auto=["openai", "nothing"]'), **quiet)
    assert named.lines[0] == "('openai',)"
    assert "no instrumentor is installed for nothing" in named.err
