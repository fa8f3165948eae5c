"""One end of a call between agents: its span, its context, and its end, whatever carries the call.

Own spans on OpenTelemetry's API rather than opentelemetry-instrumentation-grpc's: that package knows no agents, links
or baggage of identities, has no grpclib, A2A or envelopes, and is not among what an agent needs to install. It may stay
installed: use the one or the other on a channel or server.
"""

# ruff: noqa: ANN401  # messages and tracer providers are whatever the agent has

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode

from agent_tracer.client._shared.identity import as_agent, current_agent
from agent_tracer.client.mesh.faults import guarded, note, nothing
from agent_tracer.client.mesh.messages import Capture, Direction
from agent_tracer.client.mesh.parties import HANDOFF, caller_of, known_caller, receive, received
from agent_tracer.client.mesh.parties import Attributes as Attributes
from agent_tracer.client.mesh.propagation import headers_of, remote_span

SCOPE: Final = "agent_tracer.client.mesh"
CANCELLED: Final = "agent_tracer.cancelled"
"""True on a span whose work was given up from outside: no error of the agent, so its status stays unset."""

Links = tuple[Link, ...]
Start = Callable[[str, Context, SpanContext | None, SpanKind, Attributes, Links], Span]

_REQUEST: Final = ("rpc.request.type", "rpc.request.size", "rpc.request.messages", "input.value")
_RESPONSE: Final = ("rpc.response.type", "rpc.response.size", "rpc.response.messages", "output.value")
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Call:
    """A running call. Every method is safe to call at any time, in any order, and raises nothing.

    As a context manager it makes the call's span and agent current; it may be entered again and again, not within
    itself, from whichever task or thread goes on with the call.
    """

    __slots__ = ("_capture", "_context", "_open", "_parent", "_token", "headers", "requests", "responses", "span")

    def __init__(self, span: Span | None = None, parent: Context | None = None, capture: Capture | None = None) -> None:
        self.span = span
        self.headers: Mapping[str, str] = _NO_HEADERS
        self.requests = Direction()
        self.responses = Direction()
        self._parent = parent
        self._context: Context | None = None
        self._capture = capture
        self._open = span is not None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        if self.span is not None:
            if self._context is None:  # made here, for many a caller's end is never entered
                self._context = trace.set_span_in_context(self.span, self._parent)
            self._token = attach(self._context)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            token, self._token = self._token, None
            detach(token)

    @property
    def is_open(self) -> bool:
        """Whether the span has begun and not ended."""
        return self._open

    def request(self, message: Any) -> None:
        """Note a message of the caller."""
        try:
            if self._open:
                self.requests.add(message, self._capture)
        except Exception as fault:  # noqa: BLE001  # as of every guarded function, a step less on each message's road
            note("request", fault)

    def response(self, message: Any) -> None:
        """Note a message of the callee."""
        try:
            if self._open:
                self.responses.add(message, self._capture)
        except Exception as fault:  # noqa: BLE001  # as above
            note("response", fault)

    @guarded(nothing)
    def set(self, attributes: Attributes) -> None:
        """Put attributes on the span."""
        if self._open and self.span is not None:
            self.span.set_attributes({key: value for key, value in attributes.items() if value not in ("", None)})

    def end(
        self, attributes: Attributes | None = None, error_type: str = "", error: BaseException | None = None
    ) -> None:
        """End the span, the first time only. `error_type` non-empty makes it an error.

        Of `error` no text is kept unless messages are: its text may be made of theirs.
        """
        if not self._open or self.span is None:
            return
        self._open = False
        span = self.span
        try:
            attributes = {} if attributes is None else attributes
            if self.requests.count:
                _describe(attributes, _REQUEST, self.requests)
            if self.responses.count:
                _describe(attributes, _RESPONSE, self.responses)
            if error_type:
                attributes["error.type"] = error_type
                text = self._capture.text(str(error)) if self._capture is not None and error is not None else None
                span.set_status(Status(StatusCode.ERROR, text))
            span.set_attributes(attributes)
        except Exception as fault:  # noqa: BLE001  # as of every guarded function
            note("end", fault)
        finally:
            try:
                span.end()
            except Exception as fault:  # noqa: BLE001  # as above
                note("end", fault)


