"""What similarity asks of the store: traces as outlines, and which have come."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_tracer.server.domain.atlas.embedding import TraceOutline
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.telemetry import Trace
from agent_tracer.server.ports.settling import ReceivedRange


@dataclass(frozen=True, slots=True)
class OutlinedTrace:
    """A trace's summary and outline. `received_ns`: when the last of it was received."""

    trace: Trace
    received_ns: int
    outline: TraceOutline


@dataclass(frozen=True, slots=True)
class ReceivedTraces:
    """Tenant and id of traces of which something was received, and when the last of that, latest first.

    They are all that something was received of at `from_ns` or later.
    """

    traces: Sequence[tuple[TenantId, OtelTraceId, int]]
    from_ns: int


class OutlineReader(Protocol):
    """Sees what the loader has committed. Raises StoreDownError, QueryTimeoutError, TooMuchDataError."""

    async def received(self, received: ReceivedRange, *, limit: int) -> ReceivedTraces:
        """The latest traces of all tenants received in the range, about `limit`: more where many came at one time.

        `from_ns` of the answer is the start of the range where these are all.
        """
        ...

    async def outlines(self, tenant: TenantId, trace_ids: Sequence[OtelTraceId]) -> Sequence[OutlinedTrace]:
        """Those that are stored, in any order. Bounded by OUTLINE_SPANS_MAX and OUTLINE_TEXT_MAX."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What is left to do: these ranges, and everything received from a little before `reached_ns` on.

    `maker`: what made it (an embedder, a version of signatures); what another one made is made anew.
    """

    maker: str
    reached_ns: int
    left: Sequence[ReceivedRange]


class ProgressKeeper(Protocol):
    """Keeps how far a task has come that goes over all traces."""

    def load(self) -> Progress | None:
        """What was saved last, over restarts; None before the first time, and where it cannot be read."""
        ...

    def save(self, progress: Progress) -> None:
        """Durable on return. Raises OSError."""
        ...
