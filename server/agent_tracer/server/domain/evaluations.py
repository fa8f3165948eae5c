"""Evaluations as callers give them, and checked."""

from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.checks import (
    check_choice,
    check_id,
    check_length,
    check_number,
    parse_span_id,
)
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.ids import TraceId
from agent_tracer.server.domain.telemetry import Evaluation
from agent_tracer.server.limits import EVALUATION_TEXT_LENGTH_MAX, ID_LENGTH_MAX

ANNOTATORS: Final = ("human", "code", "llm")


@dataclass(frozen=True, slots=True)
class EvaluationDraft:
    """As the caller wrote it. With an id of the caller's own, the same id again replaces the judgement."""

    name: str
    score: float | None = None
    label: str = ""
    explanation: str = ""
    annotator: str = ""
    span_id: str = ""
    evaluation_id: str = ""
    trace_id: str = ""


def checked_evaluation(trace_id: TraceId, draft: EvaluationDraft, new_id: str, now_ns: int) -> Evaluation:
    """The evaluation to keep; `new_id` where the caller gave none. Raises InvalidFieldsError."""
    found = Violations()
    check_id(found, "trace_id", trace_id)
    check_id(found, "evaluation.name", draft.name)
    check_id(found, "evaluation.evaluation_id", draft.evaluation_id, required=False)
    check_number(found, "evaluation.score", draft.score, most=1)
    check_length(found, "evaluation.label", draft.label, ID_LENGTH_MAX)
    check_length(found, "evaluation.explanation", draft.explanation, EVALUATION_TEXT_LENGTH_MAX)
    check_choice(found, "evaluation.annotator", draft.annotator, ANNOTATORS)
    if draft.trace_id not in ("", trace_id):
        found.add("evaluation.trace_id", "must be left out or be the trace_id of the request")
    span_id = parse_span_id(found, "evaluation.span_id", draft.span_id)
    found.raise_any()
    return Evaluation(
        evaluation_id=draft.evaluation_id or new_id,
        trace_id=trace_id,
        span_id=span_id,
        name=draft.name,
        score=draft.score,
        label=draft.label,
        explanation=draft.explanation,
        annotator=draft.annotator or "human",
        create_time_ns=now_ns,
    )
