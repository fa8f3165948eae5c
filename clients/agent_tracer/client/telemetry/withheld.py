"""Spans without prompts, answers, arguments and results, whatever wrote them.

Instrumentors are told to leave contents out, but some have no such switch, and some keep a few in spite of it. So what
is known to carry contents is also taken out of the spans that leave.

Sources: OpenTelemetry's GenAI conventions, OpenInference, OpenLLMetry, and what frameworks write of their own.
"""

import re
from typing import Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan

from agent_tracer.client.telemetry.copies import changed

__all__ = ["is_content", "without_contents"]

_NAMES: Final = (
    "input.value", "output.value", "input.images", "output.images", "llm.input_messages", "llm.output_messages",
    "llm.prompts", "llm.completions", "llm.choices", "llm.prompt_template.template", "llm.prompt_template.variables",
    "llm.tools", "llm.function_call", "llm.invocation_parameters", "tool.parameters", "tool_call.function.arguments",
    "retrieval.documents", "document.content", "embedding.embeddings", "embedding.text", "embedding.vector",
    "reranker.query", "reranker.input_documents", "reranker.output_documents",
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.retrieval.documents", "gen_ai.retrieval.query.text",
    "traceloop.entity.input", "traceloop.entity.output",
    "langfuse.observation.input", "langfuse.observation.output", "langfuse.trace.input", "langfuse.trace.output",
    "mlflow.spanInputs", "mlflow.spanOutputs",
    "ai.prompt", "ai.response.text", "ai.response.object", "ai.response.toolCalls", "ai.toolCall.args",
    "ai.toolCall.result",
    "gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response", "gcp.vertex.agent.tool_call_args",
    "gcp.vertex.agent.tool_response", "gcp.vertex.agent.data",
    "pydantic_ai.all_messages", "all_messages_events", "final_result", "tool_arguments", "tool_response",
)  # fmt: skip
"""Attributes that are contents, with all below them. What is counted of contents (tokens, sizes) is none."""

_CONTENT: Final = re.compile(
    rf"(?:{'|'.join(map(re.escape, _NAMES))})(?:\.|$)"
    r"|gen_ai\.(?:prompt|completion)(?:\.\d|$)"  # by message; gen_ai.prompt.name and its like are none
)
_CONTENT_EVENT: Final = re.compile(r"gen_ai\.(?:content\.|choice$|.*\.message$|client\.inference\.operation\.details$)")


def is_content(name: str) -> bool:
    """Whether an attribute of this name carries contents."""
    return _CONTENT.match(name) is not None


def without_contents(span: ReadableSpan) -> ReadableSpan:
    """The span itself where it has no contents, else a copy without them."""
    attributes = span.attributes or {}
    kept = {name: value for name, value in attributes.items() if not is_content(name)}
    events = [event for event in span.events if not _CONTENT_EVENT.match(event.name)]
    if len(kept) == len(attributes) and len(events) == len(span.events):
        return span
    bounded = BoundedAttributes(attributes=kept)
    bounded.dropped = span.dropped_attributes
    return changed(span, attributes=bounded, events=events)
