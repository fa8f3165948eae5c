"""The mesh's own spans say what the SDK's do, to processors, handlers and exporters, and give way where they cannot."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from agent_tracer.client._shared.identity import AGENT_ID
from agent_tracer.client.mesh import spans
from agent_tracer.client.mesh.calls import Mesh
from agent_tracer.client.mesh.spans import CallSpan, starter
from agent_tracer.client.telemetry.processor import AgentSpanProcessor
from tests.fixtures.mesh import Caught

PARENT = SpanContext(3, 4, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))


def begin(provider: TracerProvider, above: SpanContext | None = None, **attributes: Any) -> Any:
    context = Context() if above is None else trace.set_span_in_context(NonRecordingSpan(above), Context())
    start = starter(provider.get_tracer("test", "1"))
    return start("call", context, above, SpanKind.CLIENT, attributes, ())


def of_sdk(provider: TracerProvider, above: SpanContext | None = None, **attributes: Any) -> Any:
    context = Context() if above is None else trace.set_span_in_context(NonRecordingSpan(above), Context())
    return provider.get_tracer("test", "1").start_span("call", context, SpanKind.CLIENT, attributes)


class Same(IdGenerator):
    def generate_span_id(self) -> int:
        return 2

    def generate_trace_id(self) -> int:
        return 1


def everything(span: Any) -> None:
    span.set_attribute("list", [1, "two"])
    span.set_attribute("object", {"a": {"b": None}})
    span.set_attribute(5, "no name")
    span.set_attribute("", "no name")
    span.set_attributes({"kind": SpanKind.SERVER, "truth": True, "half": 0.5})
    span.add_event("event", {"a": [1]}, 7)
    span.record_exception(ValueError("text"), {"more": 1}, 8)
    span.add_link(SpanContext(5, 6, is_remote=True), {"why": "x"})
    span.add_link(SpanContext(0, 0, is_remote=True))
    span.update_name("renamed")
    span.set_status(StatusCode.ERROR, "broken")
    span.set_status(Status(StatusCode.OK))
    span.set_status(StatusCode.ERROR, "too late")
    span.end(9)


@pytest.mark.parametrize("above", [None, PARENT])
def test_a_span_says_what_the_sdks_own_would_say(above: SpanContext | None) -> None:
    told = []
    for make in (begin, of_sdk):
        caught = Caught()
        given: Any = caught.provider
        given.id_generator = Same()
        everything(make(caught.provider, above, a="b", n=1))
        (span,) = caught.spans
        text = json.loads(span.to_json())
        text.pop("start_time")
        text["resource"]["attributes"].pop("service.instance.id", None)
        told.append((text, span.context, span.parent, span.instrumentation_scope, span.dropped_attributes))
    assert told[0] == told[1]
    assert told[0][0]["attributes"]["list"] == [1, "two"]


def test_it_is_used_with_the_sdks_own_provider_and_says_so_by_its_class() -> None:
    span = begin(TracerProvider())
    assert type(span) is CallSpan
    assert isinstance(span, Span)
    assert isinstance(span, ReadableSpan)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_span_attributes": 2},
        {"max_span_attribute_length": 3},
        {"max_attribute_length": 3},
        {"max_links": 0},
        {"max_link_attributes": 1},
    ],
)
def test_limits_narrower_than_a_call_are_kept_by_the_sdk(limits: dict[str, int]) -> None:
    provider = TracerProvider(span_limits=SpanLimits(**limits))
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    call = Mesh("planner", tracer_provider=provider).calling("call", {"one": "12345", "two": "12345"})
    assert type(call.span) is not CallSpan
    call.end()
    (span,) = exporter.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert len(attributes) <= limits.get("max_span_attributes", 128)
    longest = limits.get("max_span_attribute_length", limits.get("max_attribute_length", 128))
    assert max(len(str(value)) for value in attributes.values()) <= longest


def test_a_handlers_attributes_are_bounded_as_the_sdk_bounds_them() -> None:
    held: list[tuple[Mapping[str, Any], int]] = []
    for make in (begin, of_sdk):
        caught = Caught()
        span = make(caught.provider, a="b")
        for number in range(200):
            span.set_attribute(f"n{number}", number)
        span.end()
        held.append((dict(caught.spans[0].attributes or {}), caught.spans[0].dropped_attributes))
    assert held[0] == held[1]
    assert (len(held[0][0]), held[0][1]) == (128, 73)


class Deciding(sampling.Sampler):
    def __init__(self, decision: sampling.Decision, attributes: Any = None) -> None:
        self._result = sampling.SamplingResult(decision, attributes, TraceState([("by", "sampler")]))
        self.asked: list[tuple[Any, ...]] = []

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> sampling.SamplingResult:
        self.asked.append((trace_id, name, kind, dict(attributes or {})))
        return self._result

    def get_description(self) -> str:
        return "decides"


@pytest.mark.parametrize("decision", list(sampling.Decision))
@pytest.mark.parametrize("above", [None, PARENT])
def test_the_sampler_is_asked_once_and_obeyed(decision: sampling.Decision, above: SpanContext | None) -> None:
    told = []
    for make in (begin, of_sdk):
        sampler = Deciding(decision, {"sampled.by": "rule"})
        provider = TracerProvider(sampler, id_generator=Same())
        span = make(provider, above, a="b")
        told.append(
            (span.is_recording(), span.get_span_context(), dict(getattr(span, "attributes", {})), sampler.asked)
        )
        span.end()
    assert told[0] == told[1]
    assert len(told[0][3]) == 1


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("is_remote", [True, False])
@pytest.mark.parametrize(
    "sampler", [sampling.DEFAULT_ON, sampling.DEFAULT_OFF, sampling.ALWAYS_ON, sampling.ParentBasedTraceIdRatio(0.0)]
)
def test_flags_and_state_are_the_sdks_whatever_the_parents(sampler: Any, flags: int, is_remote: bool) -> None:
    above = SpanContext(3, 4, is_remote=is_remote, trace_flags=TraceFlags(flags), trace_state=TraceState([("a", "b")]))
    provider = TracerProvider(sampler, id_generator=Same())
    ours, sdks = begin(provider, above), of_sdk(provider, above)
    assert ours.get_span_context() == sdks.get_span_context()
    assert ours.is_recording() is sdks.is_recording()
    for span in (ours, sdks):
        span.end()


class Looking(SpanProcessor):
    """A processor of a user's, with everything that such ones do."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        above = trace.get_current_span(parent_context).get_span_context()
        self.seen.append(
            {
                "name": span.name,
                "attributes": dict(span.attributes or {}),
                "parent": span.parent == (above if above.is_valid else None),
                "resource": dict(span.resource.attributes),
                "context": span.get_span_context() == span.context,
                "kind": span.kind,
                "started": bool(span.start_time),
                "open": (span.end_time, span.is_recording(), span.status.status_code, span.events, span.links),
                "read": span._readable_span().name,
                "scope": span.instrumentation_scope,
            }
        )
        span.set_attribute("seen.by", "processor")

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


