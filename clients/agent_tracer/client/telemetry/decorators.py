"""`agent`, `task`, `tool`, `workflow`: decorators that are context managers too.

    @agent("planner", version="2")
    async def plan(goal: str) -> str: ...

    with tool("search") as span:
        span.set_output(search(query))

Bare or with arguments; on functions, coroutines, generators and async generators, on methods too. A span's name and
attributes are those of OpenTelemetry's GenAI conventions; agent, workflow and session go down to every span below.
Without `instrument()` the spans go to the global tracer provider, if there is one.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, TypeVar, overload

from opentelemetry import trace

from agent_tracer.client.telemetry import identity, state
from agent_tracer.client.telemetry.scopes import Kind, Scope
from agent_tracer.client.telemetry.wrapping import wrap

__all__ = ["Traced", "agent", "task", "tool", "workflow"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

AGENT: Final = Kind("invoke_agent", "AGENT", identity.AGENT_NAME)
TASK: Final = Kind("task", "CHAIN", "task.type")
TOOL: Final = Kind("execute_tool", "TOOL", "gen_ai.tool.name", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
WORKFLOW: Final = Kind("invoke_workflow", "CHAIN", identity.WORKFLOW)


class Traced:
    """What a decorator with arguments makes: decorates a function, or is entered by `with` or `async with`.

    It may be entered again, by several tasks at once.
    """

    __slots__ = ("_attributes", "_capture", "_kind", "_name", "_open")

    def __init__(self, kind: Kind, name: str | None, attributes: Mapping[str, Any], capture: bool | None) -> None:  # noqa: FBT001 - three ways: as set up, yes, no
        self._kind = kind
        self._name = name
        self._attributes = attributes
        self._capture = capture
        self._open: list[Scope] = []

    def __call__(self, function: Decorated) -> Decorated:
        """The function with a span around each call, named after the function where no name was given."""
        wanted = getattr(function, "__func__", getattr(function, "func", function))  # of methods, of partial()
        name = self._name or getattr(wanted, "__name__", None) or type(wanted).__name__
        attributes = _with_name(self._kind, name, self._attributes)
        span_name = f"{self._kind.operation} {name}"
        decorated: Decorated = wrap(function, lambda: self._scope(span_name, attributes))
        return decorated

    def __enter__(self) -> Scope:
        """Begin the span."""
        name = self._name or self._kind.operation
        scope = self._scope(f"{self._kind.operation} {name}", _with_name(self._kind, name, self._attributes))
        self._open.append(scope)
        return scope.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the span; an exception is told and goes on."""
        scope = self._left()
        scope.leave()
        scope.finish(error)

    async def __aenter__(self) -> Scope:
        """Begin the span."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the span; an exception is told and goes on."""
        self.__exit__(kind, error, traceback)

    def _scope(self, name: str, attributes: Mapping[str, Any]) -> Scope:
        capture = state.captures_content() and self._capture is not False
        return Scope(self._kind, name, attributes, task=self._kind is TASK, capture=capture)

    def _left(self) -> Scope:
        """The scope that this task of all those that entered is in: the one whose span is current."""
        current = trace.get_current_span()
        for index in reversed(range(len(self._open))):
            if self._open[index].span is current:
                return self._open.pop(index)
        return self._open.pop()


