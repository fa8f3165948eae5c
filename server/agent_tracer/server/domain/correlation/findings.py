"""What is found to belong with a trace. Correlations are from 0 to 1; times are UTC nanoseconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent_tracer.server.domain.ids import AgentId, OtelTraceId, SpanId, TraceId
from agent_tracer.server.domain.telemetry import TraceStatus


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """Of a span of the trace, what tells where and why it failed, and what it is tied to."""

    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    duration_ns: int
    name: str
    kind: str = ""
    service: str = ""
    agent_id: AgentId = AgentId("")  # noqa: RUF009 - a text
    tool_name: str = ""
    failed: bool = False
    error_type: str = ""
    message: str = ""
    task_id: str = ""
    links: Sequence[OtelTraceId] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """The span that failed first: where, as what, with which words."""

    service: str
    agent_id: str
    name: str
    tool_name: str
    error_type: str
    message: str

    @property
    def component(self) -> str:
        """The service, or the agent where the span has none of its own."""
        return self.service or self.agent_id or self.tool_name or self.name


@dataclass(frozen=True, slots=True)
class Subject:
    """The trace that is asked about. `services`: those of its own, the failing one first.

    `slowest`: the component with the most time of its own, `usual_ns`: the median duration of such traces before,
    None where too few are known; `is_slow`: much slower than those.
    """

    trace_id: TraceId
    key: OtelTraceId
    status: TraceStatus
    start_ns: int
    end_ns: int
    services: Sequence[str] = ()
    agents: Sequence[str] = ()
    failure: Failure | None = None
    slowest: str = ""
    usual_ns: int | None = None
    is_slow: bool = False

    @property
    def is_unusual(self) -> bool:
        """Whether there is anything about it to explain."""
        return self.failure is not None or self.is_slow


class TieKind(StrEnum):
    """How a trace is tied to another one."""

    LINKS = "links"
    LINKED = "linked"
    TASK = "task"
    SESSION = "session"
    WORKFLOW = "workflow"


@dataclass(frozen=True, slots=True)
class Tie:
    """Another trace, when it began, and how it is tied; `name`: the task, session or workflow that both have."""

    key: OtelTraceId
    start_ns: int
    kind: TieKind
    name: str = ""


@dataclass(frozen=True, slots=True)
class Began:
    """Another trace and when it began; `similarity` to the one that is asked about, 1 where that is not the point."""

    key: OtelTraceId
    start_ns: int
    similarity: float = 1.0


@dataclass(frozen=True, slots=True)
class TieKeys:
    """By what other traces may be tied to one."""

    key: OtelTraceId
    links: Sequence[OtelTraceId] = ()
    tasks: Sequence[str] = ()
    session_id: str = ""
    workflow_id: str = ""


@dataclass(frozen=True, slots=True)
class RelatedTrace:
    """`reasons` are phrases."""

    key: OtelTraceId
    correlation: float
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class RelatedMetric:
    """`value` and `baseline`: typical where it is farthest from before, and before. `q_value`: false discovery rate."""

    name: str
    component: str
    value: float
    baseline: float
    correlation: float
    q_value: float


@dataclass(frozen=True, slots=True)
class RelatedLog:
    """`severity`: OTLP's number, `count`: records; `of_trace`: it carries the trace's id."""

    severity: int
    message: str
    component: str
    time_ns: int
    count: int
    correlation: float
    of_trace: bool = False


@dataclass(frozen=True, slots=True)
class RelatedEvent:
    """A change, an incident or an evaluation."""

    name: str
    correlation: float
    time_ns: int
    component: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """`type`: the name of a fault signature."""

    type: str
    confidence: float
    component: str
