"""The scan misses no name that a request carries, wherever it lies."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from agent_tracer.server.adapters.model_scan import MODEL_KEYS, PROVIDER_KEYS, scan_models
from agent_tracer.server.domain.semantics import COLUMNS
from agent_tracer.server.limits import MODEL_NAME_BYTES_MAX
from tests.fixtures.otlp_reversed import reversed_encoding

KEYS = MODEL_KEYS + PROVIDER_KEYS


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request(spans: list[Span], resource: list[KeyValue] | None = None) -> bytes:
    scope_spans = [ScopeSpans(spans=spans)]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=Resource(attributes=resource or []), scope_spans=scope_spans)]
    ).SerializeToString()


names = st.text(min_size=1, max_size=MODEL_NAME_BYTES_MAX).filter(
    lambda name: len(name.encode()) <= MODEL_NAME_BYTES_MAX
)
values = st.one_of(
    st.builds(AnyValue, string_value=st.text()),
    st.builds(AnyValue, bytes_value=st.binary()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(
        AnyValue,
        array_value=st.builds(ArrayValue, values=st.lists(st.builds(AnyValue, string_value=st.sampled_from(KEYS)))),
    ),
)
attributes = st.one_of(
    st.builds(text, st.sampled_from(KEYS), names),
    st.builds(KeyValue, key=st.one_of(st.text(), st.sampled_from(KEYS)), value=values),
)
spans = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    name=st.text(),
    attributes=st.lists(attributes, max_size=8),
    events=st.lists(st.builds(Span.Event, name=st.text(), attributes=st.lists(attributes, max_size=2)), max_size=2),
)


def carried(request_bytes: bytes, keys: tuple[str, ...]) -> set[str]:
    """The short texts under the keys, as protobuf reads the request."""
    found: list[KeyValue] = []
    for resource_spans in ExportTraceServiceRequest.FromString(request_bytes).resource_spans:
        found += resource_spans.resource.attributes
        for span in resource_spans.scope_spans[0].spans:
            found += [
                *span.attributes,
                *(attribute for event in span.events for attribute in event.attributes),
            ]
    texts = {attribute.value.string_value for attribute in found if attribute.key in keys}
    return {name for name in texts if 0 < len(name.encode()) <= MODEL_NAME_BYTES_MAX}


@settings(deadline=None)
@given(st.lists(st.builds(request, st.lists(spans, max_size=4), st.lists(attributes, max_size=3)), max_size=3))
def test_every_name_is_found_among_any_neighbours(requests: list[bytes]) -> None:
    models, providers = scan_models(b"".join(requests))
    for request_bytes in requests:
        assert carried(request_bytes, MODEL_KEYS) <= models
        assert carried(request_bytes, PROVIDER_KEYS) <= providers
        assert carried(request_bytes, MODEL_KEYS) <= scan_models(request_bytes).models


@pytest.mark.parametrize("key", KEYS)
def test_a_name_is_found_at_every_alignment_and_length_even_at_the_end(key: str) -> None:
    for shift in range(8):
        for length in (1, 2, 30, 124, 125, 126, MODEL_NAME_BYTES_MAX):
            name = "m" * length
            found = scan_models(request([Span(name="s" * (shift + 1), attributes=[text(key, name)])]))
            assert found == (
                (frozenset({name}), frozenset()) if key in MODEL_KEYS else (frozenset(), frozenset({name}))
            )


def test_a_name_is_found_across_the_chunks_of_a_long_request() -> None:
    padding = Span(attributes=[text("input.value", "word " * 52_000)])
    for shift in range(0, 2048, 129):
        between = Span(name="s" * shift, attributes=[text("gen_ai.request.model", f"m{shift}")])
        assert f"m{shift}" in scan_models(request([padding, between, padding])).models


def test_longer_names_numbers_and_other_attributes_are_no_names() -> None:
    others = [
        text("gen_ai.request.model", "m" * (MODEL_NAME_BYTES_MAX + 1)),
        text("gen_ai.request.model", ""),
        KeyValue(key="gen_ai.response.model", value=AnyValue(int_value=7)),
        text("gen_ai.request.top_p", "a"),
        text("gen_ai.agent.name", "b"),
        text("input.value", "gen_ai.request.model is a model"),
    ]
    for shift in range(8):
        assert scan_models(request([Span(name="s" * (shift + 1), attributes=others)])) == (
            frozenset(),
            frozenset(),
        )


def as_collector(request_bytes: bytes) -> bytes:
    return reversed_encoding(ExportTraceServiceRequest.FromString(request_bytes))


@settings(deadline=None)
@given(st.builds(request, st.lists(spans, max_size=4), st.lists(attributes, max_size=3)))
def test_fields_in_reverse_order_are_the_same_request(request_bytes: bytes) -> None:
    whole = ExportTraceServiceRequest.FromString(request_bytes)
    assert ExportTraceServiceRequest.FromString(as_collector(request_bytes)) == whole


@pytest.mark.parametrize("key", KEYS)
def test_a_name_is_found_where_a_collector_puts_it_first_at_every_alignment_and_length(key: str) -> None:
    for shift, length in product(range(8), (1, 2, 30, 124, 125, 126, MODEL_NAME_BYTES_MAX)):
        name = "m" * length
        for more in ([], [text("other", "s" * (shift + 1))]):
            # What stands before moves it; what stands behind is another attribute, or the span's times.
            event = Span.Event(name="s" * (shift + 1), time_unix_nano=1)
            span = Span(attributes=[text(key, name), *more], events=[event], trace_id=bytes(16), end_time_unix_nano=1)
            found = scan_models(as_collector(request([span])))
            assert (found.models | found.providers) == {name}, (shift, length, more)


def test_a_collectors_request_of_many_spans_gives_every_name() -> None:
    made = [
        Span(
            trace_id=bytes(16),
            start_time_unix_nano=1,
            end_time_unix_nano=number + 1,
            name="s" * (number % 11),
            attributes=[
                text("gen_ai.request.model", f"model {number}"),
                text("gen_ai.provider.name", f"of {number % 5}"),
            ],
        )
        for number in range(500)
    ]
    models, providers = scan_models(as_collector(request(made)))
    assert models == {f"model {number}" for number in range(500)}
    assert providers == {f"of {number}" for number in range(5)}


@given(st.binary(max_size=300), st.sampled_from(KEYS), st.integers(0, 40))
def test_no_bytes_make_it_fail_not_even_a_request_cut_short(noise: bytes, key: str, cut: int) -> None:
    whole = noise + request([Span(attributes=[text(key, "model")])]) + noise
    for payload in (noise, whole[: len(whole) - cut], whole[cut:]):
        models, providers = scan_models(payload)
        assert all(models | providers)
    scan_models(noise + as_collector(request([Span(attributes=[text(key, "model")], name="s")]))[cut:] + noise)


def test_every_attribute_that_the_store_takes_a_model_or_provider_from_is_scanned_for() -> None:
    taken = {column.name: set(column.attributes) for column in COLUMNS}
    assert taken["model"] | taken["response_model"] <= set(MODEL_KEYS)
    assert taken["provider"] <= set(PROVIDER_KEYS)
