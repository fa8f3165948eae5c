"""The stand-in model speaks what the SDKs expect, and what instrumentation makes of it."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import TypeAdapter

from agent_tracer.server.demo.stand_in import STATUS_HEADER, serve_stand_in, stand_in
from tests.fixtures.llm_calls import CallTruth, gen_ai_anthropic_calls, openinference_calls

KEY = {"authorization": "Bearer any"}
QUESTION = "What is the refund policy for late shipments?"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT: dict[str, Any] = {
    "model": "gpt-5-mini",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
}
MESSAGE: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": QUESTION}],
}
CHAT_TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}}]
MESSAGE_TOOLS = [{"name": "get_weather", "input_schema": CITY}]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with stand_in() as url:
        yield url


def post(base_url: str, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{base_url}{path}", json=body, headers=KEY | headers, timeout=60, trust_env=False)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize(
    ("path", "body", "shape"),
    [
        ("/v1/chat/completions", CHAT, ChatCompletion),
        ("/v1/chat/completions", CHAT | {"tools": CHAT_TOOLS}, ChatCompletion),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}, CreateEmbeddingResponse),
        ("/v1/responses", {"model": "gpt-5-mini", "input": QUESTION}, Response),
        ("/v1/messages", MESSAGE, Message),
        ("/v1/messages", MESSAGE | {"tools": MESSAGE_TOOLS}, Message),
    ],
)
def test_answers_validate_against_the_sdks_own_models(
    base_url: str, path: str, body: dict[str, Any], shape: type
) -> None:
    answer = post(base_url, path, body)
    assert answer.status_code == 200
    TypeAdapter(shape).validate_python(answer.json())
    assert post(base_url, path, body).json() == answer.json(), "the same request has the same answer"


@pytest.mark.parametrize("tools", [[], CHAT_TOOLS])
def test_streamed_chat_says_what_the_plain_one_says(base_url: str, tools: list[Any]) -> None:
    body = CHAT | ({"tools": tools} if tools else {})
    plain = post(base_url, "/v1/chat/completions", body).json()
    streaming = body | {"stream": True, "stream_options": {"include_usage": True}}
    chunks = events(post(base_url, "/v1/chat/completions", streaming))
    for chunk in chunks:
        TypeAdapter(ChatCompletionChunk).validate_python(chunk)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    message = plain["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    arguments = "".join(call["function"].get("arguments", "") for call in calls)
    assert arguments == (message["tool_calls"][0]["function"]["arguments"] if tools else "")
    assert chunks[-1]["usage"] == plain["usage"]


def test_stream_without_include_usage_has_none(base_url: str) -> None:
    chunks = events(post(base_url, "/v1/chat/completions", CHAT | {"stream": True}))
    assert not any("usage" in chunk for chunk in chunks)


@pytest.mark.parametrize("tools", [[], MESSAGE_TOOLS])
def test_streamed_message_says_what_the_plain_one_says(base_url: str, tools: list[Any]) -> None:
    body = MESSAGE | ({"tools": tools} if tools else {})
    for event in events(post(base_url, "/v1/messages", body | {"stream": True})):
        TypeAdapter(RawMessageStreamEvent).validate_python(event)
    with anthropic_client(base_url) as client, client.messages.stream(**body) as stream:
        streamed = stream.get_final_message()
    assert streamed.model_dump(exclude_none=True) == client_message(base_url, body).model_dump(exclude_none=True)


def test_cached_and_reasoning_tokens_are_part_of_the_totals(base_url: str) -> None:
    body = CHAT | {"prompt_cache_key": "k", "reasoning_effort": "low"}
    plain = post(base_url, "/v1/chat/completions", CHAT).json()["usage"]
    usage = post(base_url, "/v1/chat/completions", body).json()["usage"]
    assert usage["prompt_tokens"] == plain["prompt_tokens"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 32
    assert usage["completion_tokens"] > 32


def test_first_turn_writes_the_cache_and_a_later_turn_reads_it(base_url: str) -> None:
    system = [{"type": "text", "text": "You are careful.", "cache_control": {"type": "ephemeral"}}]
    later = [
        *MESSAGE["messages"],
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Go on."},
    ]
    first = client_message(base_url, MESSAGE | {"system": system}).usage
    second = client_message(base_url, MESSAGE | {"system": system, "messages": later}).usage
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens == 5
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    whole = client_message(base_url, MESSAGE | {"system": "You are careful."}).usage
    assert first.input_tokens + 5 == whole.input_tokens


def test_a_tool_result_is_answered_in_text(base_url: str) -> None:
    call = post(base_url, "/v1/chat/completions", CHAT | {"tools": CHAT_TOOLS}).json()["choices"][0]
    assert call["finish_reason"] == "tool_calls"
    assert set(json.loads(call["message"]["tool_calls"][0]["function"]["arguments"])) == {"city"}
    result = {"role": "tool", "tool_call_id": call["message"]["tool_calls"][0]["id"], "content": "sunny"}
    messages = [*CHAT["messages"], call["message"], result]
    body = CHAT | {"tools": CHAT_TOOLS, "messages": messages}
    answer = post(base_url, "/v1/chat/completions", body).json()["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert answer["message"]["content"]


def test_structured_output_satisfies_its_schema(base_url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"level": {"enum": ["low", "high"]}, "count": {"type": "integer"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "rating", "schema": schema}}
    body = CHAT | {"response_format": form}
    answer = post(base_url, "/v1/chat/completions", body).json()
    rating = json.loads(answer["choices"][0]["message"]["content"])
    assert rating["level"] in ("low", "high")
    assert isinstance(rating["count"], int)


def test_embeddings_put_texts_with_common_words_near_each_other(base_url: str) -> None:
    with openai_client(base_url) as client:
        texts = ["refund for a late parcel", "a late parcel gets a refund", "dark mode for tablets"]
        response = client.embeddings.create(model="text-embedding-3-small", input=texts)
    near, same, far = (item.embedding for item in response.data)

    def cosine(a: Sequence[float], b: Sequence[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert cosine(near, same) > 2 * cosine(near, far)
    assert cosine(near, near) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("status", "openai_error", "anthropic_error"),
    [
        (400, openai.BadRequestError, anthropic.BadRequestError),
        (429, openai.RateLimitError, anthropic.RateLimitError),
        (500, openai.InternalServerError, anthropic.InternalServerError),
    ],
)
def test_a_header_makes_each_provider_fail_in_its_own_shape(
    base_url: str, status: int, openai_error: type[Exception], anthropic_error: type[Exception]
) -> None:
    header = {STATUS_HEADER: str(status)}
    with openai_client(base_url) as client, pytest.raises(openai_error):
        client.chat.completions.create(**CHAT, extra_headers=header)
    with anthropic_client(base_url) as other, pytest.raises(anthropic_error):
        other.messages.create(**MESSAGE, extra_headers=header)
    assert post(base_url, "/v1/chat/completions", CHAT, **header).json()["error"]["type"]
    assert post(base_url, "/v1/messages", MESSAGE, **header).json()["type"] == "error"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", []),
        ("/v1/chat/completions", {"model": "m", "messages": []}),
        ("/v1/chat/completions", {"model": "m", "messages": "hello"}),
        ("/v1/chat/completions", CHAT | {"reasoning_effort": "huge"}),
        ("/v1/embeddings", {"model": "m", "input": [1, 2]}),
        ("/v1/embeddings", {"model": "m", "input": "x", "dimensions": -1}),
        ("/v1/responses", {"model": "m", "input": "x", "stream": True}),
        ("/v1/messages", {"model": "m", "messages": []}),
        (
            "/v1/messages",
            MESSAGE | {"tool_choice": {"type": "tool", "name": "absent"}, "tools": MESSAGE_TOOLS},
        ),
    ],
)
def test_malformed_requests_are_the_callers_fault(base_url: str, path: str, body: Any) -> None:
    refused = post(base_url, path, body)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"]


def test_a_request_without_key_is_refused(base_url: str) -> None:
    response = httpx.post(f"{base_url}/v1/chat/completions", json=CHAT, timeout=60, trust_env=False)
    assert response.status_code == 401


async def test_blocking_clients_work_beside_a_running_loop_and_nothing_is_left_afterwards() -> None:
    before = set(threading.enumerate())
    async with serve_stand_in() as url:
        with openai_client(url) as client:
            assert client.chat.completions.create(**CHAT).choices[0].message.content
        address = urlsplit(url)
    with socket.socket() as probe:
        assert probe.connect_ex((str(address.hostname), int(address.port or 0))) != 0, "the port is closed"
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert "model stand-in" not in left


@pytest.mark.parametrize("make_calls", [openinference_calls, gen_ai_anthropic_calls])
def test_the_spans_of_each_convention_carry_the_truth_once(
    base_url: str, make_calls: Callable[[str, TracerProvider], tuple[CallTruth, ...]]
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    truths = make_calls(base_url, provider)
    spans = [span for span in exporter.get_finished_spans() if span.parent is not None]
    assert Counter(f"{span.context.trace_id:032x}" for span in spans) == dict.fromkeys(
        (truth.trace_id for truth in truths), 1
    ), "one span a call: no call is seen twice"
    for truth in truths:
        (span,) = (span for span in spans if f"{span.context.trace_id:032x}" == truth.trace_id)
        assert_true(span, truth)


def assert_true(span: ReadableSpan, truth: CallTruth) -> None:
    attributes, outcome = dict(span.attributes or {}), truth.outcome
    assert (span.status.status_code.name == "ERROR") is outcome.failed
    if outcome.failed:
        return
    found = {name: next((attributes[key] for key in keys if key in attributes), 0) for name, keys in CARRIERS.items()}
    assert found == {
        "model": outcome.model,
        "input": outcome.input_tokens,
        "output": outcome.output_tokens,
        "read": outcome.cache_read_tokens,
        "write": outcome.cache_write_tokens,
        "reasoning": outcome.reasoning_tokens,
    }


CARRIERS = {
    "model": ("gen_ai.response.model", "llm.model_name", "embedding.model_name"),
    "input": ("gen_ai.usage.input_tokens", "llm.token_count.prompt"),
    "output": ("gen_ai.usage.output_tokens", "llm.token_count.completion"),
    "read": ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read"),
    "write": ("gen_ai.usage.cache_write.input_tokens", "llm.token_count.prompt_details.cache_write"),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning"),
}


def openai_client(base_url: str) -> openai.OpenAI:
    http_client = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key="any", max_retries=0, http_client=http_client)


def anthropic_client(base_url: str) -> anthropic.Anthropic:
    http_client = anthropic.DefaultHttpxClient(trust_env=False)
    return anthropic.Anthropic(base_url=base_url, api_key="any", max_retries=0, http_client=http_client)


def client_message(base_url: str, body: dict[str, Any]) -> Message:
    with anthropic_client(base_url) as client:
        message: Message = client.messages.create(**body)
        return message
