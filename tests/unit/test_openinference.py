"""GenAI spans in OpenInference's words."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.adapters.exporters.connection import Connection
from agent_tracer.server.adapters.exporters.destination import destination
from agent_tracer.server.adapters.exporters.otlp_http import OtlpHttp
from agent_tracer.server.adapters.exporters.phoenix import Phoenix
from agent_tracer.server.domain.openinference import translate
from agent_tracer.server.domain.otlp_halving import halves
from agent_tracer.server.domain.signals import Signal
from tests.fixtures.otlp_requests import (
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


def with_attributes(**given: object) -> Span:
    made = Span(name="x")
    for key, value in given.items():
        holder = made.attributes.add(key=key).value
        match value:
            case list():
                holder.array_value.values.extend(AnyValue(string_value=item) for item in value)
            case int():
                holder.int_value = value
            case float():
                holder.double_value = value
            case _:
                holder.string_value = str(value)
    return made


def translated(**given: object) -> dict[str, Any]:
    """What the span has got beside what it had."""
    made = with_attributes(**given)
    translate(made)
    return {
        pair.key: getattr(pair.value, str(pair.value.WhichOneof("value")))
        for pair in made.attributes
        if pair.key not in given
    }


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.usage.reasoning.output_tokens": 2,
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.conversation.id": "c1",
}


def test_a_model_call_has_what_phoenix_shows() -> None:
    found = translated(**CALL)

    assert found.pop("llm.invocation_parameters") == json.dumps({"temperature": 0.5})
    assert found == {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-4o",
        "llm.provider": "azure",
        "llm.system": "openai",
        "llm.token_count.prompt": 10,
        "llm.token_count.completion": 5,
        "llm.token_count.total": 15,
        "llm.token_count.prompt_details.cache_read": 4,
        "llm.token_count.completion_details.reasoning": 2,
        "llm.finish_reason": "stop",
        "session.id": "c1",
    }


def test_messages_come_one_attribute_a_field_and_as_a_whole() -> None:
    asked = [
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "name": "weather", "arguments": {"city": "Bonn"}}]},
    ]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "Rain."}]}]
    found = translated(
        **{**CALL, "gen_ai.input.messages": json.dumps(asked), "gen_ai.output.messages": json.dumps(said)}
    )

    assert found["llm.input_messages.0.message.role"] == "user"
    assert found["llm.input_messages.0.message.content"] == "Weather?"
    assert found["llm.input_messages.1.message.tool_calls.0.tool_call.function.name"] == "weather"
    assert json.loads(found["llm.input_messages.1.message.tool_calls.0.tool_call.function.arguments"]) == {
        "city": "Bonn"
    }
    assert found["llm.output_messages.0.message.content"] == "Rain."
    assert json.loads(found["input.value"])[0]["content"] == "Weather?"
    assert found["input.mime_type"] == found["output.mime_type"] == "application/json"


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("invoke_agent", "AGENT"),
        ("execute_tool", "TOOL"),
        ("embeddings", "EMBEDDING"),
        ("retrieval", "RETRIEVER"),
        ("invoke_workflow", "CHAIN"),
        ("task", "CHAIN"),
        ("rerank", "RERANKER"),
        ("guardrail", "GUARDRAIL"),
    ],
)
def test_kinds_are_openinferences(operation: str, kind: str) -> None:
    assert translated(**{"gen_ai.operation.name": operation})["openinference.span.kind"] == kind


def test_an_agents_own_usage_is_not_counted_again() -> None:
    found = translated(**{**CALL, "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"})

    assert found["agent.name"] == "planner"
    assert not [key for key in found if key.startswith("llm.")]


def test_a_tool_shows_its_arguments_and_result() -> None:
    found = translated(
        **{
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "search",
            "gen_ai.tool.call.arguments": '{"q": "x"}',
            "gen_ai.tool.call.result": "nothing",
        }
    )

    assert (found["tool.name"], found["input.value"], found["output.value"]) == ("search", '{"q": "x"}', "nothing")
    assert (found["input.mime_type"], found["output.mime_type"]) == ("application/json", "text/plain")


@pytest.mark.parametrize(
    "given",
    [
        {"openinference.span.kind": "LLM", "gen_ai.request.model": "gpt-4o", "llm.model_name": "mine"},
        {"http.request.method": "GET", "llm.unknown": 1},
        {},
    ],
)
def test_spans_that_speak_it_already_or_are_of_no_agent_stay_as_they_are(given: dict[str, object]) -> None:
    made = with_attributes(**given)
    before = made.SerializeToString()

    assert not translate(made)
    assert made.SerializeToString() == before


def test_what_a_span_says_itself_is_not_changed() -> None:
    made = with_attributes(**CALL, **{"llm.provider": "mine", "session.id": "s"})
    translate(made)

    keys = [pair.key for pair in made.attributes]
    assert len(keys) == len(set(keys))
    assert next(pair.value.string_value for pair in made.attributes if pair.key == "llm.provider") == "mine"


def test_garbage_in_messages_is_kept_as_text() -> None:
    found = translated(**{**CALL, "gen_ai.input.messages": "[" * 5000, "gen_ai.output.messages": "{"})

    assert found["input.value"] == "[" * 5000
    assert found["output.mime_type"] == "text/plain"


def test_phoenix_files_each_resource_under_the_project_unless_it_names_one() -> None:
    own = trace_request(span(1))
    own.resource_spans[0].resource.attributes.append(attribute("openinference.project.name", "mine"))
    target = Phoenix(OtlpHttp(Connection("exporters.phoenix", destination("http://localhost:6006"))), "agents")
    ((first, second),) = target.prepare(
        Signal.TRACES, [own.SerializeToString(), trace_request(span(2)).SerializeToString()]
    )

    assert project(first) == ["mine"]
    assert project(second) == ["agents"]


def project(payload: bytes) -> list[str]:
    request = ExportTraceServiceRequest.FromString(payload)
    pairs = request.resource_spans[0].resource.attributes
    return [pair.value.string_value for pair in pairs if pair.key == "openinference.project.name"]


def test_halves_hold_every_span_once_in_order_with_its_resource() -> None:
    request = trace_request(*(span(number) for number in range(1, 4)))
    other = trace_request(*(span(number) for number in range(4, 6)))
    other.resource_spans[0].resource.attributes[0].value.string_value = "till"
    request.MergeFrom(other)
    found = halves(Signal.TRACES, request.SerializeToString())

    assert found is not None
    assert [[s.name for s in spans_of(half)] for half in found] == [
        ["span 1", "span 2"],
        ["span 3", "span 4", "span 5"],
    ]
    second = ExportTraceServiceRequest.FromString(found[1])
    assert [group.resource.attributes[0].value.string_value for group in second.resource_spans] == ["shop", "till"]


def test_every_signal_can_be_halved_and_one_item_or_garbage_cannot() -> None:
    logs = logs_request(log_record("a"), log_record("b")).SerializeToString()
    metrics = metrics_request(gauge(number_point()), gauge(number_point())).SerializeToString()

    assert halves(Signal.LOGS, logs) is not None
    assert halves(Signal.METRICS, metrics) is not None
    assert halves(Signal.TRACES, trace_request(span()).SerializeToString()) is None
    assert halves(Signal.TRACES, b"\xff\xff") is None
    assert halves(Signal.TRACES, b"") is None


def test_arrays_of_several_kinds_are_read() -> None:
    made = with_attributes(**CALL)
    made.attributes.add(key="gen_ai.prompt").value.array_value.CopyFrom(ArrayValue(values=[AnyValue(int_value=1)]))

    assert translate(made)
    assert {pair.key: pair.value.string_value for pair in made.attributes}["input.value"] == "[1]"
