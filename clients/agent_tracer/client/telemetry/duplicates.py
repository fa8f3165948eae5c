"""One model call, one span: the inner of two instrumentations' spans is dropped if the outer tells the usage.

A framework's instrumentation (LangChain, OpenAI Agents) and that of the SDK below it both write a span for the same
call, each with its tokens. The inner one waits for the outer to end: if that has tokens, the inner is dropped and what
was under it moves up; else the inner is all there is, and is sent.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanContext

from agent_tracer.client.telemetry.copies import changed
from agent_tracer.client.telemetry.limits import HELD_SPANS_MAX, OPEN_CALLS_MAX

__all__ = ["ModelCalls", "framework_call_begins"]

_OPERATIONS: Final = frozenset({"chat", "text_completion", "generate_content", "completion"})
_TOKENS: Final = (
    ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    ("gen_ai.usage.output_tokens", "llm.token_count.completion"),
)
_beginning: Final[ContextVar[bool]] = ContextVar("agent_tracer_framework_call", default=False)
_around: Final[ContextVar["weakref.ref[Span] | None"]] = ContextVar("agent_tracer_around", default=None)


@contextmanager
def framework_call_begins() -> Iterator[None]:
    """The next span is a framework's model call, which neither says so when it starts nor becomes current."""
    token = _beginning.set(True)
    try:
        yield
    finally:
        _beginning.reset(token)


@dataclass(slots=True)
class _Call:
    """A model call that has begun."""

    outer: "_Call | None"
    certain: bool
    """The outer is the parent. Else it was only under way in the same context, and tokens must agree."""
    span: SpanContext
    parent: SpanContext | None
    open: bool = True
    ended: ReadableSpan | None = None
    inner: "list[_Call]" = field(default_factory=list)
    children: list[ReadableSpan] = field(default_factory=list)
    """Spans right under this one that wait to learn their parent."""


class ModelCalls:
    """Which model calls are open, and which spans wait for one of them."""

    def __init__(self, forward: Callable[[ReadableSpan], None]) -> None:
        self._forward = forward
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        """By span id; a call leaves when nothing waits for it any more."""
        self.dropped = 0

    def started(self, span: Span, context: Context | None) -> None:
        """See a span begin."""
        framework = _beginning.get()
        if not framework and not _is_model_call(span.attributes or {}):
            return
        parent = trace.get_current_span(context)
        around = _around.get()
        with self._lock:
            if len(self._calls) >= OPEN_CALLS_MAX:
                return
            outer, certain = self._outer(span, parent, around() if around is not None else None)
            own = span.get_span_context()
            call = _Call(outer, certain, own, span.parent)
            self._calls[own.span_id] = call
            if outer is not None:
                outer.inner.append(call)
        if framework:
            _around.set(weakref.ref(span))

    def ended(self, span: ReadableSpan) -> None:
        """Forward a span, now or when what it depends on has ended."""
        ready: list[ReadableSpan] = []
        with self._lock:
            if self._calls:
                self._end(span, ready)
            else:
                ready.append(span)
        for one in ready:
            self._forward(one)

    def release(self) -> None:
        """Forward all that waits: the process ends."""
        with self._lock:
            waiting = [call for call in self._calls.values() if call.ended is not None]
            self._calls.clear()
        for call in waiting:
            for span in (call.ended, *call.children):
                if span is not None:
                    self._forward(span)

    def forget(self) -> None:
        """A forked child: what waits is the parent's."""
        self._lock = threading.Lock()
        self._calls.clear()

    def _outer(self, span: Span, parent: trace.Span, around: Span | None) -> tuple[_Call | None, bool]:
        for one, certain in ((parent, True), (around, False)):
            call = None if one is None else self._calls.get(one.get_span_context().span_id)
            if call is not None and call.open and len(call.inner) < HELD_SPANS_MAX and _scope(one) != _scope(span):
                return call, certain
        return None, False

    def _end(self, span: ReadableSpan, ready: list[ReadableSpan]) -> None:
        own = span.get_span_context()
        call = None if own is None else self._calls.get(own.span_id)
        if call is not None:
            call.ended, call.open = span, False
            if call.outer is None or not call.outer.open:
                self._settle(call, ready)
            return
        above = None if span.parent is None else self._calls.get(span.parent.span_id)
        if above is not None and above.outer is not None and len(above.children) < HELD_SPANS_MAX:
            above.children.append(span)
        else:
            ready.append(span)

    def _settle(self, call: _Call, ready: list[ReadableSpan]) -> None:
        """A call that stays, and what of its inner calls does."""
        self._calls.pop(call.span.span_id, None)
        if call.ended is not None:
            ready.append(call.ended)
        ready.extend(call.children)
        for inner in call.inner:
            if inner.ended is None:  # goes on after the outer ended: its own end settles it
                inner.outer = None
                continue
            if call.ended is not None and _repeats(call.ended, inner.ended, certain=inner.certain):
                self._drop(inner, call.span, ready)
            else:
                self._settle(inner, ready)

    def _drop(self, call: _Call, instead: SpanContext, ready: list[ReadableSpan]) -> None:
        self._calls.pop(call.span.span_id, None)
        self.dropped += 1
        ready.extend(_moved(child, instead) for child in call.children)
        for inner in call.inner:
            self._drop(inner, instead, ready)


def _scope(span: object) -> str:
    return getattr(getattr(span, "instrumentation_scope", None), "name", "")


def _is_model_call(attributes: Mapping[str, object]) -> bool:
    return attributes.get("openinference.span.kind") == "LLM" or attributes.get("gen_ai.operation.name") in _OPERATIONS


def _tokens(span: ReadableSpan) -> tuple[object, ...]:
    attributes = span.attributes or {}
    return tuple(next((attributes[n] for n in names if n in attributes), None) for names in _TOKENS)


def _repeats(outer: ReadableSpan, inner: ReadableSpan, *, certain: bool) -> bool:
    told, again = _tokens(outer), _tokens(inner)
    if not any(told):
        # Neither tells tokens, as with a refused call: one failure is enough.
        return certain and not any(again) and outer.status.status_code is inner.status.status_code
    return certain or not any(again) or told == again


def _moved(span: ReadableSpan, parent: SpanContext) -> ReadableSpan:
    """The span under another parent; a root where that is in another trace."""
    same = span.context is not None and span.context.trace_id == parent.trace_id
    return changed(span, parent=parent if same else None)
