"""Simulated workflows sent in: does a suggestion's gain come true when the simulator really makes the change?"""

import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.domain.atlas.workflow import WorkSpan
from agent_tracer.server.limits import WORKFLOW_TRACES_MAX
from agent_tracer.v1 import atlas_pb2
from tests.e2e.otlp import Scalar, attribute
from tests.evaluation import atlas_workflows as made
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rows import Row
from tests.evaluation.tasks import BASE_NS, DAY_NS, new_trace_id

RUNS: Final = WORKFLOW_TRACES_MAX
WORKFLOWS: Final = 20
"""Of each kind, drawn anew."""

ERROR_MOST: Final = 0.1
"""Of a gain, relative to the true one."""

PLANTED: Final[Mapping[str, made.Scenario]] = {
    "parallelize": made.fan_out,
    "cache": made.repeating,
    "fewer_retries": made.retrying,
    "smaller_model": made.two_models,
}
"""What would help most, and a workflow that lacks it."""

DONE_ALREADY: Final = ("parallelize", "cache", "fewer_retries")
"""Changes after which nothing is left to be suggested. Of models and contexts there may always be a smaller one."""

WORKERS: Final = (1, 2, 4)
OPERATIONS: Final = {"llm": "chat", "tool": "execute_tool", "agent": "invoke_agent"}
_WORKERS_TOLD: Final = re.compile(r"(\d+) workers in place of")
_TOKENS_TOLD: Final = re.compile(r"to (\d+) tokens")


@dataclass(frozen=True, slots=True)
class Gain:
    """Shares of the mean duration; whether the interval that was told holds the true one."""

    replayed: float
    true: float
    is_held: bool = False

    @property
    def error(self) -> float:
        """Relative to the truth."""
        return self.replayed / self.true - 1


def evaluate(options: Options) -> Iterator[Row]:
    """Each planted change by itself, then workflows that need none."""
    firsts = [number * 1_000 for number in range(WORKFLOWS * options.seeds)]
    with product(options.folder) as server:
        for change, scenario in PLANTED.items():
            gains = [
                _gain(_suggested(server, scenario, change, first), made.true_gain(scenario, RUNS, first))
                for first in firsts
            ]
            yield _row(change, gains)
        yield _row("trim_context", [_trimmed(server, first) for first in firsts])
        for workers in WORKERS:
            yield _row(f"scale_out from {workers}", [_scaled_out(server, workers, first) for first in firsts])
        yield _done_already(server, firsts[: len(firsts) // 4])


def _scaled_out(server: Product, workers: int, first: int) -> Gain:
    """The truth is that of as many workers as the suggestion names."""
    found = _suggested(server, made.queueing(workers, workers), "scale_out", first)
    return _made(found, _WORKERS_TOLD, lambda wanted: made.true_gain(made.queueing(workers, wanted), RUNS, first))


def _trimmed(server: Product, first: int) -> Gain:
    """The truth is that of as many tokens as the suggestion names."""
    found = _suggested(server, made.growing_prompts, "trim_context", first)
    return _made(found, _TOKENS_TOLD, lambda kept: made.true_gain(made.growing_prompts_to(kept), RUNS, first))


def _made(found: atlas_pb2.Suggestion, told: re.Pattern[str], truth: Callable[[int], float]) -> Gain:
    """The suggestion against what its own number does; nothing against everything where it was not made."""
    number = told.search(found.text)
    return _gain(found, truth(int(number[1]))) if number else Gain(0.0, 1.0)


def _gain(found: atlas_pb2.Suggestion, true: float) -> Gain:
    return Gain(found.estimated_improvement, true, found.lower <= true <= found.upper)


def _row(change: str, gains: list[Gain]) -> Row:
    worst = max((gain.error for gain in gains), key=abs)
    replayed, true = (statistics.fmean(getattr(gain, name) for gain in gains) for name in ("replayed", "true"))
    near = sum(abs(gain.error) <= ERROR_MOST for gain in gains)
    held = sum(gain.is_held for gain in gains)
    measured = (
        f"{replayed:.1%} for {true:.1%}; {near} within {ERROR_MOST:.0%}, worst {worst:+.1%}; {held} intervals hold it"
    )
    return Row(f"workflows: gain of {change}", measured, f"all within {ERROR_MOST:.0%}", near == len(gains), len(gains))


def _done_already(server: Product, firsts: list[int]) -> Row:
    counts = [
        len(_optimized(server, PLANTED[change](RUNS, True, first)).suggestions)
        for change in DONE_ALREADY
        for first in firsts
    ]
    name = "workflows: suggestions where the change was made already"
    return Row(name, str(sum(counts)), "0", not any(counts), len(counts))


def _suggested(server: Product, scenario: made.Scenario, change: str, first: int) -> atlas_pb2.Suggestion:
    """The suggestion of the planted change; one without a gain where it was not made."""
    found = _optimized(server, scenario(RUNS, False, first))
    return next((one for one in found.suggestions if one.change == change), atlas_pb2.Suggestion())


def _optimized(server: Product, runs: list[made.Run]) -> atlas_pb2.WorkflowOptimization:
    workflow_id = f"workflow-{new_trace_id().hex()[-8:]}"
    server.send(span for run in runs for span in otlp_of(run, workflow_id))
    request = atlas_pb2.OptimizeWorkflowRequest(
        workflow_id=workflow_id, period="365d", end_time=timestamp(BASE_NS + 365 * DAY_NS)
    )
    found = server.atlas.OptimizeWorkflow(request, timeout=CALL_SECONDS)
    assert found.trace_count == len(runs)
    return found


def otlp_of(run: made.Run, workflow_id: str) -> list[Span]:
    """A run as a trace. The simulator's clock begins at BASE_NS."""
    trace_id = new_trace_id()
    return [
        Span(
            trace_id=trace_id,
            span_id=span.span_id,
            parent_span_id=span.parent_id or b"",
            name=span.name,
            start_time_unix_nano=BASE_NS + span.start_ns,
            end_time_unix_nano=BASE_NS + span.end_ns,
            attributes=[attribute(key, value) for key, value in _attributes(span, workflow_id).items()],
            status=Status(code=Status.STATUS_CODE_ERROR if span.failed else Status.STATUS_CODE_OK),
        )
        for span in run
    ]


def _attributes(span: WorkSpan, workflow_id: str) -> dict[str, Scalar]:
    named: dict[str, Scalar] = {
        "gen_ai.operation.name": OPERATIONS[span.kind],
        "workflow.id": "" if span.parent_id else workflow_id,
        "gen_ai.agent.id": "" if span.parent_id else "planner",
        "gen_ai.request.model": span.model,
        "gen_ai.usage.input_tokens": span.input_tokens,
        "gen_ai.usage.output_tokens": span.output_tokens,
        "input.value": span.input,
        "output.value": span.output,
    }
    cost: dict[str, Scalar] = {} if span.cost is None else {"gen_ai.usage.cost": span.cost}
    return {key: value for key, value in named.items() if value} | cost
