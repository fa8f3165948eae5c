"""Decorators that are context managers: what they write, and that they change nothing of what they decorate."""

import asyncio
import functools
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import StatusCode

from agent_tracer.client.telemetry import agent, task, tool, workflow
from tests.unit.client_telemetry.conftest import Seen


def test_bare_decorator_takes_the_functions_name(seen: Seen) -> None:
    @agent
    def planner(goal: str, *, depth: int = 1) -> str:
        """Plans."""
        return goal.upper()

    assert planner("go", depth=2) == "GO"
    assert (planner.__name__, planner.__doc__) == ("planner", "Plans.")
    found = seen.attributes("invoke_agent planner")
    assert found["gen_ai.operation.name"] == "invoke_agent"
    assert found["gen_ai.agent.id"] == found["gen_ai.agent.name"] == "planner"
    assert found["openinference.span.kind"] == "AGENT"
    assert json.loads(found["input.value"]) == {"goal": "go", "depth": 2}
    assert found["output.value"] == "GO"
    assert seen.spans[0].status.status_code is StatusCode.UNSET


def test_every_argument_is_an_attribute_that_the_server_reads(seen: Seen) -> None:
    with workflow("checkout", id="wf-1", session="s-1", user="u-1"):
        with agent("Planner", id="planner-1", version="2", type="planner"):
            with task("review", id="t-7"):
                with tool("search", id="call-1"):
                    pass
    root = seen.attributes("invoke_workflow checkout")
    assert (root["gen_ai.workflow.name"], root["workflow.name"]) == ("wf-1", "checkout")
    assert (root["gen_ai.conversation.id"], root["user.id"]) == ("s-1", "u-1")
    found = seen.attributes("invoke_agent Planner")
    assert (found["gen_ai.agent.id"], found["gen_ai.agent.name"]) == ("planner-1", "Planner")
    assert (found["gen_ai.agent.version"], found["gen_ai.agent.type"]) == ("2", "planner")
    found = seen.attributes("task review")
    assert (found["task.type"], found["task.id"]) == ("review", "t-7")
    found = seen.attributes("execute_tool search")
    assert (found["gen_ai.tool.name"], found["gen_ai.tool.call.id"]) == ("search", "call-1")
    for name in ("invoke_agent Planner", "task review", "execute_tool search"):
        below = seen.attributes(name)
        assert (below["gen_ai.workflow.name"], below["gen_ai.conversation.id"]) == ("wf-1", "s-1")
        assert below["gen_ai.agent.id"] == "planner-1"
        assert "user.id" not in below
    assert "task.id" not in seen.attributes("execute_tool search"), "only a task is a task"


def test_a_task_without_an_id_has_one_of_its_own(seen: Seen) -> None:
    @task("review")
    def review() -> None: ...

    review()
    review()
    ids = {dict(span.attributes or {})["task.id"] for span in seen.spans}
    assert len(ids) == 2


def test_a_nested_agent_replaces_the_outer_whole(seen: Seen) -> None:
    with agent("outer", version="9"):
        with agent("inner"):
            with tool("t"):
                pass
        with tool("u"):
            pass
    assert "gen_ai.agent.version" not in seen.attributes("execute_tool t")
    assert seen.attributes("execute_tool t")["gen_ai.agent.id"] == "inner"
    assert seen.attributes("execute_tool u")["gen_ai.agent.version"] == "9"


async def test_a_coroutine_keeps_being_one(seen: Seen) -> None:
    @tool("add")
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        assert trace.get_current_span().get_span_context().is_valid
        return a + b

    assert inspect.iscoroutinefunction(add)
    assert list(await asyncio.gather(add(1, 2), add(3, 4))) == [3, 7]
    assert {dict(s.attributes or {})["gen_ai.tool.call.result"] for s in seen.spans} == {"3", "7"}
    assert all(s.parent is None for s in seen.spans)


def test_a_generators_span_lasts_as_long_as_it_and_is_not_current_between_steps(seen: Seen) -> None:
    @tool("count")
    def count(n: int) -> Iterator[str]:
        for i in range(n):
            with tool("step"):
                yield str(i)
        return

    assert inspect.isgeneratorfunction(count)
    steps = count(3)
    assert seen.spans == []
    for _ in steps:
        assert not trace.get_current_span().get_span_context().is_valid
        assert "execute_tool count" not in [s.name for s in seen.spans]
    whole = seen.named("execute_tool count")
    assert dict(whole.attributes or {})["gen_ai.tool.call.result"] == "012"
    assert [s.parent for s in seen.spans if s.parent] == [whole.get_span_context()] * 3


