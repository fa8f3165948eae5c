"""What workflow optimisation takes and gives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent_tracer.server.domain.ids import AgentId, SpanId

NS_PER_MS: Final = 1_000_000

_VARYING: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}"  # UUIDs
    r"|(?<![0-9a-z])(?=[0-9a-f]*[0-9])[0-9a-f]{8,}(?![0-9a-z])"  # hashes
    r"|[0-9]+",
    re.IGNORECASE,
)


class Change(StrEnum):
    """What can be changed of a workflow; as in Suggestion.change of the API."""

    PARALLELIZE = "parallelize"
    CACHE = "cache"
    SCALE_OUT = "scale_out"
    SMALLER_MODEL = "smaller_model"
    FEWER_RETRIES = "fewer_retries"
    EARLIER_START = "earlier_start"
    TRIM_CONTEXT = "trim_context"


@dataclass(frozen=True, slots=True)
class WorkSpan:
    """A span as far as replays depend on it; fields as in telemetry.Span.

    `input` and `output` are the recorded content, empty where none was recorded: without it nothing is suggested that
    depends on what was passed on. `input_hash` tells equal inputs, also where the text was left out or cut short;
    where empty, the text itself does.
    """

    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    end_ns: int
    name: str
    kind: str = ""
    status: str = ""
    service: str = ""
    agent_id: AgentId = AgentId("")  # noqa: RUF009 - a NewType is a plain text
    model: str = ""
    tool_name: str = ""
    cost: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    input: str = ""
    output: str = ""
    input_hash: str = ""

    @property
    def duration_ns(self) -> int:
        """Never negative."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def failed(self) -> bool:
        """Whether the call ended in an error."""
        return self.status == "error"

    @property
    def same_input(self) -> str:
        """Equal for equal inputs; empty where the input is not known."""
        return self.input_hash or self.input


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change and what it saves of the mean duration, replayed: `lower` to `upper` is the 95 % interval.

    cost_change: US dollars a run, negative saves; None where it cannot be told.
    """

    change: Change
    stage: str
    text: str
    estimated_improvement: float
    lower: float
    upper: float
    cost_change: float | None = None


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A stage by its share of the critical path. avg_duration is in milliseconds, shares are 0 to 1."""

    stage: str
    avg_duration: float
    recommendation: str
    critical_share: float
    span_count: int
    queue_share: float
    error_rate: float


@dataclass(frozen=True, slots=True)
class WorkflowAnalysis:
    """As WorkflowOptimization of the API. avg_duration is in milliseconds.

    Bottlenecks and suggestions come with the largest first; suggested_changes are the suggestions' texts.
    """

    bottlenecks: Sequence[Bottleneck]
    estimated_improvement: float
    suggested_changes: Sequence[str]
    suggestions: Sequence[Suggestion]
    trace_count: int
    avg_duration: float
    caveats: Sequence[str]


def stage_of(span: WorkSpan, agent_id: AgentId) -> str:
    """The step of a workflow that the span is one run of: `agent/operation`, or the operation alone.

    The operation is the tool called, else the span's name without its model (so that one step on two models is one
    stage), UUIDs, hashes and numbers (so that `page 3` and `page 4` are). `agent_id` is the span's or inherited.
    """
    name = span.tool_name or span.name
    if span.model and not span.tool_name:
        name = name.replace(span.model, "")
    operation = " ".join(_VARYING.sub("#", name).split()) or span.kind or "unnamed"
    return f"{agent_id}/{operation}" if agent_id else operation
