"""What correlation and root cause ask of the store: telemetry of some time as series. Every call is of one tenant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Change, EdgeSeries, LogSeries, MetricSeries, ServiceSeries, Window
from agent_tracer.server.domain.telemetry import TimeRange

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """The buckets that series are wanted for.

    All are `before.width_ns` (= `during.width_ns`) long and start at a whole number of widths from each other;
    `before` need not be contiguous, nor be before.
    """

    before: Window
    during: Window


@dataclass(frozen=True, slots=True)
class Observed:
    """Starts of the buckets, in order, Unix nanoseconds, in which anything of a signal was received at all."""

    spans: Sequence[int]
    logs: Sequence[int]
    metrics: Sequence[int]


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """Series, and what was left out of them, in words for the caller (a sample was read, the weakest were cut).

    `left_out`: how many series there are beside these, so that a test of many knows of how many.
    """

    series: Sequence[T]
    caveats: Sequence[str] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """Of services, and between them."""

    services: Found[ServiceSeries]
    edges: Found[EdgeSeries]


class TelemetryWindow(Protocol):
    """Telemetry by bucket, component = service.name. Sees what the loader has committed.

    Bounded in time and memory whatever the window holds: of many spans (TELEMETRY_SAMPLE_SPANS_MAX) a sample by
    trace is read where a statistic allows it (own time, gaps), never where it does not (calls and errors); of many
    series the ones that moved most are given; `Found.caveats` says so. A value is NaN where nothing was observed,
    0 only where something of that signal was and none of this series. Spans without a service are left out.
    Raises StoreDownError, QueryTimeoutError, TooMuchDataError, and ValueError where a plan's buckets do not fit.
    """

    async def observed(self, tenant: TenantId, time_range: TimeRange, width_ns: int) -> Observed:
        """Which buckets from `time_range.start_ns` on hold anything; cheap."""
        ...

    async def calls(self, tenant: TenantId, plan: SeriesPlan) -> Calls:
        """Calls and errors of every service, and of every edge between two.

        A service's own errors: failed spans without a failed child. Own time: a span's duration less that of its
        children, at least 0, mean of a bucket, without spans that have a child in another service. Of few spans each
        counts once; of many, one delivered twice may count twice.

        An edge's gap: the median of the caller's span less its callee's. Of many spans its calls are what is settled,
        which is by minute; a minute counts in the bucket in which it begins, and buckets in which none does have no
        counts.
        """
        ...

    async def metrics(self, tenant: TenantId, plan: SeriesPlan) -> Found[MetricSeries]:
        """A series a metric, service and attribute set.

        Gauges are means, monotonic sums rates a second, histograms mean, rate and (where they have buckets) p95,
        named `metric`, `metric.rate`, `metric.p95`. Where a component has several of one metric, what tells them
        apart follows in braces: `metric{key=value}`. Without a service name the component is the workload, pod or
        host. Instances of which none was there in both windows are one series.
        """
        ...

    async def logs(self, tenant: TenantId, plan: SeriesPlan) -> Found[LogSeries]:
        """Records by service, severity and template; change events (see `changes`) are none of them.

        A structured record is its message and its errors. Of many records those below a warning are a sample, scaled.
        """
        ...

    async def changes(self, tenant: TenantId, time_range: TimeRange) -> Sequence[Change]:
        """Commits, deploys, flags and settings told of by log events, by time; one change a revision."""
        ...
