"""Requests with the fields of each message in reverse, as the OpenTelemetry Collector writes them, mean the same."""

from itertools import count

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.export import export_requests
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.otlp_validation import validate
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TimeRange
from tests.fixtures.engine import load
from tests.fixtures.otlp_canonical import REQUESTS, Filler, content
from tests.fixtures.otlp_requests import NOW_NS, attribute, span, trace_request
from tests.fixtures.otlp_reversed import reversed_encoding

STRING_TABLES = (
    "opentelemetry.proto.common.v1.KeyValue.key_strindex",
    "opentelemetry.proto.common.v1.AnyValue.string_value_strindex",
)
ALWAYS = TimeRange(0, 2**63 - 1)
_tenants = count()
ERRORS = ("E", "TimeoutError", "KeyError\x11", "openai.RateLimitError", "TenLetters", "x" * 120)


async def loaded(engine: Engine, signal: Signal, payload: bytes) -> TenantId:
    """A tenant with nothing else."""
    tenant = TenantId(f"reversed-{next(_tenants)}")
    await load(engine, tenant, signal, [payload])
    return tenant


@pytest.mark.parametrize("signal", Signal)
async def test_every_field_comes_back_as_from_the_usual_order(engine: Engine, signal: Signal) -> None:
    filler, request = Filler(leave=STRING_TABLES), REQUESTS[signal]()
    for member in range(8):
        part = REQUESTS[signal]()
        filler.fill(part, member)
        request.MergeFrom(part)
    payload, turned = request.SerializeToString(), reversed_encoding(request)
    assert turned != payload
    assert validate(signal, turned, NOW_NS).rejected == validate(signal, payload, NOW_NS).rejected
    tenants = [await loaded(engine, signal, sent) for sent in (payload, turned)]
    usual, found = [await exported(engine, signal, tenant) for tenant in tenants]
    assert content(signal, found) == content(signal, usual)
    assert content(signal, found)


async def exported(engine: Engine, signal: Signal, tenant: TenantId) -> list[bytes]:
    return [part async for part in export_requests(engine, tenant, signal, ALWAYS, ())]


async def test_what_is_read_out_of_spans_does_not_depend_on_the_order(engine: Engine) -> None:
    spans = [_failed_span(number, error) for number, error in enumerate(ERRORS, 1)]
    request = trace_request(*spans, span(99))
    rows = []
    for payload in (request.SerializeToString(), reversed_encoding(request)):
        tenant = await loaded(engine, Signal.TRACES, payload)
        sql = "SELECT * EXCEPT (tenant, received_at, events, links) FROM spans WHERE tenant = {tenant:String} ORDER BY span_id"
        errors = "SELECT error_type FROM spans WHERE tenant = {tenant:String} ORDER BY span_id"
        rows.append((await engine.rows(sql, {"tenant": tenant}), await engine.rows(errors, {"tenant": tenant})))
    assert [bytes(row[0]).decode() for row in rows[0][1]] == [*ERRORS, ""]
    assert rows[1] == rows[0]


def _failed_span(number: int, error: str) -> Span:
    """A call that threw, as SDKs record it: an event, whose attributes come in no fixed order."""
    made = span(number)
    made.attributes.extend([attribute("gen_ai.operation.name", "chat"), attribute("gen_ai.request.model", "m-1")])
    event = made.events.add(name="exception", time_unix_nano=NOW_NS)
    told = [attribute("exception.type", error), attribute("exception.message", "no\nanswer")]
    event.attributes.extend(told if number % 2 else told[::-1])
    return made
