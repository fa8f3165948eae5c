"""Judgements: written by CreateEvaluation, or by a view from the log events that carry them."""

from collections.abc import Sequence
from typing import Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.spans import OF_TRACE
from agent_tracer.server.domain.ids import OtelTraceId, SpanId, TenantId, TraceId
from agent_tracer.server.domain.telemetry import Evaluation

_READ: Final = f"""
SELECT evaluation_id, span_id, name, score, label, explanation, annotator, toUnixTimestamp64Nano(create_time)
FROM evaluations FINAL WHERE {OF_TRACE} ORDER BY create_time, evaluation_id
"""

_IS_THERE: Final = f"SELECT 1 FROM traces WHERE {OF_TRACE} LIMIT 1"
_WRITE: Final = """
INSERT INTO evaluations SELECT {tenant:String}, now64(9, 'UTC'), toFixedString(unhex({trace:String}), 16),
  {id:String}, unhex({span:String}), {name:String}, {score:Nullable(Float64)}, {label:String}, {explanation:String},
  {annotator:String}, fromUnixTimestamp64Nano({created:Int64}, 'UTC')
"""


async def read_evaluations(
    engine: Engine, tenant: TenantId, trace_id: OtelTraceId, name: TraceId
) -> Sequence[Evaluation]:
    """The judgements of a trace, oldest first; `name` is the trace's id as its caller wrote it."""
    rows = await engine.rows(_READ, {"tenant": tenant, "trace": trace_id.hex()})
    return [
        Evaluation(
            evaluation_id=evaluation_id.decode(),
            trace_id=name,
            span_id=SpanId(span_id) if span_id else None,
            name=called.decode(),
            score=score,
            label=label.decode(),
            explanation=explanation.decode(),
            annotator=annotator.decode(),
            create_time_ns=created_ns,
        )
        for evaluation_id, span_id, called, score, label, explanation, annotator, created_ns in rows
    ]


async def write_evaluation(engine: Engine, tenant: TenantId, trace_id: OtelTraceId, evaluation: Evaluation) -> bool:
    """Keep it, in place of one of the same id; False where the trace is not there.

    On the thread that removes traces: a judgement of one that is deleted meanwhile goes with it, or is not kept.
    """
    parameters = {
        "tenant": tenant,
        "trace": trace_id.hex(),
        "id": evaluation.evaluation_id,
        "span": evaluation.span_id.hex() if evaluation.span_id else "",
        "name": evaluation.name,
        "score": evaluation.score,
        "label": evaluation.label,
        "explanation": evaluation.explanation,
        "annotator": evaluation.annotator,
        "created": evaluation.create_time_ns,
    }

    def write(client: Client) -> bool:
        is_there = bool(client.query(_IS_THERE, parameters).result_rows)
        if is_there:
            client.command(_WRITE, parameters=parameters)
        return is_there

    return await engine.write(write)
