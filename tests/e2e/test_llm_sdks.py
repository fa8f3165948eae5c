"""Model calls of real SDKs under each tracing convention: what the server makes of them against the truth."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pytest
from genai_prices import Usage, calc_price
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.demo.stand_in import stand_in
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.v1 import trace_pb2
from tests.e2e.otlp import Scalar, otlp_span, send, spans_request
from tests.e2e.talk import CALL_SECONDS, all_traces, catch_up, counted, stubs, unique
from tests.fixtures.engine import load
from tests.fixtures.llm_calls import (
    CallTruth,
    gen_ai_anthropic_calls,
    gen_ai_openai_calls,
    openinference_calls,
)
from tests.fixtures.program import Program

CONVENTIONS: Final[dict[str, Callable[[str, TracerProvider], tuple[CallTruth, ...]]]] = {
    "openinference": openinference_calls,
    "gen_ai openai": gen_ai_openai_calls,
    "gen_ai anthropic": gen_ai_anthropic_calls,
}
CALLS: Final = {
    "openai": ("chat", "cached chat with reasoning", "streamed chat", "tool call", "embeddings", "refused chat"),
    "anthropic": ("cached message", "streamed message", "tool use", "refused message"),
}
CASES: Final = [
    (convention, provider, name)
    for convention, providers in (
        ("openinference", ("openai", "anthropic")),
        ("gen_ai openai", ("openai",)),
        ("gen_ai anthropic", ("anthropic",)),
    )
    for provider in providers
    for name in CALLS[provider]
]
SAYS_NO_PARTS: Final = {"gen_ai openai"}
"""opentelemetry-instrumentation-openai-v2 sends neither cached nor reasoning tokens."""


@dataclass(frozen=True)
class Seen:
    """A call's truth and what the server says of its trace; `call` is the span of the model call."""

    truth: CallTruth
    trace: trace_pb2.Trace
    call: trace_pb2.Span


Calls = dict[tuple[str, str, str], Seen]


@pytest.fixture(scope="module")
def service() -> str:
    return unique("sdks")


@pytest.fixture(scope="module")
def calls(program: Program, service: str) -> Calls:
    """Every call under every convention, sent by the SDK's exporter and read back."""
    truths = {convention: _made(program, service, make) for convention, make in CONVENTIONS.items()}
    with stubs(program.target) as stub:
        return {
            (convention, truth.provider, truth.name): _seen(
                truth, stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=truth.trace_id), timeout=CALL_SECONDS)
            )
            for convention, made in truths.items()
            for truth in made
        }


def _made(
    program: Program, service: str, make: Callable[[str, TracerProvider], tuple[CallTruth, ...]]
) -> tuple[CallTruth, ...]:
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"http://127.0.0.1:{program.otlp_grpc}", insecure=True))
    )
    try:
        with stand_in() as base_url:
            return make(base_url, provider)
    finally:
        provider.shutdown()


def _seen(truth: CallTruth, trace: trace_pb2.Trace) -> Seen:
    (call,) = [span for span in trace.spans if span.parent_span_id and span.kind in ("llm", "embedding")]
    return Seen(truth, trace, call)


@pytest.fixture(params=CASES, ids=[" / ".join(case) for case in CASES])
def seen(request: pytest.FixtureRequest, calls: Calls) -> Seen:
    return calls[request.param]


def test_every_call_is_among_the_cases(calls: Calls) -> None:
    assert sorted(calls) == sorted(CASES)


def test_kind_model_and_provider_are_those_of_the_call(seen: Seen) -> None:
    assert seen.call.kind == {"chat": "llm", "embeddings": "embedding"}[seen.truth.operation]
    assert seen.call.provider == seen.truth.provider
    assert seen.call.model == seen.truth.outcome.model
    assert (seen.trace.span_count, seen.call.depth) == (2, 1)


def _true_usage(truth: CallTruth, convention: str) -> dict[str, int]:
    out = truth.outcome
    parts = convention not in SAYS_NO_PARTS
    return {
        "input_tokens": out.input_tokens,
        "output_tokens": out.output_tokens,
        "total_tokens": out.input_tokens + out.output_tokens,
        "cache_read_tokens": out.cache_read_tokens if parts else 0,
        "cache_creation_tokens": out.cache_write_tokens if parts else 0,
        "reasoning_tokens": out.reasoning_tokens if parts else 0,
    }


