"""Where spans of LangChain's instrumentor and of the decorators begin, with instrumentors of any version."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Span

from agent_tracer.client.telemetry import agent, nesting, state, task
from tests.unit.client_telemetry.conftest import Seen


@pytest.fixture(autouse=True)
def no_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state._State, "place", None)


@pytest.fixture
def instrumentor(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose handler starts spans under the parents that it is told, and whose open span is `running`."""
    module = ModuleType("instrumentor_of_a_framework")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    made = type("Instrumentor", (), {"__module__": module.__name__, "is_instrumented_by_opentelemetry": True})()
    made._tracer = SimpleNamespace(_tracer=seen.provider.get_tracer("framework"))
    made.running = None
    vars(module)["get_current_span"] = lambda: made.running
    return made


def begin(instrumentor: Any, name: str, parent: Span | None = None) -> Span:
    context = None if parent is None else trace.set_span_in_context(parent)
    span: Span = instrumentor._tracer._tracer.start_span(name=name, context=context, start_time=None)
    return span


def parent_of(seen: Seen, name: str) -> str | None:
    parent = seen.named(name).parent
    return next((span.name for span in seen.spans if parent and span.context.span_id == parent.span_id), None)


def test_an_agent_is_under_the_node_and_the_nodes_call_under_the_agent(seen: Seen, instrumentor: Any) -> None:
    nesting.nest(instrumentor)
    with agent("around"):
        instrumentor.running = node = begin(instrumentor, "node")
        with agent("inner"), task("step"):
            call = begin(instrumentor, "call", node)
            instrumentor.running = call
            with task("in the call"):
                pass
            call.end()
            instrumentor.running = node
        begin(instrumentor, "after", node).end()
        node.end()
    names = ("node", "invoke_agent inner", "task step", "call", "task in the call", "after")
    assert [parent_of(seen, name) for name in names] == [
        "invoke_agent around",
        "node",
        "invoke_agent inner",
        "task step",
        "call",
        "node",
    ]


def test_a_node_that_is_the_first_span_of_all_is_a_parent_too(seen: Seen, instrumentor: Any) -> None:
    nesting.nest(instrumentor)
    instrumentor.running = node = begin(instrumentor, "node")
    with agent("inner"):
        begin(instrumentor, "call", node).end()
    node.end()
    assert (parent_of(seen, "invoke_agent inner"), parent_of(seen, "call")) == ("node", "invoke_agent inner")


def test_a_span_of_another_library_made_current_in_a_node_stays_the_parent(seen: Seen, instrumentor: Any) -> None:
    nesting.nest(instrumentor)
    with agent("around"):
        instrumentor.running = node = begin(instrumentor, "node")
        with seen.provider.get_tracer("other").start_as_current_span("other"):
            begin(instrumentor, "beside", node).end()
            with agent("inner"):
                begin(instrumentor, "call", node).end()
        node.end()
    assert parent_of(seen, "beside") == "node", "the framework's own tree is kept"
    assert (parent_of(seen, "invoke_agent inner"), parent_of(seen, "call")) == ("other", "invoke_agent inner")


def _without_tracer(instrumentor: Any) -> None:
    del instrumentor._tracer


def _switched_off(instrumentor: Any) -> None:
    instrumentor.is_instrumented_by_opentelemetry = False


def _raising(instrumentor: Any) -> None:
    vars(sys.modules[type(instrumentor).__module__])["get_current_span"] = lambda: 1 / 0


def _asking_in_vain(instrumentor: Any) -> None:
    del vars(sys.modules[type(instrumentor).__module__])["get_current_span"]


@pytest.mark.parametrize("lacking", [_without_tracer, _switched_off, _raising, _asking_in_vain])
def test_another_version_changes_nothing_and_raises_nothing(
    seen: Seen, instrumentor: Any, lacking: Callable[[Any], None]
) -> None:
    with agent("around"):
        instrumentor.running = node = begin(instrumentor, "node")
        lacking(instrumentor)
        nesting.nest(instrumentor)
        with agent("inner"):
            if hasattr(instrumentor, "_tracer"):
                begin(instrumentor, "call", node).end()
        node.end()
    assert parent_of(seen, "invoke_agent inner") == "invoke_agent around"
    assert not hasattr(instrumentor, "_tracer") or parent_of(seen, "call") == "node"
