"""Use case: what belongs with a trace?"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from agent_tracer.server.domain.checks import NS, check_id
from agent_tracer.server.domain.correlation import telling
from agent_tracer.server.domain.correlation.around import Around, Asked
from agent_tracer.server.domain.correlation.findings import (
    Began,
    Hint,
    RelatedEvent,
    RelatedLog,
    RelatedMetric,
    RelatedTrace,
    Subject,
    TieKeys,
)
from agent_tracer.server.domain.correlation.subject import subject_of, ties_of, usual
from agent_tracer.server.domain.correlation.windows import Windows, windows
from agent_tracer.server.domain.errors import TraceNotFoundError, Violations
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.periods import PeriodError, period_seconds
from agent_tracer.server.domain.telemetry import Trace, TraceStatus
from agent_tracer.server.limits import (
    CORRELATION_READS_AT_ONCE,
    CORRELATION_SIMILAR_SECONDS_MAX,
    CORRELATION_WAIT_SECONDS_MAX,
    CORRELATION_WINDOW_SECONDS_MAX,
    SIMILAR_LIMIT_MAX,
)
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.ports.related import RelatedReader
from agent_tracer.server.ports.store import TraceReader
from agent_tracer.server.ports.telemetry_window import Calls, Found, Observed, SeriesPlan, TelemetryWindow
from agent_tracer.server.ports.vectors import EmbedderDownError, VectorsDownError
from agent_tracer.server.services.loaded_reads import LoadedReads
from agent_tracer.server.services.settled_reads import BEHIND, is_behind
from agent_tracer.server.services.similar_traces import SimilarRequest, SimilarTrace

if TYPE_CHECKING:
    from agent_tracer.server.domain.correlation.answer import Related

WINDOW_DEFAULT: Final = "5m"
SIMILARITY_MIN: Final = 0.9
"""Cosine from which on two failed traces are taken to have failed at the same work."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class CorrelationRequest:
    """As the caller wrote it. An empty `time_window` is WINDOW_DEFAULT, either side of the trace."""

    trace_id: str
    include_metrics: bool = False
    include_logs: bool = False
    include_events: bool = False
    time_window: str = ""


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """A related trace as the store knows it."""

    trace_id: TraceId
    status: TraceStatus
    correlation: float
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Correlated:
    """The lists, each the most correlated first, at most CORRELATION_LIST_MAX long."""

    trace: Trace
    traces: Sequence[FoundTrace] = ()
    metrics: Sequence[RelatedMetric] = ()
    logs: Sequence[RelatedLog] = ()
    events: Sequence[RelatedEvent] = ()
    hint: Hint | None = None
    caveats: Sequence[str] = ()


class FindsSimilar(Protocol):
    """SimilarTraces, as far as it is needed here."""

    async def find(self, tenant: TenantId, request: SimilarRequest) -> Sequence[SimilarTrace]:
        """The most similar first."""
        ...


