"""The two ends of A2A (a2a-sdk 1.x), the same over JSON-RPC, REST and gRPC.

The caller's end is the client; its headers go as service parameters, which each transport sends in its own way. The
callee's end is the agent's executor, where the work is done, whichever transport brought it.
"""

# ruff: noqa: ANN401  # clients, requests and queues are the SDK's, of each transport its own

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from a2a.client.client import ClientCallContext
from a2a.client.interceptors import AfterArgs, BeforeArgs, ClientCallInterceptor
from a2a.server.agent_execution import AgentExecutor
from a2a.types.a2a_pb2 import TaskState
from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind

from agent_tracer.client.mesh.calls import CANCELLED, Attributes, Call, Mesh, is_cancellation, span_around
from agent_tracer.client.mesh.faults import guarded, note
from agent_tracer.client.mesh.propagation import picked, remote_span

SERVICE: Final = "lf.a2a.v1.A2AService"
_DONE: Final = "_agent_tracer_mesh"
_FAILED: Final = frozenset({TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_REJECTED})
_OVER: Final = _FAILED | {TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_CANCELED}
_STREAMS: Final = {"send_message": "SendMessage", "subscribe": "SubscribeToTask"}
_CALLS: Final = {
    "get_task": "GetTask",
    "list_tasks": "ListTasks",
    "cancel_task": "CancelTask",
    "create_task_push_notification_config": "CreateTaskPushNotificationConfig",
    "get_task_push_notification_config": "GetTaskPushNotificationConfig",
    "list_task_push_notification_configs": "ListTaskPushNotificationConfigs",
    "delete_task_push_notification_config": "DeleteTaskPushNotificationConfig",
    "get_extended_agent_card": "GetExtendedAgentCard",
}
"""The client's methods, by the names that the protocol has for them."""


def trace_client(client: Any, mesh: Mesh, target: str) -> Any:
    """Trace the client's calls from now on; it is returned itself."""
    try:
        if not hasattr(client, _DONE):
            wrapped = {name: _streaming(getattr(client, name), mesh, rpc, target) for name, rpc in _STREAMS.items()}
            wrapped |= {name: _calling(getattr(client, name), mesh, rpc, target) for name, rpc in _CALLS.items()}
            vars(client).update({**wrapped, _DONE: True})
    except Exception as fault:  # noqa: BLE001  # the client works as it did
        note("a2a_client", fault)
    return client


def _calling(inner: Callable[..., Any], mesh: Mesh, rpc: str, target: str) -> Callable[..., Any]:
    async def call(request: Any, *, context: Any = None, **options: Any) -> Any:
        end = _begin(mesh, rpc, target)
        end.request(request)
        try:
            with end:
                result = await inner(request, context=_carrying(context, end), **options)
        except BaseException as error:
            _failed(end, error)
            raise
        end.response(result)
        _ended(end, _state(result))
        return result

    return call


def _streaming(inner: Callable[..., Any], mesh: Mesh, rpc: str, target: str) -> Callable[..., Any]:
    async def stream(request: Any, *, context: Any = None, **options: Any) -> AsyncIterator[Any]:
        end = _begin(mesh, rpc, target)
        end.request(request)
        events, state = inner(request, context=_carrying(context, end), **options), 0
        try:
            while True:
                with end:
                    try:
                        event = await anext(events)
                    except StopAsyncIteration:
                        break
                end.response(event)
                state = _state(event) or state
                yield event
        except BaseException as error:
            if isinstance(error, GeneratorExit) and state in _OVER:
                _ended(end, state)
            _failed(end, error)
            if isinstance(error, GeneratorExit):
                await events.aclose()
            raise
        _ended(end, state)

    return stream


def _begin(mesh: Mesh, rpc: str, target: str) -> Call:
    return mesh.calling(f"A2A {rpc}", {"rpc.system": "a2a", "rpc.service": SERVICE, "rpc.method": rpc}, target)


def _carrying(context: Any, call: Call) -> Any:
    """A copy of the call's context with the headers among its service parameters."""
    if not call.headers:
        return context
    try:
        held = context if context is not None else ClientCallContext()
        sent = {**(held.service_parameters or {}), **call.headers}
        return held.model_copy(update={"service_parameters": sent, "state": {**held.state, _DONE: _Ending(call)}})
    except Exception as fault:  # noqa: BLE001  # the call goes on without the headers
        note("a2a_headers", fault)
        return context


@guarded(lambda: 0)
def _state(event: Any) -> int:
    """The task state that an answer or event tells, 0 for none."""
    for field in ("task", "status_update"):
        inner = getattr(event, field, None)
        if inner is not None and event.HasField(field):
            event = inner
            break
    return int(getattr(getattr(event, "status", None), "state", 0))


