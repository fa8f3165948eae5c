"""Spans of the SDK's kind that a call between agents can afford: plain attributes, and lists only where they are used.

A span of the SDK cleans and copies its attributes, and makes five locks and two lists, before it says anything; a call
has two spans. A `CallSpan` is a span of the SDK for every processor and handler (class, methods, attributes, limits),
whose attributes stay a plain dict while they are few and of plain types; the first that is not makes them the SDK's.

It stands on the inside of opentelemetry-sdk. So it is used only where the tracer is exactly the SDK's, its limits are
no narrower than what a call says, and a trial span tells what the SDK's own does. Else the tracer makes the spans.
"""

# ruff: noqa: ANN401, SLF001  # a subclass of the SDK's span, with its values of any type; see above for what guards it

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from time import time_ns
from types import MappingProxyType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from agent_tracer.client.mesh.calls import Attributes, Links, Start

ATTRIBUTES_OF_A_CALL: Final = 32
"""More than the mesh itself puts on a span; a provider that wants fewer gets the SDK's own spans."""
LINKS_OF_A_CALL: Final = 1
ATTRIBUTES_OF_A_LINK: Final = 2

_PLAIN: Final = frozenset({str, int, bool, float})
"""Types that the SDK takes as they are; subclasses of them (enums) and all others are cleaned by it."""
_TEXT: Final = frozenset({str})
_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))
"""W3C Trace Context level 2: bit 0 sampled, bit 1 random."""
_SAMPLED: Final = 1
_RANDOM: Final = 2
_KNOWN: Final = 3
_UNCOUNTED: Final = frozenset({"NoneType", "NoOpTracerMetrics"})
"""A tracer that has these for metrics of its own counts no spans; another's spans are counted where it makes them."""

_log: Final = logging.getLogger("opentelemetry.sdk.trace")
"""What a handler does to a span that has ended is told where the SDK tells it."""


class CallSpan(sdk.Span):
    """A span of the SDK, made by `starter`'s functions alone."""

    # What the SDK sets on each span and is the same for all of these.
    _trace_config = None
    _record_exception = True
    _set_status_on_exception = True
    _record_end_metrics = None
    _status = Status(StatusCode.UNSET)
    _end_time: int | None = None
    _events: Any = ()
    _attributes: Any

    def __init__(  # noqa: PLR0913, PLR0917  # each once, from the one place that makes them
        self,
        tracer: sdk.Tracer,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Links,
    ) -> None:
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes = attributes
        self._links: Any = links
        self._lock = Lock()
        self._limits = tracer._span_limits
        self._resource = tracer.resource
        self._sampler = tracer.sampler
        self._span_processor = tracer.span_processor
        self._instrumentation_info = tracer.instrumentation_info
        self._instrumentation_scope = tracer._instrumentation_scope
        self._start_time = time_ns()
        if not _PLAIN.issuperset(map(type, attributes.values())):
            self._attributes = self._bounded()

    @property
    def attributes(self) -> Any:
        """As they are now. A copy: another thread may read them while a handler adds some."""
        held = self._attributes
        return MappingProxyType(held.copy() if type(held) is dict else held)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """As the SDK's."""
        if not self._taken(attributes):
            super().set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        """As the SDK's."""
        if type(key) is not str or not self._taken({key: value}):
            super().set_attribute(key, value)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """As the SDK's."""
        with self._lock:
            if not self._events:
                sdk_span: Any = super()
                self._events = sdk_span._new_events()
        super().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        """As the SDK's."""
        with self._lock:
            if type(self._links) is tuple:
                self._links = self._new_links(self._links)
        super().add_link(context, attributes)

    def end(self, end_time: int | None = None) -> None:
        """As the SDK's."""
        if type(self._attributes) is not dict:
            super().end(end_time)
            return
        with self._lock:
            if self._end_time is not None:
                _log.warning("Calling end() on an ended span.")
                return
            self._end_time = time_ns() if end_time is None else end_time
        self._span_processor._on_ending(self)
        self._span_processor.on_end(self._readable_span())

    def _taken(self, attributes: Mapping[str, Any]) -> bool:
        """Put plain attributes among the plain; False where they are the SDK's to put, or to refuse."""
        with self._lock:
            held = self._attributes
            if type(held) is not dict or self._end_time is not None:
                return False
            room = self._limits.max_span_attributes
            if (
                (room is None or len(held) + len(attributes) <= room)
                and _PLAIN.issuperset(map(type, attributes.values()))
                and _TEXT.issuperset(map(type, attributes))
                and "" not in attributes
            ):
                held.update(attributes)
                return True
            self._attributes = self._bounded()
            return False

    def _bounded(self) -> BoundedAttributes:
        return BoundedAttributes(self._limits.max_span_attributes, self._attributes, immutable=False)


def starter(tracer: trace.Tracer) -> Start:
    """What starts spans of this tracer, by name, context, the valid span context in that if any, and so on.

    Attributes given to it are its own from then on.
    """
    if type(tracer) is sdk.Tracer and _is_known_sdk() and _fits(tracer):
        return _starter(tracer)
    return lambda name, context, _, kind, attributes, links: tracer.start_span(name, context, kind, attributes, links)


