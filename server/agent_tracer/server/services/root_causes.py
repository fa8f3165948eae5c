"""Use case: what caused an incident."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.checks import NS, check_id
from agent_tracer.server.domain.errors import IncidentNotFoundError, TooLargeError, Violations
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId, otel_trace_id
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.periods import PeriodError, period_seconds
from agent_tracer.server.domain.rca import view as rca
from agent_tracer.server.domain.rca.analysis import Analysis, analyze
from agent_tracer.server.domain.rca.graph import call_graph
from agent_tracer.server.domain.rca.onset import Cut, onset
from agent_tracer.server.domain.rca.subject import component_of, known_as, metric_of, signals, text_of
from agent_tracer.server.domain.rca.windows import Frame, frame, free, going_on, spacing
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.incidents import IncidentStore
from agent_tracer.server.ports.span_failures import SpanFailures
from agent_tracer.server.ports.store import AggregateQuery, TraceReader
from agent_tracer.server.ports.telemetry_window import Calls, Found, SeriesPlan, TelemetryWindow
from agent_tracer.server.services.baselines import Baseline, Baselines
from agent_tracer.server.services.incident_graph import IncidentGraph
from agent_tracer.server.services.settled_reads import BEHIND, is_behind

WINDOW_DEFAULT: Final = "1h"
DEPTH_DEFAULT: Final = 3
_ROOTS_LOOKED_AT: Final = 3
"""Of the incident's traces, where it names no service."""

_BUCKETS_BELOW_MIN: Final = 2
"""For as many before the alert a called service is outside its range, where the incident is taken to begin with it."""


@dataclass(frozen=True, slots=True)
class RootCauseRequest:
    """As the caller wrote it. `time_window`: before the incident's start; depth 0: the default."""

    incident_id: str
    time_window: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Telemetry:
    metrics: Found[rca.MetricSeries]
    logs: Found[rca.LogSeries]
    failures: Found[rca.LogSeries]
    services: Found[rca.ServiceSeries]
    edges: Found[rca.EdgeSeries]
    changes: Sequence[rca.Change]

    def components(self) -> set[str]:
        named = {edge.caller for edge in self.edges.series} | {edge.callee for edge in self.edges.series}
        for group in (self.metrics, self.logs, self.failures, self.services):
            named.update(each.component for each in group.series)
        return named

    def caveats(self) -> list[str]:
        groups = (self.metrics, self.logs, self.failures, self.services, self.edges)
        return [caveat for group in groups for caveat in group.caveats]


