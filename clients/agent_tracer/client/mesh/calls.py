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
from functools import lru_cache
from typing import Any, Final, Self

from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from agent_tracer.client._shared.identity import (
    AGENT_ID,
    INTERACTION_ID,
    SESSION_ID,
    as_agent,
    current_agent,
)
from agent_tracer.client.mesh.faults import guarded, note, nothing
from agent_tracer.client.mesh.messages import Capture, Direction
from agent_tracer.client.mesh.propagation import KEPT, outgoing, remote_span, with_baggage

SCOPE: Final = "agent_tracer.client.mesh"
CANCELLED: Final = "agent_tracer.cancelled"
"""True on a span whose work was given up from outside: no error of the agent, so its status stays unset."""
HANDOFF: Final = "handoff"
"""OSSA's delegation type of one agent calling another."""

Attributes = dict[str, Any]


class Call:
    """A running call. Every method is safe to call at any time, in any order, and raises nothing.

    As a context manager it makes the call's span and agent current; it may be entered again and again, not within
    itself, from whichever task or thread goes on with the call.
    """

    __slots__ = ("_capture", "_open", "_token", "context", "headers", "requests", "responses", "span")

    def __init__(
        self, span: Span | None = None, context: Context | None = None, capture: Capture | None = None
    ) -> None:
        self.span = span
        self.context = context
        self.headers: Mapping[str, str] = {}
        self.requests = Direction()
        self.responses = Direction()
        self._capture = capture
        self._open = span is not None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Self:
        if self.context is not None:
            self._token = attach(self.context)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            token, self._token = self._token, None
            detach(token)

    @property
    def is_open(self) -> bool:
        """Whether the span has begun and not ended."""
        return self._open

    @guarded(nothing)
    def request(self, message: Any) -> None:
        """Note a message of the caller."""
        if self._open:
            self.requests.add(message, self._capture)

    @guarded(nothing)
    def response(self, message: Any) -> None:
        """Note a message of the callee."""
        if self._open:
            self.responses.add(message, self._capture)

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
        try:
            self._finish(self.span, attributes or {}, error_type, error)
        except Exception as fault:  # noqa: BLE001  # as of every guarded function
            note("end", fault)
        finally:
            self._close(self.span)

    def _finish(self, span: Span, attributes: Attributes, error_type: str, error: BaseException | None) -> None:
        if self.requests.count:
            attributes |= _described("request", "input.value", self.requests)
        if self.responses.count:
            attributes |= _described("response", "output.value", self.responses)
        if error_type:
            attributes["error.type"] = error_type
            text = self._capture.text(str(error)) if self._capture is not None and error is not None else None
            span.set_status(Status(StatusCode.ERROR, text))
        span.set_attributes(attributes)

    @guarded(nothing)
    def _close(self, span: Span) -> None:
        span.end()


def _described(side: str, content: str, direction: Direction) -> Attributes:
    made: Attributes = {}
    if direction.kind:
        made[f"rpc.{side}.type"] = direction.kind
    if direction.size:
        made[f"rpc.{side}.size"] = direction.size
    if direction.count > 1:
        made[f"rpc.{side}.messages"] = direction.count
    if direction.texts:
        made[content] = "\n".join(direction.texts)
    return made


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
    _tracer: Tracer | None = field(default=None, repr=False)

    def tracer(self) -> Tracer:
        """The tracer, looked up once."""
        if self._tracer is None:
            self._tracer = trace.get_tracer(SCOPE, tracer_provider=self.tracer_provider)
        return self._tracer

    @guarded(Call)
    def calling(self, name: str, attributes: Attributes, target: str = "", kind: SpanKind = SpanKind.CLIENT) -> Call:
        """Begin the caller's end: a span under the current one, and the headers that carry it on."""
        parent = get_current()
        entries = baggage.get_all(parent)
        agent = self.agent_id or _text(entries.get(AGENT_ID))
        if entries.get(AGENT_ID) != agent:
            parent = as_agent(agent, parent)
        attributes = {
            **attributes,
            **_identity(agent, _text(entries.get(SESSION_ID)), _text(entries.get(INTERACTION_ID))),
        }
        if target:
            attributes["ossa.delegation.target"] = target
            attributes["ossa.delegation.type"] = HANDOFF
        span = self.tracer().start_span(name, parent, kind, attributes)
        context = trace.set_span_in_context(span, parent)
        call = Call(span, context, self.capture)
        call.headers = outgoing(context)
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
        received = _received(sent.get("baggage", ""), agent) if ambient is None else _receive(sent, ambient, agent)
        caller_span, parent = remote_span(sent), received.context
        if caller_span is not None:
            around = span_around(caller_span) if ambient is not None else None
            parent = trace.set_span_in_context(around or NonRecordingSpan(caller_span), parent)
        links: tuple[Link, ...] = ()
        if received.link and caller_span is not None:
            links = (Link(caller_span, received.link),)
        span = self.tracer().start_span(name, parent, kind, {**attributes, **received.attributes}, links)
        return Call(span, trace.set_span_in_context(span, parent), self.capture)


def span_around(caller_span: SpanContext | None) -> Span | None:
    """The current span, where it is this process's own, still open, and of the caller's trace.

    A tracer that is switched off puts its caller's span before one that does not record.
    """
    around = trace.get_current_span()
    context = around.get_span_context()
    is_open = around.is_recording() or isinstance(around, NonRecordingSpan)
    is_ours = context.is_valid and not context.is_remote and is_open
    return around if is_ours and (caller_span is None or caller_span.trace_id == context.trace_id) else None


@dataclass(frozen=True, slots=True)
class _Received:
    """What a callee makes of the baggage that it was sent: its own context, and what its span and link say."""

    context: Context
    attributes: Attributes
    link: Attributes


def _receive(sent: Mapping[str, str], ambient: Context, agent: str) -> _Received:
    context = with_baggage(sent.get("baggage", ""), ambient)
    entries = baggage.get_all(context)
    caller = _text(entries.get(AGENT_ID))
    attributes = dict(_identity(agent, _text(entries.get(SESSION_ID)), _text(entries.get(INTERACTION_ID))))
    link: Attributes = {}
    if caller and agent and caller != agent:
        attributes |= {"ossa.delegation.type": HANDOFF, "ossa.parent.agent.id": caller}
        link = {"ossa.delegation.type": HANDOFF, "ossa.agent.id": caller}
    return _Received(as_agent(agent, context), attributes, link)


@lru_cache(maxsize=KEPT)
def _received(text: str, agent: str) -> _Received:
    """As `_receive` with nothing around, where it is the same for nearly all calls of a caller."""
    return _receive({"baggage": text}, Context(), agent)


def _no_headers() -> Mapping[str, str]:
    return {}


@guarded(_no_headers)
def _headers(read: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    return read()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


@lru_cache(maxsize=KEPT)
def _identity(agent: str, session: str, interaction: str) -> Attributes:
    made = {AGENT_ID: agent, "ossa.agent.id": agent, SESSION_ID: session, "ossa.session.id": session}
    made[INTERACTION_ID] = interaction
    return {key: value for key, value in made.items() if value}