def _figures(usage: trace_pb2.TokenUsage) -> dict[str, int]:
    return {field.name: getattr(usage, field.name) for field in usage.DESCRIPTOR.fields}


def test_tokens_are_the_responses_own_and_counted_once(seen: Seen, request: pytest.FixtureRequest) -> None:
    convention = request.node.callspec.params["seen"][0]
    true = _true_usage(seen.truth, convention)
    assert _figures(seen.call.usage) == true
    assert _figures(seen.trace.usage) == true


def test_cost_is_what_genai_prices_says_of_these_tokens(seen: Seen, request: pytest.FixtureRequest) -> None:
    if seen.truth.outcome.failed:
        assert not seen.call.HasField("cost")
        return
    true = _true_usage(seen.truth, request.node.callspec.params["seen"][0])
    priced = calc_price(
        Usage(
            input_tokens=true["input_tokens"],
            output_tokens=true["output_tokens"],
            cache_read_tokens=true["cache_read_tokens"],
            cache_write_tokens=true["cache_creation_tokens"],
            output_reasoning_tokens=true["reasoning_tokens"],
        ),
        model_ref=seen.truth.outcome.model,
        provider_id=seen.truth.provider,
        genai_request_timestamp=datetime.now(UTC),
    )
    assert priced.total_price > 0
    assert seen.call.cost == pytest.approx(float(priced.total_price))
    assert seen.trace.cost == pytest.approx(float(priced.total_price))


def test_the_answer_is_the_last_output_message(seen: Seen) -> None:
    outcome = seen.truth.outcome
    if not outcome.text:
        return
    (answer,) = json.loads(seen.call.output)
    assert answer == {"role": "assistant", "content": outcome.text}


def test_a_tool_call_has_its_name_and_arguments(seen: Seen) -> None:
    if not seen.truth.outcome.tool_name:
        return
    (answer,) = json.loads(seen.call.output)
    (call,) = answer["tool_calls"]
    assert call["name"] == seen.truth.outcome.tool_name
    assert isinstance(json.loads(call["arguments"]), dict)


def test_a_refused_call_is_an_error(seen: Seen) -> None:
    failed = seen.truth.outcome.failed
    assert (seen.call.status == "error") is failed
    assert seen.trace.error_count == int(failed)
    assert seen.call.output == "" or not failed


ERROR_TYPES: Final = {
    "openinference": {"refused chat": "openai.RateLimitError", "refused message": "anthropic.InternalServerError"},
    "gen_ai openai": {"refused chat": "RateLimitError"},
    "gen_ai anthropic": {"refused message": "api_error"},
}
FINISHED: Final = {
    "gen_ai openai": {"chat": "stop", "cached chat with reasoning": "stop", "tool call": "tool_calls"},
    "openinference": {"chat": "stop", "cached chat with reasoning": "stop", "streamed chat": "stop",
                      "tool call": "tool_calls", "cached message": "end_turn", "streamed message": "end_turn",
                      "tool use": "tool_use"},
    "gen_ai anthropic": {},
}  # fmt: skip


async def test_error_types_and_finish_reasons_are_columns_of_the_store(
    program: Program, calls: Calls, engine: Engine, tenant: TenantId
) -> None:
    """No call of the API tells these two, so what the program exports is loaded into a store and looked at."""
    request = trace_pb2.ExportTracesRequest(trace_ids=[seen.truth.trace_id for seen in calls.values()])
    with stubs(program.target) as stub:
        exported = [answer.otlp for answer in stub.ExportTraces(request, timeout=CALL_SECONDS)]
    await load(engine, tenant, Signal.TRACES, exported)
    rows = await engine.rows(
        "SELECT lower(hex(span_id)), error_type, finish_reason FROM spans WHERE tenant = {tenant:String}",
        {"tenant": tenant},
    )
    stored = {span_id.decode(): (error.decode(), reason.decode()) for span_id, error, reason in rows}
    for (convention, _, name), seen in calls.items():
        true = (ERROR_TYPES[convention].get(name, ""), FINISHED[convention].get(name, ""))
        assert stored[seen.call.span_id] == true, (convention, name)


