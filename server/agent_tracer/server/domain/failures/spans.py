"""Which spans of a trace are the steps of its run.

A run is traced in many ways: one span a step under a root that stands for the run, spans of agents around those of
their calls, every span a root of its own, spans of the network below all of them. A step is a span in which something
was decided or done. A span around others that only stands for what they did is none, nor is the plumbing below a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.failures.content import plain
from agent_tracer.server.domain.failures.roles import Role, role_by_name
from agent_tracer.server.domain.failures.steps import TOOL_KINDS, Step
from agent_tracer.server.domain.ids import AgentId, SpanId
from agent_tracer.server.domain.trees import Placed, depth_first

ACTING_KINDS: Final = TOOL_KINDS | {"llm"}
"""Kinds of spans that are steps whatever is below them: a call holds what was done for it."""

_TOLD_KINDS: Final = ACTING_KINDS | {"agent", "user", "human", "prompt"}
_NETWORK_KINDS: Final = frozenset({"client", "server", "producer", "consumer"})
_ASKING_ROLES: Final = frozenset({"user", "human", "system", "developer"})
_TOOL_ROLES: Final = frozenset({"tool", "function"})


@dataclass(frozen=True, slots=True)
class RunSpan:
    """A span as it came, texts not yet read. `role`: whose message it says it is; `order`: its number.

    Times are UTC nanoseconds; agent_id is the span's own.
    """

    span_id: SpanId
    parent_id: SpanId | None
    start_ns: int
    duration_ns: int
    name: str = ""
    kind: str = ""
    agent_id: AgentId = AgentId("")  # noqa: RUF009 - a text
    tool_name: str = ""
    input: str = ""
    output: str = ""
    failed: bool = False
    error_type: str = ""
    message: str = ""
    role: str = ""
    order: int | None = None

    @property
    def end_ns(self) -> int:
        """UTC nanoseconds."""
        return self.start_ns + self.duration_ns

    @property
    def is_telling(self) -> bool:
        """Whether it says who acted, or what was done or said."""
        return bool(self.agent_id or self.tool_name or self.output or self.role or self.kind in _TOLD_KINDS)


@dataclass(frozen=True, slots=True)
class RunSteps:
    """The steps in time order, and the spans around and below them that failed."""

    steps: Sequence[Step]
    others: Sequence[Step] = ()


def run_steps(spans: Sequence[RunSpan]) -> RunSteps:
    """The steps of a trace. Of spans that are all alike plumbing, each is one.

    A span around others is no step where it covers their time and one of them decides something or it has nothing to
    say itself; and neither is a root that lacks the agent or the words that those below it have.
    """
    placed = depth_first(spans)
    kept = _steps(placed) or placed
    ordered = sorted(kept, key=_in_time)
    chosen = {one.span.span_id: one.span for one in kept}
    reads_input = not any(one.span.output for one in kept if one.span.kind not in TOOL_KINDS)
    others = [one for one in placed if one.span.failed and one.span.span_id not in chosen]
    return RunSteps(
        [_step(index, one, _caller(one.span, chosen), reads_input=reads_input) for index, one in enumerate(ordered)],
        [_step(index, one, one.span.parent_id, reads_input=False) for index, one in enumerate(others)],
    )


def _caller(span: RunSpan, steps: Mapping[SpanId, RunSpan]) -> SpanId | None:
    """The span that it was called from. A step that had ended by then came before it, and is nothing around it."""
    parent = steps.get(span.parent_id) if span.parent_id is not None else None
    return None if parent is not None and parent.end_ns <= span.start_ns else span.parent_id


def _in_time(placed: Placed[RunSpan]) -> tuple[int, int, int, int, SpanId]:
    """Of those that began at once: by the number that they give, else the outer and the shorter one first."""
    span = placed.span
    return span.start_ns, -1 if span.order is None else span.order, placed.depth, span.end_ns, span.span_id


def _steps(placed: Sequence[Placed[RunSpan]]) -> list[Placed[RunSpan]]:
    children: dict[SpanId, list[RunSpan]] = {}
    for one in placed:
        if one.span.parent_id is not None:
            children.setdefault(one.span.parent_id, []).append(one.span)
    around = _around(placed, children)
    kept, inside = [], set[SpanId]()
    for one in placed:
        span = one.span
        below = span.parent_id in inside
        if span.span_id not in around and (span.is_telling or not (below or span.kind in _NETWORK_KINDS)):
            kept.append(one)
            inside.add(span.span_id)
        elif below:
            inside.add(span.span_id)
    return kept


def _around(placed: Sequence[Placed[RunSpan]], children: Mapping[SpanId, Sequence[RunSpan]]) -> set[SpanId]:
    """The spans that stand for those below them."""
    found: set[SpanId] = set()
    leading: set[SpanId] = set()
    for one in reversed(placed):  # children before their parents
        span, below = one.span, children.get(one.span.span_id, ())
        leads = any(child.span_id in leading for child in below)
        if below and span.kind not in ACTING_KINDS and _stands_for(span, below, leads=leads, is_root=one.depth == 0):
            found.add(span.span_id)
        if leads or (span.span_id not in found and _decides(span)):
            leading.add(span.span_id)
    return found


def _stands_for(span: RunSpan, below: Sequence[RunSpan], *, leads: bool, is_root: bool) -> bool:
    covered = sum(span.start_ns <= child.start_ns < span.end_ns for child in below)
    if 2 * covered >= len(below):
        return leads or not span.output
    # A message may have the answers to it below itself, each later than its parent. The root of a run that was put
    # together afterwards may have no duration.
    with_agent = sum(bool(child.agent_id) for child in below)
    with_output = sum(bool(child.output) for child in below)
    lacks = (not span.agent_id and 2 * with_agent > len(below)) or (not span.output and 2 * with_output > len(below))
    return is_root and lacks


def _decides(span: RunSpan) -> bool:
    return (
        span.is_telling
        and span.kind not in TOOL_KINDS
        and _kind(span, span.role) not in {"user", "tool"}
        and role_by_name(span.agent_id or span.name) in {Role.WORKER, Role.ORCHESTRATOR}
    )


def _kind(span: RunSpan, role: str) -> str:
    """The kind, by whose message it is where no agent and no call is told."""
    if span.agent_id or span.kind in TOOL_KINDS:
        return span.kind
    if role in _ASKING_ROLES:
        return "user"
    return "tool" if role in _TOOL_ROLES or span.tool_name else span.kind


def _step(index: int, placed: Placed[RunSpan], parent: SpanId | None, *, reads_input: bool) -> Step:
    span = placed.span
    output, said_by = plain(span.output)
    input_, asked_by = plain(span.input)
    kind = _kind(span, span.role or (said_by if span.output else asked_by if reads_input else ""))
    is_asking = kind == "user" or role_by_name(span.agent_id or span.name) is Role.REQUESTER
    if not output and input_ and kind not in TOOL_KINDS and (reads_input or is_asking):
        output, input_ = input_, ""
    # A person's turn below the span of an agent is not the agent's.
    agent_id = span.agent_id or ("" if kind == "user" else placed.agent_id)
    return Step(
        index=index,
        span_id=span.span_id.hex(),
        agent_id=agent_id,
        kind=kind,
        name=span.name,
        parent="" if parent is None else parent.hex(),
        tool_name=span.tool_name,
        input=input_,
        output=output,
        failed=span.failed,
        error_type=span.error_type,
        message=span.message,
    )