@guarded(lambda: None)
def _ended(call: Call, state: int) -> None:
    name = TaskState.Name(state) if state else ""
    call.end({"a2a.task.state": name} if name else {}, name if state in _FAILED else "")


@guarded(lambda: None)
def _failed(call: Call, error: BaseException) -> None:
    if is_cancellation(error):
        call.end({CANCELLED: True})
    else:
        call.end({}, "timeout" if "Timeout" in type(error).__name__ else type(error).__qualname__, error)


class _Ending:
    """Ends a call at the latest when the SDK lets go of the call's context: an error reaches no interceptor."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def __deepcopy__(self, _: object) -> "_Ending":
        return self


class _Dropped(_Ending):
    def __del__(self) -> None:
        if self.call.is_open:
            self.call.end({}, "_OTHER")


class ClientInterceptor(ClientCallInterceptor):
    """The caller's end where only interceptors can be given.

    The SDK tells interceptors of no errors: a call that ends without an answer is an error of type `_OTHER`, from when
    its context is dropped. `a2a_client` knows them all.
    """

    def __init__(self, mesh: Mesh, target: str = "") -> None:
        self._mesh = mesh
        self._target = target

    async def before(self, args: BeforeArgs) -> None:
        """Begin the span, and put the headers into the call's service parameters."""
        state: Mapping[str, Any] = getattr(args.context, "state", None) or {}
        if _DONE in state:
            return
        rpc = "".join(part.capitalize() for part in str(args.method).split("_"))
        call = _begin(self._mesh, rpc, self._target)
        call.request(args.input)
        context = _carrying(args.context, call)
        if context is not args.context:
            context.state[_DONE] = _Dropped(call)
            args.context = context

    async def after(self, args: AfterArgs) -> None:
        """Note an answer; end the span with the one that is the last."""
        held = getattr(args.context, "state", {}).get(_DONE)
        if isinstance(held, _Dropped):
            held.call.response(args.result)
            state = _state(args.result)
            if "streaming" not in str(args.method) or state in _OVER or _is_message(args.result):
                _ended(held.call, state)


@guarded(lambda: False)
def _is_message(event: Any) -> bool:
    return bool(event.HasField("message"))


class TracedExecutor(AgentExecutor):
    """The callee's end: an executor whose work is a span of its agent, under the caller's."""

    def __init__(self, inner: AgentExecutor, mesh: Mesh) -> None:
        self._inner = inner
        self._mesh = mesh

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, context: Any, event_queue: Any) -> None:
        """Do the work of a message."""
        await self._traced(self._inner.execute, "invoke_agent", context, event_queue)

    async def cancel(self, context: Any, event_queue: Any) -> None:
        """Give up the work of a task."""
        await self._traced(self._inner.cancel, "cancel_task", context, event_queue)

    async def _traced(self, work: Callable[..., Any], name: str, context: Any, queue: Any) -> None:
        call = self._begin(name, context)
        watched = _Queue(queue, call)
        try:
            with call:
                await work(context, watched)
        except BaseException as error:
            _failed(call, error)
            raise
        _ended(call, watched.state if name == "invoke_agent" else 0)

    @guarded(Call)
    def _begin(self, name: str, context: Any) -> Call:
        attributes: Attributes = {"rpc.system": "a2a"}
        if name == "invoke_agent":
            attributes |= {"gen_ai.operation.name": name, "task.id": context.task_id or ""}
        attributes["gen_ai.conversation.id"] = context.context_id or ""
        title = f"{name} {self._mesh.agent_id}".strip()
        headers = _sent(context)
        # With a server span of the transport around it this is the work inside that, else the entry itself.
        kind = SpanKind.SERVER if span_around(remote_span(headers)) is None else SpanKind.INTERNAL
        kept = {key: value for key, value in attributes.items() if value}
        call = self._mesh.called(title, kept, lambda: headers, ambient=get_current(), kind=kind)
        call.request(context.message)
        return call


def _sent(context: Any) -> dict[str, str]:
    """The headers of the request, from where each transport's context builder leaves them."""
    state = context.call_context.state
    metadata = getattr(state.get("grpc_context"), "invocation_metadata", None)
    return picked((state.get("headers") or {}).items()) or picked(metadata() if metadata is not None else ())


class _Queue:
    """The queue of a task's events, with an eye on the states that it tells."""

    def __init__(self, inner: Any, call: Call) -> None:
        self._inner = inner
        self._call = call
        self.state = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def enqueue_event(self, event: Any) -> Any:
        self._call.response(event)
        self.state = _state(event) or self.state
        return await self._inner.enqueue_event(event)
