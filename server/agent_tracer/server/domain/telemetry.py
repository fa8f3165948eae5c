"""What the store gives back: traces, spans, agents, evaluations, aggregates. All immutable; times are UTC ns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TraceId

AttributeValue: TypeAlias = (
    "str | int | float | bool | bytes | Sequence[AttributeValue] | Mapping[str, AttributeValue] | None"
)
Attributes: TypeAlias = Mapping[str, AttributeValue]


class TraceStatus(StrEnum):
    """How a trace ended: as its root span did. Without a root span yet it is running."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens; input includes cached ones, output includes reasoning."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened in a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one has to do with."""

    trace_id: OtelTraceId
    span_id: SpanId
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span, normalised; `attributes` are the span's own, as sent. `parent_id` is None at a root."""

    span_id: SpanId
    parent_id: SpanId | None
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    status_message: str
    service: str
    agent_id: AgentId
    model: str
    provider: str
    tool_name: str
    usage: TokenUsage
    cost: float | None
    input: str
    output: str
    attributes: Attributes = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SpanOutline:
    """What a tree is drawn from. `agent_id` is the span's own; empty where it has none."""

    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    agent_id: AgentId


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A judgement of a trace, or of one of its spans where span_id is given. score is 0 to 1."""

    evaluation_id: str
    trace_id: TraceId
    span_id: SpanId | None
    name: str
    score: float | None
    label: str
    explanation: str
    annotator: str
    create_time_ns: int


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace's summary over all of its spans. cost is None where no call, or not every call, has a price."""

    trace_id: TraceId
    otel_trace_id: OtelTraceId
    agent_id: AgentId
    operation: str
    status: TraceStatus
    start_ns: int
    end_ns: int
    metadata: Attributes
    workflow_id: str
    session_id: str
    task_type: str
    span_count: int
    error_count: int
    agents: Sequence[str]
    services: Sequence[str]
    usage: TokenUsage
    cost: float | None
    evaluations: Sequence[Evaluation] = ()
    spans: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as seen over a time; cost in US dollars, None where none of its calls has a price."""

    agent_id: AgentId
    name: str
    agent_type: str
    version: str
    trace_count: int
    error_count: int
    last_seen_ns: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class AggregateRow:
    """Durations in milliseconds; cost in US dollars over the priced calls."""

    group: Mapping[str, str]
    bucket_start_ns: int
    count: int
    error_count: int
    duration_p50_ms: float
    duration_p95_ms: float
    duration_p99_ms: float
    usage: TokenUsage
    cost: float
    unpriced_count: int


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half open: start_ns <= t < end_ns."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """All given conditions must hold; an empty text means no condition."""

    agent_id: str = ""
    status: str = ""
    operation: str = ""
    workflow_id: str = ""
    session_id: str = ""
    service: str = ""
    model: str = ""
    time_range: TimeRange | None = None
    min_duration_ms: float | None = None
    min_cost: float | None = None
    text: str = ""
    attributes: Sequence[tuple[str, str]] = ()