def test_usage_that_an_agent_repeats_of_its_calls_is_counted_once(program: Program) -> None:
    """Agents and chains often carry the sums of the calls under them, and some calls both conventions at once."""
    trace_id = uuid.uuid4().bytes
    openinference = {"llm.token_count.prompt": 1000, "llm.token_count.completion": 100, "llm.token_count.total": 1100}
    gen_ai = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
    sums = {"gen_ai.usage.input_tokens": 2000, "gen_ai.usage.output_tokens": 200, "gen_ai.usage.cost": 7.0}
    model = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4.1-mini", "gen_ai.operation.name": "chat"}
    spans = [
        otlp_span(trace_id, 1, 0, {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": "summer", **sums}),
        otlp_span(trace_id, 2, 1, {"openinference.span.kind": "CHAIN", **sums}),
        otlp_span(trace_id, 3, 2, {**model, **gen_ai, **openinference}),
        otlp_span(trace_id, 4, 2, {**model, **gen_ai, "gen_ai.response.model": "gpt-4.1-mini-2025-04-14"}),
    ]
    with stubs(program.target) as stub:
        send(program, spans_request(*spans))
        send(program, spans_request(*spans[1:]))
        trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id.hex()), timeout=CALL_SECONDS)
    assert (trace.usage.input_tokens, trace.usage.output_tokens) == (2000, 200)
    priced = calc_price(Usage(input_tokens=2000, output_tokens=200), model_ref="gpt-4.1-mini", provider_id="openai")
    assert trace.cost == pytest.approx(float(priced.total_price))


def test_the_model_that_answered_decides_the_price(program: Program) -> None:
    """What is asked for may be the name of a deployment, which no price list knows."""
    trace_id = uuid.uuid4().bytes
    attributes: dict[str, Scalar] = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "our-deployment", "gen_ai.response.model": "gpt-4.1-mini",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
    }  # fmt: skip
    send(program, spans_request(otlp_span(trace_id, 1, 0, attributes)))
    with stubs(program.target) as stub:
        trace = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id.hex()), timeout=CALL_SECONDS)
    assert trace.spans[0].model == "our-deployment"
    priced = calc_price(Usage(input_tokens=1000, output_tokens=100), model_ref="gpt-4.1-mini", provider_id="azure")
    assert trace.cost == pytest.approx(float(priced.total_price))


def test_an_agents_name_is_told_beside_its_id(program: Program) -> None:
    named, unnamed = unique("id"), unique("Only A Name")
    attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Planner", "gen_ai.agent.id": named}
    spans = [otlp_span(uuid.uuid4().bytes, 1, 0, attributes | extra) for extra in ({}, {"gen_ai.agent.name": unnamed})]
    del spans[1].attributes[2]
    send(program, spans_request(*spans))
    with stubs(program.target) as stub:
        catch_up(stub)
        agents = counted(
            lambda: {a.agent_id: a for a in stub.ListAgents(trace_pb2.ListAgentsRequest(page_size=1000)).agents},
            lambda found: {named, unnamed} <= set(found),
        )
    assert agents[named].name == "Planner"
    assert agents[unnamed].name == unnamed


@pytest.mark.parametrize(("provider", "name"), [(p, n) for p, names in CALLS.items() for n in names])
def test_both_conventions_read_the_same(calls: Calls, provider: str, name: str) -> None:
    one, other = calls["openinference", provider, name], calls[f"gen_ai {provider}", provider, name]
    assert one.call.input
    if name == "embeddings":  # whose texts GenAI conventions do not send
        assert "refund policy" in one.call.input
        assert (other.call.input, other.call.output) == ("", "")
        return
    assert one.call.input == other.call.input
    assert one.call.output == other.call.output


def test_both_conventions_read_the_request(calls: Calls) -> None:
    for convention in ("openinference", "gen_ai openai"):
        messages = json.loads(calls[convention, "openai", "chat"].call.input)
        assert [m["role"] for m in messages] == ["system", "user"]
    for convention in ("openinference", "gen_ai anthropic"):
        messages = json.loads(calls[convention, "anthropic", "cached message"].call.input)
        assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]


def test_the_calls_are_found_by_model_and_by_words(program: Program, calls: Calls, service: str) -> None:
    with stubs(program.target) as stub:
        for model in ("gpt-4.1-mini", "claude-haiku-4-5", "text-embedding-3-small"):
            wanted = {s.trace.trace_id for s in calls.values() if s.truth.outcome.model == model}
            found = {t.trace_id for t in all_traces(stub, service=service, model=model)}
            assert found == wanted, model
        asked = {s.trace.trace_id for s in calls.values() if "Paris" in s.call.input}
        assert asked
        assert {t.trace_id for t in all_traces(stub, service=service, text="weather paris")} == asked
