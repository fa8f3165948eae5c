"""Installed instrumentors switched on by `instrument()`: every model call is one span, its usage counted once."""

import json
from collections.abc import Iterator

import pytest

from agent_tracer.server.demo.stand_in import stand_in
from agent_tracer.v1 import trace_pb2
from tests.e2e.talk import CALL_SECONDS, counted, stubs, unique
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


NODES = """
import operator
from typing import Annotated, TypedDict
from agent_tracer.client.telemetry import task, tool, workflow
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
model = ChatOpenAI(model="gpt-4.1-mini", base_url=os.environ["MODELS"] + "/v1", api_key="test")
first, second = os.environ["FIRST"], os.environ["SECOND"]
told = {{first: [], second: []}}

def tell(name, answer):
    told[name].append((answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]))
    return answer

class State(TypedDict, total=False):
    text: str
    parts: Annotated[list[str], operator.add]
    number: int

def graph(*nodes, fan_out=False):
    made = StateGraph(State)
    for name, node in nodes:
        made.add_node(name, node)
    names = [name for name, _ in nodes]
    if fan_out:
        made.add_conditional_edges(START, lambda _: [Send(names[0], {{"number": n}}) for n in range(3)], names[:1])
    else:
        made.add_edge(START, names[0])
    for one, other in zip(names, [*names[1:], END]):
        made.add_edge(one, other)
    return made.compile()

def done(span):
    handle.shutdown()
    print(span.trace_id)
    print(json.dumps({{name: [sum(tokens) for tokens in zip(*calls)] for name, calls in told.items()}}))
"""

IN_TURN = """
@agent(first)
def outline(state):
    return {{"text": tell(first, model.invoke("Outline it")).content}}

@agent(second)
def write(state):
    return {{"text": tell(second, model.invoke(state["text"])).content}}

with workflow("article") as span:
    graph(("outline_it", outline), ("write_it", write)).invoke({{}})
done(span)
"""

PARALLEL = """
@agent(first)
async def part(state):
    with task(f"part {{state['number']}}"):
        await asyncio.sleep(0.05)
        return {{"parts": [tell(first, await model.ainvoke("A part")).content]}}

@agent(second)
async def whole(state):
    found = None
    async for chunk in model.astream(" ".join(state["parts"]), stream_usage=True):
        found = chunk if found is None else found + chunk
    return {{"text": tell(second, found).content}}

async def run():
    with workflow("article") as span:
        await graph(("part_it", part), ("join_it", whole), fan_out=True).ainvoke({{}})
        return span

done(asyncio.run(run()))
"""

BOTH_WAYS = """
@tool("search")
def search(question):
    return tell(second, model.invoke(question)).content

@agent(second)
def inner(question):
    found = RunnableParallel(a=RunnableLambda(search).with_config(run_name="one"),
                             b=RunnableLambda(search).with_config(run_name="two")).invoke(question)
    with task("after"):
        return found["a"]

@agent(first)
def outer(question):
    return tell(first, (RunnableLambda(inner).with_config(run_name="step") | model).invoke(question))

with workflow("article") as span:
    outer("What is the refund policy?")
done(span)
"""


def paths(trace: trace_pb2.Trace) -> list[str]:
    """The names from the root to each span that has nothing below it."""
    spans = {span.span_id: span for span in trace.spans}
    parents = {span.parent_span_id for span in trace.spans}

    def path(span: trace_pb2.Span) -> str:
        above = spans.get(span.parent_span_id)
        return span.name if above is None else f"{path(above)} > {span.name}"

    return sorted(path(span) for span in trace.spans if span.span_id not in parents)


def check_shares(program: Program, found: trace_pb2.Trace, told: dict[str, list[int]]) -> None:
    """Each agent has the tokens and the cost of its own calls, in the trace, in the sums and in the list of agents."""
    used = {name: [0, 0] for name in told}
    for span in calls(found):
        used[span.agent_id][0] += span.usage.input_tokens
        used[span.agent_id][1] += span.usage.output_tokens
    assert used == told
    sums = trace_pb2.AggregateTracesRequest(group_by=["agent_id"], period="1h")
    with stubs(program.target) as stub:

        def rows() -> dict[str, trace_pb2.AggregateRow]:
            answer = stub.AggregateTraces(sums, timeout=CALL_SECONDS)
            return {row.group["agent_id"]: row for row in answer.rows if row.group["agent_id"] in told}

        summed = counted(rows, lambda by_agent: by_agent.keys() == told.keys())
        listed = {one.agent_id: one for one in stub.ListAgents(trace_pb2.ListAgentsRequest(page_size=1000)).agents}
    assert {name: [row.usage.input_tokens, row.usage.output_tokens] for name, row in summed.items()} == told
    assert all(row.cost > 0 for row in summed.values())
    assert {name: listed[name].cost for name in told} == pytest.approx({name: row.cost for name, row in summed.items()})


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        pytest.param(IN_TURN, [
            "LangGraph > outline_it > invoke_agent FIRST > ChatOpenAI",
            "LangGraph > write_it > invoke_agent SECOND > ChatOpenAI",
        ], id="in turn"),
        pytest.param(PARALLEL, [
            "LangGraph > __start__ > Unnamed",
            "LangGraph > join_it > invoke_agent SECOND > ChatOpenAI",
            *(f"LangGraph > part_it > invoke_agent FIRST > task part {n} > ChatOpenAI" for n in range(3)),
        ], id="async and in parallel"),
        pytest.param(BOTH_WAYS, [
            "invoke_agent FIRST > RunnableSequence > ChatOpenAI",
            *("invoke_agent FIRST > RunnableSequence > step > invoke_agent SECOND > RunnableParallel<a,b> > "
              f"{name} > execute_tool search > ChatOpenAI" for name in ("one", "two")),
            "invoke_agent FIRST > RunnableSequence > step > invoke_agent SECOND > task after",
        ], id="agents and runnables in one another"),
    ],
)  # fmt: skip
def test_agents_are_under_the_nodes_that_call_them_and_have_their_calls(
    body: str, tree: list[str], program: Program, models: str
) -> None:
    names = {"FIRST": unique("first"), "SECOND": unique("second")}
    ended = run_agent(script(NODES + body), AGENT_TRACER_URL=program.url, MODELS=models, **names)
    found = read(program, ended.lines[0])
    wanted = [f"invoke_workflow article > {path}" for path in tree]
    for shown, name in names.items():
        wanted = [path.replace(shown, name) for path in wanted]
    assert paths(found) == sorted(wanted)
    check_shares(program, found, json.loads(ended.lines[1]))


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