class RootCauses:
    """Raises InvalidFieldsError, IncidentNotFoundError, TooLargeError, and what the ports raise."""

    def __init__(  # noqa: PLR0913 - what it needs is named
        self,
        *,
        telemetry: TelemetryWindow,
        failures: SpanFailures,
        incidents: IncidentStore,
        reader: TraceReader,
        graph: IncidentGraph,
        catch_up: Callable[[], Awaitable[object]],
        clock_ns: Callable[[], int],
    ) -> None:
        self._telemetry = telemetry
        self._failures = failures
        self._incidents = incidents
        self._reader = reader
        self._graph = graph
        self._catch_up = catch_up
        self._clock_ns = clock_ns
        self._baselines = Baselines(telemetry)

    async def analyze(self, tenant: TenantId, request: RootCauseRequest) -> Analysis:
        """The cause with its evidence, or why none is named. Deterministic: the same data give the same answer."""
        window_ns, depth = _checked(request)
        incident = await self._incidents.incident(tenant, request.incident_id)
        if incident is None:
            raise IncidentNotFoundError(request.incident_id)
        behind = await is_behind(self._catch_up, limits.RCA_WAIT_SECONDS_MAX)
        place, taken, baseline = await self._times(tenant, incident, window_ns)
        plan = SeriesPlan(rca.Window(baseline.starts_ns, place.width_ns), rca.Window(place.buckets, place.width_ns))
        found = await self._read(tenant, plan)
        component, doubts = await self._component(tenant, incident, place, found.components())
        view = await asyncio.to_thread(_view, incident, component, found, plan, place, taken, depth)
        analysis = await asyncio.to_thread(analyze, view, depth)
        late = [BEHIND] if behind else []
        caveats = [*late, *doubts, *baseline.caveats, *found.caveats(), *analysis.caveats]
        await self._graph.note(tenant, incident, analysis.root_cause)
        return replace(analysis, caveats=list(dict.fromkeys(caveats)))

    async def _times(
        self, tenant: TenantId, incident: Incident, window_ns: int
    ) -> tuple[Frame, list[TimeRange], Baseline]:
        """Which buckets the incident has, what other incidents take, and what there is to compare with."""
        now_ns = self._clock_ns()
        first = frame(incident.start_ns, incident.end_ns, now_ns, window_ns)
        longest_ns = max(first.end_ns, min(now_ns, first.start_ns + limits.RCA_INCIDENT_SECONDS_MAX * NS))
        seen = await self._telemetry.observed(tenant, TimeRange(first.window.start_ns, longest_ns), first.width_ns)
        place = frame(incident.start_ns, incident.end_ns, now_ns, window_ns, spacing(seen.metrics))
        reach_ns = limits.RCA_BASELINE_REACH_SECONDS * NS
        others = await self._incidents.overlapping(
            tenant, TimeRange(place.window.start_ns - reach_ns, place.end_ns + reach_ns)
        )
        taken = [
            going_on(other.start_ns, other.end_ns, place.width_ns)
            for other in others
            if other.incident_id != incident.incident_id
        ]
        return place, taken, await self._baselines.choose(tenant, place, seen, taken, now_ns)

    async def _read(self, tenant: TenantId, plan: SeriesPlan) -> _Telemetry:
        until_ns = plan.during.starts_ns[-1] + plan.during.width_ns
        since_ns = plan.during.starts_ns[0] - limits.RCA_CHANGES_SECONDS * NS

        async def of_calls() -> tuple[Calls, Found[rca.LogSeries]]:
            calls = await self._telemetry.calls(tenant, plan)
            has_errors = _has_errors(calls.services)
            return calls, await self._failures.failures(tenant, plan) if has_errors else Found(())

        async def of_records() -> tuple[Found[rca.LogSeries], Sequence[rca.Change]]:
            logs = await self._telemetry.logs(tenant, plan)
            return logs, await self._telemetry.changes(tenant, TimeRange(since_ns, until_ns))

        # Few at a time: one analysis does not take all the connections that other callers read by.
        try:
            (calls, failures), (logs, changes), metrics = await asyncio.gather(
                of_calls(), of_records(), self._telemetry.metrics(tenant, plan)
            )
        except ValueError as error:
            raise TooLargeError(f"{error}: narrow time_window") from None
        return _Telemetry(metrics, logs, failures, calls.services, calls.edges, changes)

    async def _component(
        self, tenant: TenantId, incident: Incident, place: Frame, components: Collection[str]
    ) -> tuple[str, list[str]]:
        """What alerts, and what is to be said of it.

        As the incident names it, of an agent the service; else the service that the first of its traces begins in.
        """
        named = component_of(incident)
        for trace_id in () if named else incident.trace_ids[:_ROOTS_LOOKED_AT]:
            named = named or await self._root_service(tenant, otel_trace_id(TraceId(trace_id)))
        if not named:
            return "", ["the incident names no service: every component was looked at alike"]
        component = known_as(named, components)
        if component in components:
            return component, []
        services = await self._agents_services(tenant, named, TimeRange(place.window.start_ns, place.end_ns))
        if known := [service for service in services if service in components]:
            return known[0], []
        if services:
            return named, [f"the spans of the alerting agent {named!r} name no service: what it calls is not known"]
        why = f"nothing of the alerting service {named!r} was received: is it named as its telemetry names it?"
        return named, [why]

    async def _agents_services(self, tenant: TenantId, agent_id: str, time_range: TimeRange) -> list[str]:
        """In which it had tasks, the most first; empty where there is no such agent."""
        rows = await self._reader.aggregate(tenant, AggregateQuery(("service",), time_range, None, agent_id=agent_id))
        return [row.group["service"] for row in rows]

    async def _root_service(self, tenant: TenantId, trace_id: OtelTraceId) -> str:
        spans = await self._reader.outline(tenant, trace_id, limit=limits.TRACE_ROOT_SPANS_MAX)
        root = next((span for span in spans if span.parent_id is None), spans[0] if spans else None)
        if root is None:
            return ""
        return next((span.service for span in await self._reader.spans(tenant, trace_id, [root.span_id])), "")


