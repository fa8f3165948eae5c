"""The normalisation table: which attribute means what, in which order of precedence.

This one table makes the store's SQL, its tests and docs/reference/semantics.md. Precedence within a column is the order
of its attributes: GenAI conventions, then OpenInference, then vendors and older names.

Sources: OpenTelemetry GenAI semantic conventions; OpenInference semantic conventions; OpenLLMetry (traceloop.*),
Vercel AI SDK (ai.*), Langfuse (langfuse.*), MLflow (mlflow.*).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ColumnType(StrEnum):
    """What a normalised column holds."""

    NAME = "name"
    """Text of few distinct values."""
    TEXT = "text"
    """Text of many distinct values."""
    CONTENT = "content"
    """A prompt or an answer: long text in a column of its own, taken out of the attribute map."""
    COUNT = "count"
    """A whole number, 0 where absent."""
    AMOUNT = "amount"
    """US dollars, absent where not given."""


@dataclass(frozen=True, slots=True)
class Column:
    """A normalised column and the span attributes that it is taken from, the first one present winning."""

    name: str
    type: ColumnType
    meaning: str
    attributes: tuple[str, ...]


COLUMNS: Final = (
    Column("agent_id", ColumnType.NAME, "The agent that did the work; its name where it has no id.",
           ("gen_ai.agent.id", "agent.id", "graph.node.id", "langfuse.agent.id")),
    Column("agent_name", ColumnType.NAME, "The agent's readable name.",
           ("gen_ai.agent.name", "agent.name", "graph.node.name")),
    Column("agent_type", ColumnType.NAME, "The agent's kind, such as planner or coder.",
           ("gen_ai.agent.type", "agent.type")),
    Column("agent_version", ColumnType.NAME, "The agent's version.",
           ("gen_ai.agent.version", "agent.version")),
    Column("workflow_id", ColumnType.NAME, "The workflow that the work belongs to.",
           ("gen_ai.workflow.name", "workflow.id", "workflow.name", "traceloop.workflow.name",
            "langfuse.trace.name")),
    Column("task_id", ColumnType.TEXT, "A task's own id; a span with one is a task.",
           ("task.id", "gen_ai.task.id")),
    Column("task_type", ColumnType.NAME, "The kind of task, for comparing like with like.",
           ("task.type", "gen_ai.task.type")),
    Column("session_id", ColumnType.TEXT, "The conversation.",
           ("gen_ai.conversation.id", "session.id", "langfuse.session.id",
            "traceloop.association.properties.session_id", "ai.telemetry.metadata.sessionId")),
    Column("user_id", ColumnType.TEXT, "The end user.",
           ("user.id", "enduser.id", "langfuse.user.id", "traceloop.association.properties.user_id",
            "ai.telemetry.metadata.userId")),
    Column("operation_name", ColumnType.NAME, "GenAI operation or span kind as sent; see SPAN_KINDS.",
           ("gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind", "llm.request.type",
            "ai.operationId", "langfuse.observation.type", "mlflow.spanType")),
    Column("provider", ColumnType.NAME, "Who served the model.",
           ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider",
            "mlflow.llm.provider")),
    Column("model", ColumnType.NAME, "The model asked for; the one that answered where only that is told.",
           ("gen_ai.request.model", "llm.model_name", "llm.request.model_name", "embedding.model_name",
            "reranker.model_name", "ai.model.id", "langfuse.observation.model.name", "mlflow.llm.model")),
    Column("response_model", ColumnType.NAME, "The model that answered.",
           ("gen_ai.response.model", "llm.response.model_name", "ai.response.model")),
    Column("tool_name", ColumnType.NAME, "The tool called.",
           ("gen_ai.tool.name", "tool.name", "tool_call.function.name", "ai.toolCall.name")),
    Column("finish_reason", ColumnType.NAME, "Why the model stopped.",
           ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason", "llm.finish_reason",
            "ai.response.finishReason")),
    Column("error_type", ColumnType.NAME, "The error's class; else that of the span's exception event.",
           ("error.type", "exception.type")),
    Column("prompt_version", ColumnType.NAME, "The version of the prompt template.",
           ("gen_ai.prompt.version", "llm.prompt_template.version", "langfuse.observation.prompt.version")),
    Column("caller_trace_id", ColumnType.TEXT, "The trace id as a caller of CreateTrace wrote it.",
           ("agent_tracer.trace_id",)),
    Column("input", ColumnType.CONTENT, "What went in.",
           ("gen_ai.input.messages", "input.value", "gen_ai.tool.call.arguments", "traceloop.entity.input",
            "gen_ai.prompt", "ai.prompt.messages", "ai.prompt", "ai.toolCall.args",
            "langfuse.observation.input", "mlflow.spanInputs")),
    Column("output", ColumnType.CONTENT, "What came out.",
           ("gen_ai.output.messages", "output.value", "gen_ai.tool.call.result", "traceloop.entity.output",
            "gen_ai.completion", "ai.response.text", "ai.toolCall.result", "langfuse.observation.output",
            "mlflow.spanOutputs")),
    Column("input_tokens", ColumnType.COUNT, "Tokens in, cached ones included.",
           ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
            "ai.usage.inputTokens", "ai.usage.promptTokens", "llm.usage.prompt_tokens")),
    Column("output_tokens", ColumnType.COUNT, "Tokens out, reasoning included.",
           ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
            "ai.usage.outputTokens", "ai.usage.completionTokens", "llm.usage.completion_tokens")),
    Column("cache_read_tokens", ColumnType.COUNT, "Tokens in that came from the provider's cache.",
           ("gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read",
            "gen_ai.usage.cache_read_input_tokens", "ai.usage.cachedInputTokens")),
    Column("cache_creation_tokens", ColumnType.COUNT, "Tokens in that were written to the provider's cache.",
           ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens",
            "llm.token_count.prompt_details.cache_write",
            "gen_ai.usage.cache_creation_input_tokens")),
    Column("reasoning_tokens", ColumnType.COUNT, "Tokens out that were reasoning.",
           ("gen_ai.usage.reasoning.output_tokens", "llm.token_count.completion_details.reasoning",
            "gen_ai.usage.reasoning_tokens", "ai.usage.reasoningTokens")),
    Column("total_tokens", ColumnType.COUNT, "The sum as sent: tells whether cached and reasoning are inside.",
           ("gen_ai.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens",
            "llm.usage.total_tokens")),
    Column("given_cost", ColumnType.AMOUNT, "The caller's own figure, which comes before any price list.",
           ("gen_ai.usage.cost", "llm.cost.total", "gen_ai.cost.total", "langfuse.observation.cost")),
)  # fmt: skip

INVOCATION_PARAMETERS: Final = "llm.invocation_parameters"
"""OpenInference's JSON of a request's parameters: the one place that names the model of a refused call."""

SPAN_KINDS: Final[Mapping[str, str]] = {
    "chat": "llm", "generate_content": "llm", "text_completion": "llm", "completion": "llm", "llm": "llm",
    "generation": "llm", "chat_model": "llm", "ai.generatetext.dogenerate": "llm",
    "ai.streamtext.dostream": "llm", "ai.generateobject.dogenerate": "llm",
    "ai.streamobject.dostream": "llm",
    "embeddings": "embedding", "embedding": "embedding", "ai.embed.doembed": "embedding",
    "ai.embedmany.doembed": "embedding",
    "retrieval": "retriever", "retriever": "retriever", "rerank": "reranker", "reranker": "reranker",
    "create_agent": "agent", "invoke_agent": "agent", "agent": "agent",
    "execute_tool": "tool", "tool": "tool", "ai.toolcall": "tool", "function": "tool",
    "invoke_workflow": "workflow", "workflow": "workflow",
    "plan": "chain", "chain": "chain", "span": "chain", "ai.generatetext": "chain", "ai.streamtext": "chain",
    "ai.generateobject": "chain", "ai.streamobject": "chain", "ai.embed": "chain", "ai.embedmany": "chain",
    "task": "task", "guardrail": "guardrail", "evaluator": "evaluator", "prompt": "prompt",
    "parser": "parser", "memory": "memory",
}  # fmt: skip
"""Operation or span kind as sent, in lower case, to the kind that readers see. Others keep OpenTelemetry's kind."""

OTEL_KINDS: Final = ("internal", "internal", "server", "client", "producer", "consumer")
"""OpenTelemetry's SpanKind by number (0, unspecified, reads as internal as the specification says)."""

CALL_KINDS: Final = ("llm", "embedding", "reranker")
"""Kinds whose tokens and cost are counted. An agent's or chain's own usage repeats that of the calls under it."""
