"""GenAI spans in OpenInference's words, which Phoenix reads.

The normalisation table says what an attribute means; here is what OpenInference calls it (OpenInference semantic
conventions, spec/semantic_conventions.md). A span that speaks OpenInference already stays as it is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from agent_tracer.server.domain.messages import readable_content
from agent_tracer.server.domain.semantics import CALL_KINDS, COLUMNS, SPAN_KINDS
from agent_tracer.server.domain.telemetry import AttributeValue

PROJECT: Final = "openinference.project.name"
"""The resource attribute that files spans under a project."""

_KIND: Final = "openinference.span.kind"

Place = tuple[str, int]


def _places() -> Mapping[str, Sequence[Place]]:
    """The columns that an attribute fills, each with its rank among those that do: the table, read the other way."""
    found: dict[str, list[Place]] = {}
    for column in COLUMNS:
        for rank, attribute in enumerate(column.attributes):
            found.setdefault(attribute, []).append((column.name, rank))
    return found


_PLACES: Final = _places()
_KINDS: Final = {
    "llm": "LLM", "embedding": "EMBEDDING", "retriever": "RETRIEVER", "reranker": "RERANKER", "agent": "AGENT",
    "tool": "TOOL", "guardrail": "GUARDRAIL", "evaluator": "EVALUATOR", "prompt": "PROMPT",
}  # fmt: skip
"""Our kinds in OpenInference's; every other one is a CHAIN."""

_MODEL: Final = {"embedding": "embedding.model_name", "reranker": "reranker.model_name"}
_CALLS: Final = {
    "input_tokens": "llm.token_count.prompt",
    "output_tokens": "llm.token_count.completion",
    "cache_read_tokens": "llm.token_count.prompt_details.cache_read",
    "cache_creation_tokens": "llm.token_count.prompt_details.cache_write",
    "reasoning_tokens": "llm.token_count.completion_details.reasoning",
    "given_cost": "llm.cost.total",
    "finish_reason": "llm.finish_reason",
}
"""Of calls alone: an agent's own usage repeats that of the calls under it."""

_ALL: Final = {
    "agent_name": "agent.name",
    "tool_name": "tool.name",
    "session_id": "session.id",
    "user_id": "user.id",
}
_PARAMETERS: Final = "gen_ai.request."
_PROVIDERS: Final = {
    "openai": ("openai", "openai"), "azure.ai.openai": ("azure", "openai"), "az.ai.openai": ("azure", "openai"),
    "azure.ai.inference": ("azure", ""), "anthropic": ("anthropic", "anthropic"), "aws.bedrock": ("aws", ""),
    "gcp.vertex_ai": ("google", "vertexai"), "vertex_ai": ("google", "vertexai"), "gcp.gemini": ("google", ""),
    "gcp.gen_ai": ("google", ""), "cohere": ("cohere", "cohere"), "mistral_ai": ("mistralai", "mistralai"),
    "x_ai": ("xai", ""), "deepseek": ("deepseek", ""),
}  # fmt: skip
"""Providers of GenAI conventions as llm.provider and llm.system. Others keep their name."""


def translate(span: Span) -> bool:
    """Give a span of another convention OpenInference's attributes beside its own; whether it got any.

    What it has already is not changed. Attributes that belong to no convention of agents are left alone.
    """
    sent = {pair.key: _plain(pair.value) for pair in span.attributes}
    if _KIND in sent or not (found := _columns(sent)):
        return False
    kind = _kind_of(found)
    made: dict[str, AttributeValue] = {_KIND: _KINDS.get(kind, "CHAIN")} if kind else {}
    made |= {ours: found[name] for name, ours in _ALL.items() if name in found}
    made |= dict(_content(sent, found, with_messages=kind == "llm"))
    if kind in CALL_KINDS:
        made |= dict(_call(kind, sent, found))
    added = {key: value for key, value in made.items() if key not in sent and value not in (None, "")}
    span.attributes.extend(KeyValue(key=key, value=_any_value(value)) for key, value in added.items())
    return bool(added)


def _columns(sent: Mapping[str, AttributeValue]) -> Mapping[str, AttributeValue]:
    """Each column that the attributes fill; the first one of the table that is not empty wins."""
    found: dict[str, tuple[int, AttributeValue]] = {}
    for key, value in sent.items():
        for name, rank in _PLACES.get(key, ()) if value not in (None, "") else ():
            if name not in found or rank < found[name][0]:
                found[name] = rank, value
    return {name: value for name, (_, value) in found.items()}


def _kind_of(found: Mapping[str, AttributeValue]) -> str:
    """As the store tells it; empty for a span that only names its agent or task."""
    operation = str(found.get("operation_name", "")).lower()
    if operation in SPAN_KINDS:
        return SPAN_KINDS[operation]
    if "model" in found and "input_tokens" in found:
        return "llm"
    if "tool_name" in found:
        return "tool"
    return "task" if found.keys() & {"task_id", "task_type", "workflow_id", "agent_id"} else ""


def _call(
    kind: str, sent: Mapping[str, AttributeValue], found: Mapping[str, AttributeValue]
) -> Iterator[tuple[str, AttributeValue]]:
    yield "llm.model_name", found.get("model") or found.get("response_model")
    if kind in _MODEL:
        yield _MODEL[kind], found.get("model") or found.get("response_model")
    name = str(found.get("provider", ""))
    yield from zip(("llm.provider", "llm.system"), _PROVIDERS.get(name.lower(), (name, "")), strict=True)
    for column, ours in _CALLS.items():
        yield ours, _listed(found.get(column))
    counts = [found.get(column) for column in ("input_tokens", "output_tokens")]
    total = sum(count for count in counts if isinstance(count, int))
    yield "llm.token_count.total", found.get("total_tokens") or total or None
    parameters = {k.removeprefix(_PARAMETERS): v for k, v in sent.items() if k.startswith(_PARAMETERS)}
    parameters.pop("model", None)
    if parameters:
        yield "llm.invocation_parameters", _json(parameters)


def _content(
    sent: Mapping[str, AttributeValue], found: Mapping[str, AttributeValue], *, with_messages: bool
) -> Iterator[tuple[str, AttributeValue]]:
    """input.value and output.value; a model call's messages one attribute a field, too."""
    for side, messages in zip(("input", "output"), readable_content(sent), strict=True):
        value = found.get(side)
        if value is None:
            continue
        text = messages or (value if isinstance(value, str) else _json(value))
        yield f"{side}.value", text
        yield f"{side}.mime_type", "application/json" if messages or _is_json(text) else "text/plain"
        if with_messages and messages:
            yield from _messages(f"llm.{side}_messages", json.loads(messages))


def _messages(prefix: str, messages: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for number, message in enumerate(messages):
        at = f"{prefix}.{number}.message"
        yield f"{at}.role", str(message.get("role", ""))
        yield f"{at}.content", str(message.get("content", ""))
        for index, call in enumerate(message.get("tool_calls", ())):
            function = f"{at}.tool_calls.{index}.tool_call.function"
            yield f"{function}.name", str(call.get("name", ""))
            yield f"{function}.arguments", str(call.get("arguments", ""))


def _is_json(text: str) -> bool:
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _listed(value: AttributeValue) -> AttributeValue:
    """finish_reasons is a list in GenAI conventions, one text here."""
    return str(value[0]) if isinstance(value, list) and value else value


def _plain(value: AnyValue) -> AttributeValue:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(inner) for inner in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


def _any_value(value: AttributeValue) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case _:
            return AnyValue(string_value=_json(value))
