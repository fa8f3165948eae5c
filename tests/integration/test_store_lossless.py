"""OTLP out equals OTLP in, through the real store."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from agent_tracer.server.adapters.clickhouse import export
from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.export import export_requests
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.otlp_validation import validate
from agent_tracer.server.domain.semantics import COLUMNS, ColumnType
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import PAGE_BYTES_MAX
from tests.fixtures.engine import load
from tests.fixtures.otlp_canonical import REQUESTS, Filler, content, fields_of
from tests.fixtures.otlp_requests import (
    NOW_NS,
    SECOND_NS,
    TRACE_ID,
    attribute,
    gauge,
    log_record,
    logs_request,
    metrics_request,
    number_point,
    span,
    spans_of,
    trace_request,
)
from tests.fixtures.otlp_strategies import logs_requests, metrics_requests, trace_requests

ALWAYS: Final = TimeRange(0, 2**62)

NOT_CARRIED: Final = {
    "opentelemetry.proto.common.v1.KeyValue.key_strindex": "profiles only: no other signal has a table of strings",
    "opentelemetry.proto.common.v1.AnyValue.string_value_strindex": "profiles only, likewise",
}
"""Fields that a request may have and that do not come back."""

_examples: Final = count(1)
_many = settings(
    max_examples=15,
    deadline=None,
    # Each step of shrinking would be a commit; what differs is small enough to read.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    # Large examples are wanted: a commit takes as long for one span as for a hundred. The engine is the same for
    # all of them, each has a tenant of its own.
    suppress_health_check=(
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ),
)


async def exported(
    engine: Engine,
    tenant: TenantId,
    signal: Signal,
    time_range: TimeRange = ALWAYS,
    trace_ids: Sequence[OtelTraceId] = (),
) -> list[bytes]:
    return [payload async for payload in export_requests(engine, tenant, signal, time_range, trace_ids)]


async def check_comes_back(engine: Engine, signal: Signal, requests: Sequence[Any]) -> None:
    tenant = TenantId(f"example-{next(_examples)}")
    payloads = [request.SerializeToString() for request in requests]
    assert [p for p in payloads if validate(signal, p, NOW_NS).rejected] == []
    await load(engine, tenant, signal, payloads)
    assert content(signal, await exported(engine, tenant, signal)) == content(signal, payloads)


@_many
@given(requests=trace_requests)
async def test_any_spans_come_back_as_sent(engine: Engine, requests: list[Any]) -> None:
    await check_comes_back(engine, Signal.TRACES, requests)


@_many
@given(requests=logs_requests)
async def test_any_logs_come_back_as_sent(engine: Engine, requests: list[Any]) -> None:
    await check_comes_back(engine, Signal.LOGS, requests)


@_many
@given(requests=metrics_requests)
async def test_any_metric_points_come_back_as_sent(engine: Engine, requests: list[Any]) -> None:
    await check_comes_back(engine, Signal.METRICS, requests)


@pytest.mark.parametrize("signal", Signal)
async def test_every_field_of_the_protocol_comes_back(engine: Engine, signal: Signal) -> None:
    kind = REQUESTS[signal]
    filler = Filler(leave=NOT_CARRIED)
    requests = [kind() for _ in range(8)]
    for member, request in enumerate(requests):
        filler.fill(request, member)

    await check_comes_back(engine, signal, requests)

    untried = fields_of(kind.DESCRIPTOR) - filler.done
    assert untried == set(NOT_CARRIED), "a field is new in OTLP: carry it, or say why not"


def _spans_with(*attributes: KeyValue) -> bytes:
    sent = span()
    sent.attributes.extend(attributes)
    return trace_request(sent).SerializeToString()


_VALUES: Final = {
    "text": AnyValue(string_value="hello"),
    "empty text": AnyValue(string_value=""),
    "array": AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a"), AnyValue(int_value=1)])),
    "map": AnyValue(kvlist_value=KeyValueList(values=[attribute("role", "user")])),
    "bytes": AnyValue(bytes_value=b"\xff\x00"),
    "int": AnyValue(int_value=-1),
    "double": AnyValue(double_value=-0.0),
    "bool": AnyValue(bool_value=False),
    "none": AnyValue(),
}


async def test_content_that_has_a_column_is_put_back_where_it_was(engine: Engine) -> None:
    keys = [key for column in COLUMNS if column.type is ColumnType.CONTENT for key in column.attributes]
    requests = [
        trace_request(
            *(_numbered_span(n, KeyValue(key=key, value=value)) for n, value in enumerate(_VALUES.values(), 1))
        )
        for key in keys
    ]
    for number, request in enumerate(requests):
        for sent in request.resource_spans[0].scope_spans[0].spans:
            sent.trace_id = number.to_bytes(16, "little")[:15] + b"\x01"

    await check_comes_back(engine, Signal.TRACES, requests)


def _numbered_span(number: int, *attributes: KeyValue) -> Any:
    sent = span(number)
    sent.attributes.extend(attributes)
    return sent


async def test_content_that_stands_twice_is_kept_in_order(engine: Engine, tenant: TenantId) -> None:
    twice = [attribute("input.value", "first"), attribute("gen_ai.input.messages", "best"), attribute("k", "")]
    payload = _spans_with(*twice, *twice, attribute("input.value", "last"), attribute("output.value", "out"))
    await load(engine, tenant, Signal.TRACES, [payload])

    (back,) = await exported(engine, tenant, Signal.TRACES)
    assert back == payload


async def test_spans_delivered_again_come_once_whatever_the_order(engine: Engine, tenant: TenantId) -> None:
    payloads = [trace_request(span(n), span(n + 10)).SerializeToString() for n in range(1, 6)]
    await load(engine, tenant, Signal.TRACES, payloads)
    await load(engine, tenant, Signal.TRACES, [*reversed(payloads), *payloads])

    assert content(Signal.TRACES, await exported(engine, tenant, Signal.TRACES)) == content(Signal.TRACES, payloads)


async def test_logs_and_points_come_as_often_as_they_were_sent(engine: Engine, tenant: TenantId) -> None:
    logs = [logs_request(*[log_record("same")] * 3, log_record("other")).SerializeToString()] * 2
    points = [metrics_request(gauge(*[number_point()] * 3, number_point(2.0))).SerializeToString()] * 2
    await load(engine, tenant, Signal.LOGS, logs)
    await load(engine, tenant, Signal.METRICS, points)

    assert content(Signal.LOGS, await exported(engine, tenant, Signal.LOGS)) == content(Signal.LOGS, logs)
    assert content(Signal.METRICS, await exported(engine, tenant, Signal.METRICS)) == content(Signal.METRICS, points)


def test_content_tells_apart_what_differs_by_one_bit() -> None:
    """The comparison that these tests rest on can fail."""
    one, other = span(), span()
    one.attributes.add(key="k").value.double_value = 0.0
    other.attributes.add(key="k").value.double_value = -0.0
    sent = [content(Signal.TRACES, [trace_request(s).SerializeToString()]) for s in (one, other)]
    assert sent[0] != sent[1]


async def test_spans_of_equal_resources_come_grouped_and_of_differing_ones_apart(
    engine: Engine, tenant: TenantId
) -> None:
    requests = [trace_request(span(n)) for n in range(1, 8)]
    requests[1].resource_spans[0].schema_url = "https://example.org/1.2"
    requests[2].resource_spans[0].resource.dropped_attributes_count = 3
    requests[3].resource_spans[0].resource.entity_refs.add(type="service", id_keys=["service.name"])
    requests[4].resource_spans[0].scope_spans[0].scope.version = "2"
    payloads = [request.SerializeToString() for request in requests]
    await load(engine, tenant, Signal.TRACES, payloads)

    back = await exported(engine, tenant, Signal.TRACES)

    assert content(Signal.TRACES, back) == content(Signal.TRACES, payloads)
    (request,) = map(ExportTraceServiceRequest.FromString, back)
    sizes = Counter(tuple(len(s.spans) for s in group.scope_spans) for group in request.resource_spans)
    assert sizes == {(1,): 3, (3, 1): 1}


async def test_named_traces_come_whole_with_late_spans_whatever_the_time_range(
    engine: Engine, tenant: TenantId
) -> None:
    late, foreign = span(2), span(3)
    late.start_time_unix_nano -= 5 * 3600 * SECOND_NS
    foreign.trace_id = bytes(reversed(TRACE_ID))
    await load(engine, tenant, Signal.TRACES, [trace_request(span(1), foreign).SerializeToString()])
    await load(engine, tenant, Signal.TRACES, [trace_request(late).SerializeToString()])

    named = [OtelTraceId(TRACE_ID), OtelTraceId(b"\x09" * 16)]
    back = await exported(engine, tenant, Signal.TRACES, TimeRange(0, 1), named)

    assert ids_of(back) == {span(1).span_id, late.span_id}


def ids_of(payloads: Iterable[bytes]) -> set[bytes]:
    return {s.span_id for payload in payloads for s in spans_of(payload)}


async def test_a_time_range_takes_its_start_and_leaves_its_end(engine: Engine, tenant: TenantId) -> None:
    start = span().start_time_unix_nano
    spans, logs, points = [], [], []
    for n in range(4):
        spans.append(span(n + 1))
        spans[-1].start_time_unix_nano = start + n
        logs.append(log_record(str(n)))
        logs[-1].time_unix_nano = start + n
        points.append(number_point(n))
        points[-1].time_unix_nano = start + n
    await load(engine, tenant, Signal.TRACES, [trace_request(*spans).SerializeToString()])
    await load(engine, tenant, Signal.LOGS, [logs_request(*logs).SerializeToString()])
    await load(engine, tenant, Signal.METRICS, [metrics_request(gauge(*points)).SerializeToString()])

    asked = TimeRange(start + 1, start + 3)
    wanted = {
        Signal.TRACES: trace_request(*spans[1:3]),
        Signal.LOGS: logs_request(*logs[1:3]),
        Signal.METRICS: metrics_request(gauge(*points[1:3])),
    }
    for signal, request in wanted.items():
        back = await exported(engine, tenant, signal, asked)
        assert content(signal, back) == content(signal, [request.SerializeToString()]), signal


async def test_traces_named_have_logs_but_no_metric_points(engine: Engine, tenant: TenantId) -> None:
    without = log_record("of no trace")
    without.trace_id = b""
    await load(engine, tenant, Signal.LOGS, [logs_request(log_record(), without).SerializeToString()])
    await load(engine, tenant, Signal.METRICS, [metrics_request(gauge(number_point())).SerializeToString()])
    named = [OtelTraceId(TRACE_ID)]

    logs = await exported(engine, tenant, Signal.LOGS, ALWAYS, named)
    points = await exported(engine, tenant, Signal.METRICS, ALWAYS, named)

    assert content(Signal.LOGS, logs) == content(Signal.LOGS, [logs_request(log_record()).SerializeToString()])
    assert points == []


async def test_another_tenant_gets_nothing(engine: Engine, tenant: TenantId) -> None:
    await load(engine, tenant, Signal.TRACES, [trace_request(span()).SerializeToString()])
    assert await exported(engine, TenantId(f"{tenant}-other"), Signal.TRACES) == []


async def test_a_parent_id_of_zeros_comes_back_empty_as_both_mean_a_root(engine: Engine, tenant: TenantId) -> None:
    root = span()
    root.parent_span_id = bytes(8)
    await load(engine, tenant, Signal.TRACES, [trace_request(root).SerializeToString()])

    (back,) = spans_of((await exported(engine, tenant, Signal.TRACES))[0])
    assert back.parent_span_id == b""


async def test_requests_hold_about_a_page_and_more_only_for_one_large_span(engine: Engine, tenant: TenantId) -> None:
    spans = [_numbered_span(n, attribute("input.value", f"{n:<100000}")) for n in range(1, 61)]
    spans += [_numbered_span(n, attribute("k", f"{n:<{PAGE_BYTES_MAX + 1}}")) for n in (61, 62)]
    payloads = [trace_request(*spans[n : n + 10]).SerializeToString() for n in range(0, len(spans), 10)]
    await load(engine, tenant, Signal.TRACES, payloads)

    back = await exported(engine, tenant, Signal.TRACES)

    assert content(Signal.TRACES, back) == content(Signal.TRACES, payloads)
    assert [len(payload) for payload in back if len(spans_of(payload)) > 1 and len(payload) > PAGE_BYTES_MAX] == []
    assert len(back) <= 8, "a page must not be much less than what fits"


async def test_pages_lose_and_repeat_nothing_where_rows_share_their_key(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "EXPORT_KEYS_MAX", 7)
    monkeypatch.setattr(export, "PAGE_BYTES_MAX", 1000)
    spans, logs, points = [], [], []
    for n in range(1, 25):
        spans.append(span(n))
        # Few different starts, of several hours: most rows differ by their ids alone.
        spans[-1].start_time_unix_nano -= n % 3 * 3600 * SECOND_NS
        spans[-1].trace_id = bytes([n % 4 + 1]) * 16
        logs.append(log_record(f"line {n % 5}"))
        points.append(number_point(n % 5))
    sent = {
        Signal.TRACES: trace_request(*spans),
        Signal.LOGS: logs_request(*logs),
        Signal.METRICS: metrics_request(gauge(*points)),
    }
    for signal, request in sent.items():
        # In several parts of the table, so that a page is taken from all of them.
        payload = request.SerializeToString()
        await load(engine, tenant, signal, [payload])
        await load(engine, tenant, signal, [payload])
        times = 1 if signal is Signal.TRACES else 2
        back = await exported(engine, tenant, signal)
        assert content(signal, back) == content(signal, [payload] * times), signal
        assert len(back) > 3


async def test_an_export_may_be_left_after_its_first_request(
    engine: Engine, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE_BYTES_MAX", 1)
    await load(engine, tenant, Signal.TRACES, [trace_request(span(1), span(2)).SerializeToString()])

    async with aclosing(export_requests(engine, tenant, Signal.TRACES, ALWAYS, ())) as requests:
        first = await anext(requests)

    assert len(spans_of(first)) == 1
    assert len(ids_of(await exported(engine, tenant, Signal.TRACES))) == 2
