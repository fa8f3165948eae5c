"""Contents are taken out of spans that leave, whoever wrote them; the rest of a span stays as it is."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from agent_tracer.client.telemetry.withheld import is_content, without_contents
from agent_tracer.server.domain.semantics import COLUMNS, ColumnType

CONTENTS = [
    "input.value", "output.value", "llm.input_messages.0.message.content", "llm.prompts", "llm.prompt_template.variables",
    "embedding.embeddings.0.embedding.text", "retrieval.documents.3.document.content", "tool.parameters",
    "gen_ai.prompt", "gen_ai.prompt.0.user", "gen_ai.completion.0.content", "gen_ai.input.messages",
    "gen_ai.system_instructions", "gen_ai.tool.call.arguments", "traceloop.entity.output",
    "gcp.vertex.agent.llm_request",
]  # fmt: skip
OTHERS = [
    "gen_ai.prompt.name", "gen_ai.prompt.version", "gen_ai.usage.prompt_tokens", "gen_ai.request.model", "input.mime_type",
    "llm.token_count.prompt", "llm.prompt_template.version", "traceloop.entity.name", "tool.name", "final_results",
]  # fmt: skip


def ended(attributes: dict[str, str], *events: str) -> ReadableSpan:
    with (
        TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s", attributes=attributes) as span
    ):
        for event in events:
            span.add_event(event, {} if event == "mine" else {"content": "secret"})
    assert isinstance(span, ReadableSpan)
    return span


@pytest.mark.parametrize("name", CONTENTS)
def test_an_attribute_of_contents_does_not_leave(name: str) -> None:
    kept = without_contents(ended({name: "secret", "other": "kept"}))
    assert dict(kept.attributes or {}) == {"other": "kept"}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_tells_about_contents_stays(name: str) -> None:
    span = ended({name: "kept"}, "exception")
    assert without_contents(span) is span


def test_all_else_of_a_span_is_as_it_was() -> None:
    span = ended({"input.value": "secret"}, "gen_ai.user.message", "gen_ai.choice", "gen_ai.content.prompt", "mine")
    kept = without_contents(span)
    assert [event.name for event in kept.events] == ["mine"]
    assert (kept.name, kept.context, kept.parent, kept.kind, kept.status) == (
        (span.name, span.context, span.parent, span.kind, span.status)
    )
    assert (kept.start_time, kept.end_time, kept.resource) == (span.start_time, span.end_time, span.resource)
    assert kept.instrumentation_scope == span.instrumentation_scope
    assert "secret" not in kept.to_json()
    assert "secret" in span.to_json(), "what the agent's own processors see is not changed"


def test_no_attribute_that_is_read_as_input_or_output_leaves() -> None:
    read = [name for column in COLUMNS if column.type is ColumnType.CONTENT for name in column.attributes]
    assert len(read) > 10
    assert [name for name in read if not is_content(name)] == []