def test_a_generator_takes_what_is_sent_and_thrown_and_returns(seen: Seen) -> None:
    @task
    def echo() -> Any:
        got: list[str] = []
        while True:
            try:
                got.append((yield len(got)))
            except KeyError:
                return got

    made = echo()
    assert next(made) == 0
    assert made.send("a") == 1
    with pytest.raises(StopIteration) as stopped:
        made.throw(KeyError("end"))
    assert stopped.value.value == ["a"]
    assert seen.named("task echo").status.status_code is StatusCode.UNSET


def test_a_generator_left_early_ends_its_span_without_an_error(seen: Seen) -> None:
    closed = []

    @task
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    made: Any = endless()
    next(made)
    made.close()
    assert closed == [True]
    assert seen.named("task endless").status.status_code is StatusCode.UNSET


async def test_an_async_generator(seen: Seen) -> None:
    @agent("streamer")
    async def stream() -> AsyncIterator[str]:
        for word in ("a", "b"):
            await asyncio.sleep(0)
            with tool("inside"):
                yield word

    assert inspect.isasyncgenfunction(stream)
    assert [word async for word in stream()] == ["a", "b"]
    whole = seen.named("invoke_agent streamer")
    assert dict(whole.attributes or {})["output.value"] == "ab"
    assert all(s.parent == whole.get_span_context() for s in seen.spans if s is not whole)


async def test_an_async_generator_that_fails_or_is_left(seen: Seen) -> None:
    @agent("failing")
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("no more")

    @agent("left")
    async def left() -> AsyncIterator[int]:
        while True:
            yield 1

    with pytest.raises(RuntimeError, match="no more"):
        [x async for x in failing()]
    made: Any = left()
    await anext(made)
    await made.aclose()
    assert seen.named("invoke_agent failing").status.status_code is StatusCode.ERROR
    assert seen.named("invoke_agent left").status.status_code is StatusCode.UNSET


def test_exceptions_pass_unchanged_and_are_told(seen: Seen) -> None:
    class QuotaError(Exception): ...

    raised = QuotaError("over")

    @tool
    def failing() -> None:
        raise raised

    with pytest.raises(QuotaError) as caught:
        failing()
    assert caught.value is raised
    span = seen.named("execute_tool failing")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "QuotaError: over"
    assert str(dict(span.attributes or {})["error.type"]).endswith("QuotaError")
    assert [event.name for event in span.events] == ["exception"]


def test_an_exception_that_cannot_be_written_is_still_the_one_that_is_raised(seen: Seen) -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(UnprintableError), tool("odd"):
        raise UnprintableError
    assert seen.named("execute_tool odd").status.status_code is StatusCode.ERROR


async def test_cancellation_is_no_error_of_the_agent(seen: Seen) -> None:
    @agent("slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    running = asyncio.create_task(slow())
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    span = seen.named("invoke_agent slow")
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {})["agent_tracer.cancelled"] is True
    assert [event.name for event in span.events] == ["cancelled"]


async def test_context_managers_of_one_object_in_many_tasks_at_once(seen: Seen) -> None:
    search = tool("search")

    async def one(n: int) -> None:
        async with search as span:
            span.set_attribute("n", n)
            await asyncio.sleep(0.001 * (5 - n))
            assert trace.get_current_span() is span.span

    await asyncio.gather(*(one(n) for n in range(5)))
    assert sorted(str(dict(s.attributes or {})["n"]) for s in seen.spans) == ["0", "1", "2", "3", "4"]


def test_helpers_of_an_open_span(seen: Seen) -> None:
    with tool("search") as span:
        span.set_input({"q": "x"})
        span.set_output(["a", {"b": object()}])
        span.set_attribute("odd", {"k": 1})
        span.fail("nothing found", "not_found")
        span.add_event("mine")
        assert len(span.trace_id) == 32
        assert len(span.span_id) == 16
    found = seen.attributes("execute_tool search")
    assert json.loads(found["gen_ai.tool.call.arguments"]) == {"q": "x"}
    assert json.loads(found["gen_ai.tool.call.result"]) == ["a", {"b": "<object>"}]
    assert (found["odd"], found["error.type"]) == ('{"k": 1}', "not_found")
    assert seen.spans[0].status.description == "nothing found"


