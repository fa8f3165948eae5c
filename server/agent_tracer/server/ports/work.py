"""What ATLAS asks of the store about how work went. Times are UTC nanoseconds; every call is of one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_tracer.server.domain.atlas.workflow import WorkSpan
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import TimeRange


@dataclass(frozen=True, slots=True)
class WorkflowTraces:
    """The spans of a workflow's traces, newest trace first. `left_out`: traces of the range that are not among them."""

    traces: Sequence[Sequence[WorkSpan]]
    left_out: int


class WorkReader(Protocol):
    """Sees what the loader has committed. Raises StoreDownError, QueryTimeoutError and TooMuchDataError."""

    async def trace_work(self, tenant: TenantId, trace_id: OtelTraceId, *, limit: int) -> Sequence[WorkSpan]:
        """A trace's spans in order of start, at most `limit`; empty where none is stored."""
        ...

    async def workflow_work(self, tenant: TenantId, workflow_id: str, time_range: TimeRange) -> WorkflowTraces:
        """The latest finished traces of a workflow that began in the range.

        WORKFLOW_TRACES_MAX of them at most, and as many as have WORKFLOW_SPANS_MAX spans together; larger ones are left
        out. Inputs and outputs of over WORK_TEXT_BYTES_MAX bytes come empty; `input_hash` is there for them too.
        """
        ...

    async def is_workflow(self, tenant: TenantId, workflow_id: str) -> bool:
        """Whether a trace of the workflow is stored, of whatever time."""
        ...