def test_a_users_processor_sees_and_changes_what_it_would_with_the_sdks() -> None:
    looks = []
    for make in (begin, of_sdk):
        provider, looking = TracerProvider(), Looking()
        provider.add_span_processor(looking)
        make(provider, PARENT, a="b").end()
        looking.seen[0]["resource"].pop("service.instance.id", None)
        looks.append((looking.seen, dict(looking.ended[0].attributes or {})))
    assert looks[0] == looks[1]
    assert looks[0][1] == {"a": "b", "seen.by": "processor"}


class Taking(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


@pytest.mark.parametrize(
    "around", [BatchSpanProcessor, SimpleSpanProcessor, lambda out: AgentSpanProcessor(BatchSpanProcessor(out))]
)
def test_processors_hand_on_a_span_that_is_only_to_be_read(around: Any) -> None:
    exporter, provider = Taking(), TracerProvider()
    provider.add_span_processor(around(exporter))
    call = Mesh("planner", tracer_provider=provider).calling("call", {})
    assert type(call.span) is CallSpan
    call.end({"done": True})
    provider.shutdown()
    (span,) = exporter.spans
    assert type(span) is ReadableSpan
    assert dict(span.attributes or {})[AGENT_ID] == "planner"


def test_a_span_ends_once_and_takes_nothing_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    caught = Caught()
    span = begin(caught.provider, a="b")
    span.end(5)
    before = caught.spans[0].to_json()
    with caplog.at_level(logging.WARNING, "opentelemetry.sdk.trace"):
        span.end(6)
        span.set_attribute("late", 1)
        span.set_attributes({"late": 1})
        span.add_event("late")
        span.add_link(SpanContext(5, 6, is_remote=True))
        span.record_exception(ValueError("late"))
        span.set_status(StatusCode.ERROR)
        span.update_name("late")
    assert [one.to_json() for one in caught.spans] == [before]
    assert not span.is_recording()
    assert len(caplog.records) == 8


def test_attributes_that_were_read_do_not_change_under_the_reader() -> None:
    span = begin(TracerProvider(), a="b")
    held = span.attributes
    for key in held:
        span.set_attribute(f"{key}.more", 1)
    with pytest.raises(TypeError):
        held["c"] = 1
    assert dict(span.attributes) == {"a": "b", "a.more": 1}


def test_as_a_context_manager_it_ends_with_the_exception_it_saw() -> None:
    caught = Caught()
    with pytest.raises(ValueError, match="text"), begin(caught.provider):
        raise ValueError("text")
    (span,) = caught.spans
    assert (span.status.status_code, [event.name for event in span.events]) == (StatusCode.ERROR, ["exception"])


def test_a_call_keeps_its_link_and_the_cached_link_is_nobodys_to_change() -> None:
    caught = Caught()
    headers = {"traceparent": f"00-{3:032x}-{4:016x}-01", "baggage": "gen_ai.agent.id=planner"}
    for _ in range(2):
        Mesh("writer", tracer_provider=caught.provider).called("call", {}, lambda: headers).end()
    (link,) = caught.spans[1].links
    assert dict(link.attributes or {}) == {"ossa.delegation.type": "handoff", "ossa.agent.id": "planner"}
    changing: Any = link.attributes
    with pytest.raises(TypeError):
        changing["x"] = 1


class Own(TracerProvider):
    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        made = super().get_tracer(*args, **kwargs)
        vars(made)["start_span"] = made.start_span
        return made


def test_a_tracer_that_somebody_changed_makes_the_spans_itself() -> None:
    assert type(begin(Own())) is not CallSpan


def test_an_sdk_that_is_another_inside_makes_the_spans_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CallSpan, "update_name", lambda *_: None)
    spans._is_known_sdk.cache_clear()
    try:
        assert type(begin(TracerProvider())) is not CallSpan
    finally:
        spans._is_known_sdk.cache_clear()


def test_a_provider_set_after_the_first_call_is_used_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    caught, mesh = Caught(), Mesh("planner")
    proxy = trace.ProxyTracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: proxy)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    mesh.calling("before", {}).end()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: caught.provider)
    mesh.calling("after", {}).end()
    assert [span.name for span in caught.spans] == ["after"]