class Correlations:
    """Raises InvalidFieldsError, TraceNotFoundError, and what the ports raise."""

    def __init__(  # noqa: PLR0913 - its collaborators, by name
        self,
        *,
        telemetry: TelemetryWindow,
        reader: TraceReader,
        related: RelatedReader,
        similar: FindsSimilar,
        incidents: IncidentStore,
        loaded: LoadedReads,
        catch_up: Callable[[], Awaitable[object]],
        clock_ns: Callable[[], int],
    ) -> None:
        """`catch_up` waits a moment for what was acknowledged before to be settled."""
        self._telemetry = telemetry
        self._reader = reader
        self._related = related
        self._similar = similar
        self._incidents = incidents
        self._loaded = loaded
        self._catch_up = catch_up
        self._clock_ns = clock_ns

    async def find(self, tenant: TenantId, request: CorrelationRequest) -> Correlated:
        """Everything asked for, each list cut at its false discovery rate; what was not there to see in `caveats`."""
        margin_ns = _margin_ns(request)
        behind = [BEHIND] if await is_behind(self._catch_up, CORRELATION_WAIT_SECONDS_MAX) else []
        key = otel_trace_id(TraceId(request.trace_id))
        trace = await self._loaded.find_whole(tenant, key, lambda: self._reader.trace(tenant, key))
        if trace is None:
            raise TraceNotFoundError(request.trace_id)
        when = windows(trace.start_ns, trace.end_ns, margin_ns, self._clock_ns())
        asked = Asked(request.include_metrics, request.include_logs, request.include_events)
        spans, timed = await _together(
            self._related.anatomy(tenant, key), self._related.durations(tenant, trace, when.all)
        )
        earlier = [duration for began, duration in timed if began.start_ns < when.window.start_ns]
        subject = subject_of(trace, spans, earlier)
        around, (similar, unlike) = await _together(
            self._around(tenant, asked, trace, subject, ties_of(trace, spans), when),
            self._alike(tenant, subject, when),
        )
        slow_ns = usual(earlier)[1]
        slow = [began for began, ns in timed if slow_ns is not None and ns > slow_ns] if subject.is_slow else []
        around = replace(around, similar=similar, slow=slow, caveats=[*behind, *around.caveats, *unlike])
        found = await asyncio.to_thread(_answer, asked, subject, when, around)
        traces = await self._known(tenant, found.traces)
        return Correlated(trace, traces, found.metrics, found.logs, found.events, found.hint, found.caveats)

    async def _around(  # noqa: PLR0913, PLR0917 - what was found out so far
        self, tenant: TenantId, asked: Asked, trace: Trace, subject: Subject, keys: TieKeys, when: Windows
    ) -> Around:
        plan = SeriesPlan(when.before, when.during)
        telemetry, related = self._telemetry, self._related
        observed, seen, calls, metrics, logs, own, changes, incidents, ties, failing = await _together(
            telemetry.observed(tenant, when.all, when.width_ns),
            _if(asked.events, lambda: telemetry.observed(tenant, when.events, when.width_ns), Observed((), (), ())),
            _if(asked.metrics, lambda: telemetry.calls(tenant, plan), Calls(Found(()), Found(()))),
            _if(asked.metrics, lambda: telemetry.metrics(tenant, plan), Found(())),
            _if(asked.logs, lambda: telemetry.logs(tenant, plan), Found(())),
            _if(asked.logs, lambda: related.logs(tenant, keys.key), ()),
            _if(asked.events, lambda: telemetry.changes(tenant, when.events), ()),
            _if(asked.events, lambda: self._incidents.overlapping(tenant, when.events), ()),
            related.ties(tenant, keys, when.past, when.window),
            self._failing(tenant, subject, when),
        )
        return Around(
            observed={"spans": observed.spans, "metrics": observed.metrics, "logs": observed.logs},
            events_observed_ns=len({*seen.spans, *seen.logs, *seen.metrics}) * when.width_ns,
            services=calls.services.series,
            metrics=metrics.series,
            metrics_left_out=metrics.left_out,
            logs=logs.series,
            logs_left_out=logs.left_out,
            own_logs=own,
            changes=changes,
            incidents=incidents,
            evaluations=trace.evaluations,
            ties=ties,
            failing=failing,
            caveats=[*metrics.caveats, *calls.services.caveats, *logs.caveats],
        )

    async def _failing(self, tenant: TenantId, subject: Subject, when: Windows) -> Sequence[Began]:
        if subject.failure is None:
            return ()
        return await self._related.failing(tenant, subject.key, subject.failure, when.all)

    async def _alike(self, tenant: TenantId, subject: Subject, when: Windows) -> tuple[Sequence[Began], Sequence[str]]:
        """Failed traces at similar work, and why they are not known."""
        if subject.failure is None:
            return (), ()
        back = max(1, (self._clock_ns() - when.past.start_ns) // NS + 1)
        asked = SimilarRequest(subject.trace_id, SIMILAR_LIMIT_MAX, TraceStatus.ERROR, f"{back}s")
        try:
            async with asyncio.timeout(CORRELATION_SIMILAR_SECONDS_MAX):
                found = await self._similar.find(tenant, asked)
        except (TimeoutError, VectorsDownError, EmbedderDownError):
            return (), (telling.NOT_COMPARED,)
        except TraceNotFoundError:
            return (), ()
        near = [
            Began(otel_trace_id(one.trace_id), one.start_ns, one.similarity)
            for one in found
            if one.similarity >= SIMILARITY_MIN and one.start_ns < when.window.end_ns
        ]
        return near, ()

    async def _known(self, tenant: TenantId, found: Sequence[RelatedTrace]) -> list[FoundTrace]:
        """With ids and status as of now; without those that were deleted meanwhile."""
        if not found:
            return []
        traces = await self._reader.traces_by_id(tenant, [one.key for one in found])
        by_key: dict[OtelTraceId, Trace] = {trace.otel_trace_id: trace for trace in traces}
        return [
            FoundTrace(by_key[one.key].trace_id, by_key[one.key].status, one.correlation, one.reasons)
            for one in found
            if one.key in by_key
        ]


def _answer(asked: Asked, subject: Subject, when: Windows, around: Around) -> "Related":
    """The arithmetic, off the event loop."""
    from agent_tracer.server.domain.correlation.answer import answer  # noqa: PLC0415 - numpy: start-up time

    return answer(asked, subject, when, around)


def _margin_ns(request: CorrelationRequest) -> int:
    """Raises InvalidFieldsError."""
    found = Violations()
    check_id(found, "trace_id", request.trace_id)
    seconds = 0
    try:
        seconds = period_seconds(request.time_window or WINDOW_DEFAULT)
    except PeriodError as error:
        found.add("time_window", str(error))
    if seconds > CORRELATION_WINDOW_SECONDS_MAX:
        found.add("time_window", f"must be at most {CORRELATION_WINDOW_SECONDS_MAX // 3600}h")
    found.raise_any()
    return seconds * NS


async def _if(wanted: bool, read: Callable[[], Awaitable[Answer]], otherwise: Answer) -> Answer:  # noqa: FBT001
    return await read() if wanted else otherwise


async def _together(*reads: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Some at once; where one fails the others are stopped, and its error is raised as it is."""
    room = asyncio.Semaphore(CORRELATION_READS_AT_ONCE)

    async def in_turn(read: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as the read's
        async with room:
            return await read

    tasks = [asyncio.ensure_future(in_turn(read)) for read in reads]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for read in reads:
            read.close()
