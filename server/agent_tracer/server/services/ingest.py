"""Taking telemetry in: checked, journaled, counted."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.errors import RefusedError
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.otlp_validation import (
    MalformedRequestError,
    Reason,
    TooManyItemsError,
    validate,
)
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Journal, JournalClosedError, JournalFullError, Position
from agent_tracer.server.ports.server_metrics import IngestMetrics
from agent_tracer.server.services.waiting_requests import WaitingRequests

__all__ = ["REJECT_REASONS", "ExportOutcome", "Ingest", "MalformedRequestError", "TooManyItemsError"]

_JOURNAL_FULL: Final = "journal_full"
_STOPPING: Final = "stopping"
_FAULT: Final = "fault"
_REFUSALS: Final = {JournalFullError: _JOURNAL_FULL, JournalClosedError: _STOPPING}

REJECT_REASONS: Final[Sequence[str]] = (*Reason, _JOURNAL_FULL, _STOPPING, _FAULT)
"""Every reason that IngestMetrics.rejected is told."""


@dataclass(frozen=True, slots=True)
class ExportOutcome:
    """How many items are durable now and how many were refused; `message` says why, or what was changed."""

    accepted: int
    rejected: int
    message: str


class Ingest:
    """The one road by which telemetry gets into the journal. `clock_ns` gives the UTC time in nanoseconds."""

    def __init__(
        self, journal: Journal, clock_ns: Callable[[], int], metrics: IngestMetrics, waiting: WaitingRequests
    ) -> None:
        """`waiting` is told of every request with spans before it is acknowledged."""
        self._journal = journal
        self._clock_ns = clock_ns
        self._metrics = metrics
        self._waiting = waiting
        self._under_way: set[asyncio.Task[Position]] = set()

    async def export(self, signal: Signal, tenant: TenantId, payload: bytes) -> ExportOutcome:
        """Keep what is sound of an OTLP export request. Returns once that is durable.

        Raises MalformedRequestError, TooLargeError (TooManyItemsError too), JournalFullError,
        JournalClosedError; then nothing of the request was kept. Cancelling does not stop what was begun.
        """
        received_ns = self._clock_ns()
        try:
            verdict = validate(signal, payload, received_ns)
        except RefusedError:
            self._metrics.malformed(signal)
            raise
        self._metrics.received(signal, verdict.kept + verdict.rejected_count)
        for reason, count in verdict.rejected.items():
            self._metrics.rejected(signal, reason, count)
        if verdict.payload:
            await self._finished(self._append(signal, tenant, received_ns, verdict.payload, verdict.kept))
        return ExportOutcome(verdict.kept, verdict.rejected_count, verdict.message)

    async def record(self, tenant: TenantId, received_ns: int, payload: bytes) -> Position:
        """Keep one span that the server itself wrote as a request. Returns, once that is durable, the position behind.

        Raises JournalFullError, JournalClosedError. Cancelling does not stop what was begun.
        """
        self._metrics.received(Signal.TRACES, 1)
        return await self._finished(self._append(Signal.TRACES, tenant, received_ns, payload, 1))

    async def _finished(self, storing: Coroutine[None, None, Position]) -> Position:
        """Shielded: the journal may store a record whose caller has gone, and then it counts as accepted."""
        task = asyncio.create_task(storing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _append(self, signal: Signal, tenant: TenantId, received_ns: int, payload: bytes, items: int) -> Position:
        try:
            end = await self._journal.append(signal, tenant, received_ns, payload)
        except BaseException as error:
            self._metrics.rejected(signal, _REFUSALS.get(type(error), _FAULT), items)
            raise
        self._metrics.accepted(signal, items)
        if signal is Signal.TRACES:
            self._waiting.add(tenant, end, payload)
        return end