def _with_name(kind: Kind, name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A span's attributes, in the order of telling."""
    found = {
        "gen_ai.operation.name": kind.operation,
        "openinference.span.kind": kind.openinference,
        kind.name_attribute: name,
        **attributes,
    }
    if kind is AGENT:
        found.setdefault(identity.AGENT_ID, name)
    return {key: value for key, value in found.items() if value is not None}


def _made(kind: Kind, name: Any, attributes: Mapping[str, Any], capture: bool | None) -> Any:  # noqa: ANN401, FBT001 - a name or, bare, the function
    given = {key: value for key, value in attributes.items() if value is not None}
    if name is None or isinstance(name, str):
        return Traced(kind, name, given, capture)
    return Traced(kind, None, given, capture)(name)


@overload
def agent(name: Decorated, /) -> Decorated: ...
@overload
def agent(
    name: str | None = None,
    *,
    id: str | None = None,
    version: str | None = None,
    type: str | None = None,
    description: str | None = None,
    workflow: str | None = None,
    session: str | None = None,
    user: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Traced: ...
def agent(  # noqa: PLR0913 - what conventions say of an agent
    name: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the convention's word
    version: str | None = None,
    type: str | None = None,  # noqa: A002 - the convention's word
    description: str | None = None,
    workflow: str | None = None,
    session: str | None = None,
    user: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Any:
    """One run of an agent (`invoke_agent NAME`).

    Args:
        name: The agent's readable name; the function's where none is given.
        id: Its id; its name where none is given.
        version: Its version, such as of prompts and model.
        type: Its kind, such as planner or coder.
        description: What it is for.
        workflow: The workflow that the run belongs to.
        session: The conversation.
        user: The end user; on this span only.
        attributes: Others, by their names.
        capture: False keeps arguments and result out of the span.
    """
    own = {
        identity.AGENT_ID: id,
        identity.AGENT_VERSION: version,
        identity.AGENT_TYPE: type,
        "gen_ai.agent.description": description,
        identity.WORKFLOW: workflow,
        identity.SESSION: session,
        identity.USER: user,
    }
    return _made(AGENT, name, {**own, **(attributes or {})}, capture)


@overload
def task(name: Decorated, /) -> Decorated: ...
@overload
def task(
    name: str | None = None,
    *,
    id: str | None = None,
    type: str | None = None,
    session: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Traced: ...
def task(  # noqa: PLR0913 - what conventions say of it
    name: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the server's word
    type: str | None = None,  # noqa: A002 - the server's word
    session: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Any:
    """One task of the agent around it (`task NAME`): what agents are scored by.

    Args:
        name: The kind of task, for comparing like with like; the function's name where none is given.
        id: The task's own id, the same in every try of it; the span's id where none is given.
        type: The kind of task, where it is not the name.
        session: The conversation.
        attributes: Others, by their names.
        capture: False keeps arguments and result out of the span.
    """
    own = {"task.type": type, "task.id": id, identity.SESSION: session}
    return _made(TASK, name, {**own, **(attributes or {})}, capture)


@overload
def tool(name: Decorated, /) -> Decorated: ...
@overload
def tool(
    name: str | None = None,
    *,
    id: str | None = None,
    type: str = "function",
    description: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Traced: ...
def tool(  # noqa: PLR0913 - what conventions say of it
    name: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the convention's word
    type: str = "function",  # noqa: A002 - the convention's word
    description: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Any:
    """One call of a tool (`execute_tool NAME`).

    Args:
        name: The tool's name; the function's where none is given.
        id: The call's id, as the model gave it.
        type: function, extension or datastore.
        description: What the tool is for.
        attributes: Others, by their names.
        capture: False keeps arguments and result out of the span.
    """
    own = {"gen_ai.tool.call.id": id, "gen_ai.tool.type": type, "gen_ai.tool.description": description}
    return _made(TOOL, name, {**own, **(attributes or {})}, capture)


@overload
def workflow(name: Decorated, /) -> Decorated: ...
@overload
def workflow(
    name: str | None = None,
    *,
    id: str | None = None,
    session: str | None = None,
    user: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Traced: ...
def workflow(  # noqa: PLR0913 - what conventions say of it
    name: Any = None,
    *,
    id: str | None = None,  # noqa: A002 - the server's word
    session: str | None = None,
    user: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    capture: bool | None = None,
) -> Any:
    """One run of a workflow (`invoke_workflow NAME`), of agents and tasks below it.

    Args:
        name: The workflow's name; the function's where none is given.
        id: What the server knows the workflow by, where that is not the name. Not an id of the run.
        session: The conversation.
        user: The end user; on this span only.
        attributes: Others, by their names.
        capture: False keeps arguments and result out of the span.
    """
    # The server knows a workflow by gen_ai.workflow.name: an id goes there, and the readable name beside it.
    own = {identity.WORKFLOW: id, "workflow.name": name if id and isinstance(name, str) else None}
    own |= {identity.SESSION: session, identity.USER: user}
    return _made(WORKFLOW, name, {**own, **(attributes or {})}, capture)