def test_methods_static_methods_classes_and_callables(seen: Seen) -> None:
    class Worker:
        @tool
        def own(self, x: int) -> int:
            return x

        @tool
        @staticmethod
        def static(x: int) -> int:
            return x

        @classmethod
        @tool
        def of_class(cls, x: int) -> int:
            return x

        def __call__(self, x: int) -> int:
            return x

    def add(a: int, b: int) -> int:
        return a + b

    assert [Worker().own(1), Worker.static(2), Worker.of_class(3)] == [1, 2, 3]
    assert tool(Worker())(4) == 4
    assert tool(functools.partial(add, 1))(b=4) == 5
    assert "execute_tool add" in [s.name for s in seen.spans]
    assert tool(Worker) is Worker
    assert json.loads(seen.attributes("execute_tool own")["gen_ai.tool.call.arguments"]) == {"x": 1}
    assert "execute_tool Worker" in [s.name for s in seen.spans]


async def test_a_plain_function_that_hands_on_a_coroutine(seen: Seen) -> None:
    async def inner() -> int:
        await asyncio.sleep(0)
        return 3

    def plain() -> Any:
        return inner()

    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert await tool("outer")(plain)() == 3
    assert tool("future")(lambda: future)() is future, "a result is handed on as it is"
    assert seen.attributes("execute_tool outer")["gen_ai.tool.call.result"] == "3"


def test_no_content_where_it_is_not_wanted(without_content: Callable[[], Seen]) -> None:
    @agent
    def secretive(secret: str) -> str:
        return secret

    assert secretive("s3cret") == "s3cret"
    with tool("t") as span:
        span.set_input("s3cret")
        span.set_output("s3cret")
    assert "s3cret" not in str([dict(s.attributes or {}) for s in without_content().spans])


def test_content_of_one_tool_can_be_kept_out(seen: Seen) -> None:
    assert tool("login", capture=False)(lambda password: password)("pw") == "pw"
    assert "pw" not in str(seen.attributes("execute_tool login"))


def test_long_content_is_cut(seen: Seen) -> None:
    tool("long")(lambda: "x" * 1_000_000)()
    assert len(seen.attributes("execute_tool long")["gen_ai.tool.call.result"]) == 65_536


def test_identity_goes_to_spans_of_others_and_over_the_wire(seen: Seen) -> None:
    carrier: dict[str, str] = {}
    other = seen.provider.get_tracer("somebody.else")
    with agent("Ä planner", id="planner-1", session="s-1"):
        with other.start_as_current_span("SELECT"):
            inject(carrier)
    assert seen.attributes("SELECT")["gen_ai.agent.id"] == "planner-1"
    assert seen.attributes("SELECT")["gen_ai.conversation.id"] == "s-1"
    arrived = extract(carrier)
    assert baggage.get_baggage("gen_ai.agent.name", arrived) == "Ä planner"
    with other.start_as_current_span("remote", context=arrived):
        pass
    assert seen.attributes("remote")["gen_ai.agent.id"] == "planner-1"


def test_an_agent_of_another_framework_keeps_its_own_name_and_those_below_it(seen: Seen) -> None:
    other = seen.provider.get_tracer("somebody.else")
    with agent("crew"):
        with other.start_as_current_span("writer", attributes={"openinference.span.kind": "AGENT"}) as span:
            span.set_attribute("graph.node.id", "writer")
            with other.start_as_current_span("below"):
                pass
        with other.start_as_current_span("beside"):
            pass
    assert "gen_ai.agent.id" not in seen.attributes("writer")
    assert "gen_ai.agent.id" not in seen.attributes("below"), "the server gives it to its nearest agent"
    assert seen.attributes("beside")["gen_ai.agent.id"] == "crew"


def test_without_any_set_up_the_function_just_works() -> None:
    assert agent(lambda x: x)(1) == 1
    with tool("t") as span:
        span.set_output(1)
        span.fail("x")


def test_a_provider_that_fails_costs_the_span_and_nothing_else(monkeypatch: pytest.MonkeyPatch, seen: Seen) -> None:
    monkeypatch.setattr("agent_tracer.client.telemetry.state.tracer", lambda: 1 / 0)
    assert agent(lambda x: x)(1) == 1