def _fits(tracer: sdk.Tracer) -> bool:
    limits = tracer._span_limits
    return (
        "start_span" not in vars(tracer)  # somebody's patch of it is to be obeyed
        and _is_wide(limits.max_span_attributes, ATTRIBUTES_OF_A_CALL)
        and _is_wide(limits.max_links, LINKS_OF_A_CALL)
        and _is_wide(limits.max_link_attributes, ATTRIBUTES_OF_A_LINK)
        and limits.max_attribute_length is None
        and limits.max_span_attribute_length is None
        and type(getattr(tracer, "_tracer_metrics", None)).__name__ in _UNCOUNTED
    )


def _is_wide(limit: int | None, needed: int) -> bool:
    return limit is None or limit >= needed


def _starter(tracer: sdk.Tracer) -> Start:
    ids, processor = tracer.id_generator, tracer.span_processor
    of_roots = _SAMPLED | (_RANDOM if ids.is_trace_id_random() else 0)

    def start(  # noqa: PLR0913, PLR0917  # `Start`'s
        name: str, context: Context, above: SpanContext | None, kind: SpanKind, attributes: Attributes, links: Links
    ) -> trace.Span:
        if not tracer._is_enabled():
            return tracer.start_span(name, context, kind, attributes, links)
        if above is None:
            trace_id, flags, state = ids.generate_trace_id(), of_roots, None
        else:
            trace_id, flags, state = above.trace_id, int(above.trace_flags), above.trace_state
        found: Any = None
        sampler: Any = tracer.sampler
        if sampler is not sampling.DEFAULT_ON or not flags & _SAMPLED:  # else: all roots, and what the parent says
            found = sampler.should_sample(context, trace_id, name, kind, attributes, links)
            flags, state = (flags & _RANDOM) | found.decision.is_sampled(), found.trace_state
        own = SpanContext(trace_id, ids.generate_span_id(), False, _FLAGS[flags & _KNOWN], state)  # noqa: FBT003
        if found is None:
            span = CallSpan(tracer, name, own, above, kind, attributes, links)
        elif found.decision.is_recording():
            span = CallSpan(tracer, name, own, above, kind, {}, links)
            span.set_attributes(found.attributes or {})
        else:
            return NonRecordingSpan(own)
        processor.on_start(span, parent_context=context)
        return span

    return start


class _Counted(IdGenerator):
    """Ids of the trial: the same for each of its spans."""

    def generate_span_id(self) -> int:
        return 2

    def generate_trace_id(self) -> int:
        return 1


@lru_cache(maxsize=1)
def _is_known_sdk() -> bool:
    """Whether a trial span and the SDK's own say the same, having been through the same."""
    on, as_parent = sampling.ALWAYS_ON, sampling.DEFAULT_ON
    try:
        return all(_is_alike(*one) for one in ((on, 0), (as_parent, None), (as_parent, _SAMPLED), (as_parent, _KNOWN)))
    except Exception:  # noqa: BLE001  # a release of the SDK that is another inside; its own spans serve as well
        return False


def _is_alike(sampler: sampling.Sampler, flags: int | None) -> bool:
    """`flags`: those of a parent elsewhere, None for no parent."""
    provider = sdk.TracerProvider(sampler, Resource({}), shutdown_on_exit=False, id_generator=_Counted())
    tracer: Any = provider.get_tracer("agent_tracer.client.mesh.trial")
    context, parent = Context(), None
    if flags is not None:
        parent = SpanContext(3, 4, is_remote=True, trace_flags=_FLAGS[flags])
        context = trace.set_span_in_context(NonRecordingSpan(parent), context)
    kind, attributes = SpanKind.CLIENT, {"a": "b"}
    links = (Link(SpanContext(5, 6, is_remote=True), BoundedAttributes(None, {"l": 1})),)
    of_sdk: Any = tracer.start_span("a", context, kind, attributes, links)
    of_ours: Any = _starter(tracer)("a", context, parent, kind, attributes, links)
    return _told(of_ours) == _told(of_sdk)


def _told(span: Any) -> list[object]:
    """What a span tells that has been through all that can happen to one."""
    told: list[object] = [dict(span.attributes), span.is_recording(), span.parent, span.resource]
    span.set_attributes({"c": 1})
    span.set_attribute("d", [1, 2])
    span.add_event("e", {"f": 1}, 7)
    span.record_exception(ValueError("g"), timestamp=8)
    span.add_link(SpanContext(9, 10, is_remote=True), {"h": 1})
    span.update_name("i")
    span.set_status(Status(StatusCode.ERROR, "j"))
    span.end(11)
    read: sdk.ReadableSpan = span._readable_span()
    json_of = json.loads(read.to_json())
    began = json_of.pop("start_time")
    told += [span.is_recording(), began is not None, span.get_span_context(), read.context, read.kind, json_of]
    return [*told, read.instrumentation_scope]
