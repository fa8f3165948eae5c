"""What the telemetry says about an incident: the input of a root cause analysis, as aggregates of a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_tracer.server import limits

ERROR_SEVERITY: Final = 17
"""OpenTelemetry's severity number from which a log record tells of an error."""

WARNING_SEVERITY: Final = 13


@dataclass(frozen=True, slots=True)
class Window:
    """Starts of the buckets, in order, Unix nanoseconds. Buckets need not be contiguous (yesterday's same hour)."""

    starts_ns: Sequence[int]
    width_ns: int


@dataclass(frozen=True, slots=True)
class Series:
    """A value per bucket of the view's two windows; NaN where nothing was observed."""

    before: Sequence[float]
    during: Sequence[float]


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """A metric of a component: mean, or rate, per bucket."""

    component: str
    name: str
    values: Series


@dataclass(frozen=True, slots=True)
class LogSeries:
    """Records per bucket of one template (or code location) that one component wrote. `severity`: OTLP number.

    `is_of_spans`: what failed spans say, which is told as records are, and is none.
    """

    component: str
    template: str
    severity: int
    counts: Series
    is_of_spans: bool = False


@dataclass(frozen=True, slots=True)
class ServiceSeries:
    """Spans of a component per bucket. `own_errors`: failed spans without a failed child. `self_ms`: means."""

    component: str
    calls: Series
    errors: Series
    own_errors: Series
    self_ms: Series


@dataclass(frozen=True, slots=True)
class EdgeSeries:
    """Calls between two components per bucket; `gap_ms`: median of client less server time. NaN where unknown."""

    caller: str
    callee: str
    calls: Series
    errors: Series
    gap_ms: Series


@dataclass(frozen=True, slots=True)
class Change:
    """A commit, deploy, flag or setting. `components`: where it went live, `time_ns`: when (Unix), first of all.

    `text`: title and message; `diff`: unified, empty where unknown; `files`: touched paths.
    """

    change_id: str
    kind: str
    time_ns: int
    components: Sequence[str]
    text: str = ""
    diff: str = ""
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """What some detector outside said of a component. `channel`: metric, log, latency or error.

    `name`: of the metric, template or operation; `direction`: up, down or empty; `peer`: the calling component.
    `usual`: the share of other incidents in which the same was said of the same component, 0 to 1.
    """

    component: str
    channel: str
    name: str
    direction: str = ""
    peer: str = ""
    usual: float = 0.5


@dataclass(frozen=True, slots=True)
class Incident:
    """What was noticed: on which component (empty: unknown), by which metric, since when, in what words."""

    component: str
    metric: str
    start_ns: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class IncidentView:
    """All that an analysis looks at.

    `usual_levels`: the share of other incidents, 0 to 1, in which a component's alarms amounted to at least as much, by
    feature (`alarm_standing.GROUPS`) and component; empty where no other incidents are known.

    Raises:
        ValueError: more components, series or changes than `limits` allows.
    """

    incident: Incident
    before: Window
    during: Window
    metrics: Sequence[MetricSeries] = ()
    logs: Sequence[LogSeries] = ()
    services: Sequence[ServiceSeries] = ()
    edges: Sequence[EdgeSeries] = ()
    changes: Sequence[Change] = ()
    alarms: Sequence[Alarm] = ()
    usual_levels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Holds the bounds: whoever fills a view must choose what to leave out."""
        bounds = (
            ("components", len(self.components()), limits.RCA_COMPONENTS_MAX),
            ("series", len(self.metrics) + len(self.logs) + len(self.edges), limits.RCA_SERIES_MAX),
            ("changes", len(self.changes), limits.RCA_CHANGES_MAX),
            ("buckets", len(self.before.starts_ns) + len(self.during.starts_ns), limits.RCA_BUCKETS_MAX),
        )
        for what, count, bound in bounds:
            if count > bound:
                raise ValueError(f"{count} {what} in one incident, more than {bound}: narrow its time window")

    def components(self) -> list[str]:
        """Every component that anything is known of, sorted."""
        named = {self.incident.component}
        for group in (self.metrics, self.logs, self.services, self.alarms):
            named.update(part.component for part in group)
        for edge in self.edges:
            named.update((edge.caller, edge.callee))
        named.update(alarm.peer for alarm in self.alarms)
        return sorted(named - {""})
