"""What is asked for, and everything that is read to answer it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_tracer.server.domain.correlation.findings import Began, RelatedLog, Tie
from agent_tracer.server.domain.incidents import Incident
from agent_tracer.server.domain.rca.view import Change, LogSeries, MetricSeries, ServiceSeries
from agent_tracer.server.domain.telemetry import Evaluation


@dataclass(frozen=True, slots=True)
class Asked:
    """Which lists are wanted beside the traces."""

    metrics: bool = False
    logs: bool = False
    events: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """Empty where it was not asked for, or nothing was there.

    `observed`: by signal, the starts of the buckets in which any of it was received; `events_observed_ns`: for how long
    anything was, in the time that events are looked at in. `failing`, `similar`, `slow`: other traces of window and
    past that failed in the same way, failed at similar work, were slow at the same operation.
    """

    observed: Mapping[str, Sequence[int]] = field(default_factory=dict)
    events_observed_ns: int = 0
    services: Sequence[ServiceSeries] = ()
    metrics: Sequence[MetricSeries] = ()
    metrics_left_out: int = 0
    logs: Sequence[LogSeries] = ()
    logs_left_out: int = 0
    own_logs: Sequence[RelatedLog] = ()
    changes: Sequence[Change] = ()
    incidents: Sequence[Incident] = ()
    evaluations: Sequence[Evaluation] = ()
    ties: Sequence[Tie] = ()
    failing: Sequence[Began] = ()
    similar: Sequence[Began] = ()
    slow: Sequence[Began] = ()
    caveats: Sequence[str] = ()