def _has_errors(services: Found[rca.ServiceSeries]) -> bool:
    return any(count > 0 for each in services.series for count in (*each.errors.before, *each.errors.during))


def _checked(request: RootCauseRequest) -> tuple[int, int]:
    """The window in nanoseconds, and the depth."""
    found = Violations()
    check_id(found, "incident_id", request.incident_id)
    seconds = period_seconds(WINDOW_DEFAULT)
    try:
        seconds = period_seconds(request.time_window or WINDOW_DEFAULT)
    except PeriodError as error:
        found.add("time_window", str(error))
    if not limits.RCA_WINDOW_SECONDS_MIN <= seconds <= limits.RCA_WINDOW_SECONDS_MAX:
        days = limits.RCA_WINDOW_SECONDS_MAX // 86_400
        found.add("time_window", f"must be from {limits.RCA_WINDOW_SECONDS_MIN}s to {days}d")
    if not 0 <= request.depth <= limits.RCA_DEPTH_MAX:
        found.add("depth", f"must be from 1 to {limits.RCA_DEPTH_MAX}, or 0 for {DEPTH_DEFAULT}")
    found.raise_any()
    return seconds * NS, request.depth or DEPTH_DEFAULT


def _view(  # noqa: PLR0913, PLR0917 - all that a view is made of
    incident: Incident,
    component: str,
    found: _Telemetry,
    plan: SeriesPlan,
    place: Frame,
    taken: Sequence[TimeRange],
    depth: int,
) -> rca.IncidentView:
    """The telemetry cut at the incident's onset. Raises TooLargeError."""
    metric = metric_of(incident, component, found.metrics.series)
    shown = signals(component, metric, found.metrics.series, found.services.series)
    starts, width = plan.during.starts_ns, plan.during.width_ns
    sound = set(free(starts, width, taken))
    began = onset(shown, starts, place.start_ns)
    if began == place.start_ns:
        began = _onset_below(component, found, starts, place, depth)
    usual = [at for at, start in enumerate(starts) if start < began and start in sound]
    during = [at for at, start in enumerate(starts) if start >= began and (start in sound or start >= place.start_ns)]
    cut = Cut(usual, during)
    try:
        return rca.IncidentView(
            rca.Incident(component, metric, place.start_ns, text_of(incident)),
            rca.Window([*plan.before.starts_ns, *(starts[at] for at in usual)], width),
            rca.Window([starts[at] for at in during], width),
            metrics=[cut.metric(each) for each in found.metrics.series],
            logs=[cut.log(each) for each in (*found.logs.series, *found.failures.series)],
            services=[cut.service(each) for each in found.services.series],
            edges=[cut.edge(each) for each in found.edges.series],
            changes=found.changes,
        )
    except ValueError as error:
        raise TooLargeError(f"{error}: see time_window") from None


def _onset_below(component: str, found: _Telemetry, starts: Sequence[int], place: Frame, depth: int) -> int:
    """By the services that the alerting one calls: who only waits shows nothing of its own.

    Of so many signals one is always outside for a minute: it counts where it was for `_BUCKETS_BELOW_MIN` without a gap
    and still is when the incident starts.
    """
    near = call_graph(found.edges.series).reached(component, depth).keys()
    called = [each for each in found.services.series if each.component in near - {component}]
    series = [one for each in called for one in signals(each.component, "", (), (each,))]
    series += [edge.gap_ms for edge in found.edges.series if {edge.caller, edge.callee} <= near]
    began = onset(series, starts, place.start_ns + place.width_ns, silent_max=0)
    return began if place.start_ns - began >= _BUCKETS_BELOW_MIN * place.width_ns else place.start_ns