def _describe(attributes: Attributes, names: tuple[str, str, str, str], direction: Direction) -> None:
    kind, size, messages, content = names
    if direction.kind:
        attributes[kind] = direction.kind
    if direction.size:
        attributes[size] = direction.size
    if direction.count > 1:
        attributes[messages] = direction.count
    if direction.texts:
        attributes[content] = "\n".join(direction.texts)


def is_cancellation(error: BaseException | None) -> bool:
    """Whether the work was given up by whoever waited for it, rather than failed."""
    return isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)


@dataclass(slots=True)
class Mesh:
    """Whose end of a call this is, and how its spans are made.

    `agent_id` empty: the agent of the current context, if any. `capture`: whether and how contents are taken over.
    """

    agent_id: str = ""
    capture: Capture | None = None
    tracer_provider: Any = None
    _starter: Start | None = field(default=None, repr=False)

    def start(  # noqa: PLR0913, PLR0917  # what a span is made of
        self,
        name: str,
        context: Context,
        above: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Links = (),
    ) -> Span:
        """Start a span under `above`, the span of `context` if that has one.

        What starts it is looked up until the process has a tracer provider, then once.
        """
        if self._starter is not None:
            return self._starter(name, context, above, kind, attributes, links)
        tracer = trace.get_tracer(SCOPE, tracer_provider=self.tracer_provider)
        if type(tracer) is trace.ProxyTracer:
            return tracer.start_span(name, context, kind, attributes, links)
        from agent_tracer.client.mesh.spans import starter  # noqa: PLC0415  # the SDK, which a caller may do without

        self._starter = starter(tracer)
        return self._starter(name, context, above, kind, attributes, links)

    @guarded(Call)
    def calling(self, name: str, attributes: Attributes, target: str = "", kind: SpanKind = SpanKind.CLIENT) -> Call:
        """Begin the caller's end: a span under the current one, and the headers that carry it on."""
        parent, above = get_current(), None
        if parent:
            caller = caller_of(self.agent_id, baggage.get_all(parent))
            held = trace.get_current_span(parent).get_span_context()
            above = held if held.is_valid else None
            if caller.is_new:
                parent = as_agent(caller.agent, parent)
        else:
            caller = known_caller(self.agent_id, ())
            parent = caller.alone
        attributes = {**attributes, **caller.attributes}
        if target:
            attributes["ossa.delegation.target"] = target
            attributes["ossa.delegation.type"] = HANDOFF
        span = self.start(name, parent, above, kind, attributes)
        call = Call(span, parent, self.capture)
        call.headers = headers_of(span.get_span_context(), caller.baggage)
        return call

    @guarded(Call)
    def called(
        self,
        name: str,
        attributes: Attributes,
        headers: Callable[[], Mapping[str, str]],
        *,
        ambient: Context | None = None,
        kind: SpanKind = SpanKind.SERVER,
    ) -> Call:
        """Begin the callee's end: a span under the caller's, linked to it where one agent delegates to another.

        `ambient` is what it stands under when the caller sent no trace context: nothing, unless given. A current span
        of the same trace that is still open, such as a transport's, comes between.
        """
        agent = self.agent_id or current_agent()
        sent = _headers(headers)
        taken = received(sent.get("baggage", ""), agent) if ambient is None else receive(sent, ambient, agent)
        caller_span, parent = remote_span(sent), taken.context
        above = caller_span
        links: Links = ()
        if caller_span is not None:
            around = span_around(caller_span) if ambient is not None else None
            above = around.get_span_context() if around is not None else caller_span
            parent = trace.set_span_in_context(around or NonRecordingSpan(caller_span), parent)
            links = (Link(caller_span, taken.link),) if taken.link else ()
        elif ambient is not None:
            held = trace.get_current_span(parent).get_span_context()
            above = held if held.is_valid else None
        span = self.start(name, parent, above, kind, {**attributes, **taken.attributes}, links)
        return Call(span, parent, self.capture)


def span_around(caller_span: SpanContext | None) -> Span | None:
    """The current span, where it is this process's own, still open, and of the caller's trace.

    A tracer that is switched off puts its caller's span before one that does not record.
    """
    around = trace.get_current_span()
    context = around.get_span_context()
    is_open = around.is_recording() or isinstance(around, NonRecordingSpan)
    is_ours = context.is_valid and not context.is_remote and is_open
    return around if is_ours and (caller_span is None or caller_span.trace_id == context.trace_id) else None


def _headers(read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    try:
        return read()
    except Exception as fault:  # noqa: BLE001  # as of every guarded function
        note("_headers", fault)
        return _NO_HEADERS
