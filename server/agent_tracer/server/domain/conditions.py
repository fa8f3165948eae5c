"""What lists and aggregates ask for: as callers write it, and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent_tracer.server.domain.checks import NS, check_choice, check_length, check_number, check_time
from agent_tracer.server.domain.errors import Violations
from agent_tracer.server.domain.periods import PeriodError, period_seconds
from agent_tracer.server.domain.telemetry import TimeRange, TraceFilter, TraceStatus
from agent_tracer.server.limits import (
    AGGREGATE_BUCKETS_MAX,
    ATTRIBUTE_FILTERS_MAX,
    TEXT_LENGTH_MAX,
    TIMESTAMP_AHEAD_SECONDS,
    TIMESTAMP_MIN_SECONDS,
)

GROUP_BY: Final = (
    "agent_id",
    "operation",
    "status",
    "service",
    "model",
    "provider",
    "tool_name",
    "task_type",
    "workflow_id",
)
"""What AggregateTraces groups by."""

STATUSES: Final = tuple(str(status) for status in TraceStatus)
AGGREGATE_PERIOD_DEFAULT: Final = "24h"

_EARLIEST_NS: Final = TIMESTAMP_MIN_SECONDS * NS
_LATEST_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A period back from now, or a start or an end or both; nothing given is no window."""

    period: str = ""
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class TraceConditions:
    """The filters of ListTraces as the caller wrote them; durations in ms, cost in US dollars."""

    agent_id: str = ""
    status: str = ""
    operation: str = ""
    workflow_id: str = ""
    session_id: str = ""
    service: str = ""
    model: str = ""
    window: TimeWindow = field(default_factory=TimeWindow)
    min_duration_ms: float | None = None
    min_cost: float | None = None
    text: str = ""
    attributes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AggregateConditions:
    """What AggregateTraces asks for, as the caller wrote it. An empty interval is one bucket."""

    group_by: Sequence[str] = ()
    window: TimeWindow = field(default_factory=TimeWindow)
    interval: str = ""
    agent_id: str = ""
    service: str = ""


_TEXT_FIELDS: Final = ("agent_id", "operation", "workflow_id", "session_id", "service", "model", "text")


def trace_filter(conditions: TraceConditions, now_ns: int) -> TraceFilter:
    """The checked filter. Raises InvalidFieldsError with every wrong field."""
    found = Violations()
    for name in _TEXT_FIELDS:
        check_length(found, name, getattr(conditions, name), TEXT_LENGTH_MAX)
    check_choice(found, "status", conditions.status, STATUSES)
    check_number(found, "min_duration", conditions.min_duration_ms)
    check_number(found, "min_cost", conditions.min_cost)
    time_range = _time_range(found, conditions.window, now_ns)
    attributes = _attributes(found, conditions.attributes)
    found.raise_any()
    return TraceFilter(
        agent_id=conditions.agent_id,
        status=conditions.status,
        operation=conditions.operation,
        workflow_id=conditions.workflow_id,
        session_id=conditions.session_id,
        service=conditions.service,
        model=conditions.model,
        time_range=time_range,
        min_duration_ms=conditions.min_duration_ms,
        min_cost=conditions.min_cost,
        text=conditions.text,
        attributes=attributes,
    )


def everything_until(now_ns: int) -> TimeRange:
    """All times that the server takes."""
    return TimeRange(_EARLIEST_NS, _latest(now_ns))


def period_range(period: str, now_ns: int) -> TimeRange:
    """The period back from now, everything where it is empty. Raises InvalidFieldsError on `period`."""
    found = Violations()
    time_range = _time_range(found, TimeWindow(period), now_ns)
    found.raise_any()
    return time_range or everything_until(now_ns)


def analysis_range(found: Violations, period: str, default: str, end_ns: int | None, now_ns: int) -> TimeRange:
    """The period back from `end_ns`, or from now where it is None; `default` where the period is empty."""
    seconds = _period(found, "period", period) or period_seconds(default)
    if end_ns is None:
        return _clamped(now_ns - seconds * NS, _latest(now_ns))
    check_time(found, "end_time", end_ns, now_ns)
    return _clamped(end_ns - seconds * NS, end_ns)


def aggregate_range(found: Violations, window: TimeWindow, now_ns: int) -> TimeRange:
    """The window, or the last 24 hours where it says nothing."""
    given = _time_range(found, window, now_ns)
    return given or TimeRange(now_ns - period_seconds(AGGREGATE_PERIOD_DEFAULT) * NS, _latest(now_ns))


def aggregate_interval(found: Violations, interval: str, time_range: TimeRange) -> int | None:
    """Seconds of a bucket; None for one bucket over the whole range."""
    seconds = _period(found, "interval", interval)
    if seconds is None:
        return None
    if (time_range.end_ns - time_range.start_ns) // (seconds * NS) >= AGGREGATE_BUCKETS_MAX:
        found.add("interval", f"makes more than {AGGREGATE_BUCKETS_MAX} buckets: widen it or shorten the period")
    return seconds


def check_group_by(found: Violations, names: Sequence[str]) -> None:
    """Known names, each once."""
    for index, name in enumerate(names):
        if name not in GROUP_BY:
            found.add(f"group_by[{index}]", f"must be one of {', '.join(GROUP_BY)}")
    if len(set(names)) < len(names):
        found.add("group_by", "must not name anything twice")


def _time_range(found: Violations, window: TimeWindow, now_ns: int) -> TimeRange | None:
    start_ns, end_ns = window.start_ns, window.end_ns
    seconds = _period(found, "period", window.period)
    if window.period and (start_ns is not None or end_ns is not None):
        found.add("period", "must not be given together with start_time or end_time")
    elif seconds is not None:
        return _clamped(now_ns - seconds * NS, _latest(now_ns))
    elif start_ns is not None or end_ns is not None:
        return _between(found, start_ns, _latest(now_ns) if end_ns is None else end_ns)
    return None


def _between(found: Violations, start_ns: int | None, end_ns: int) -> TimeRange:
    time_range = _clamped(_EARLIEST_NS if start_ns is None else start_ns, end_ns)
    if time_range.start_ns >= time_range.end_ns:
        found.add("end_time", "must be later than start_time")
    return time_range


def _clamped(start_ns: int, end_ns: int) -> TimeRange:
    """To times that 64 bits hold, as the store does."""
    return TimeRange(min(max(start_ns, 0), _LATEST_NS), min(max(end_ns, 0), _LATEST_NS))


def _latest(now_ns: int) -> int:
    """The end of "until now", which leaves out no time that the server takes from clocks ahead of its own."""
    return now_ns + TIMESTAMP_AHEAD_SECONDS * NS + 1


def _period(found: Violations, name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return period_seconds(text)
    except PeriodError as error:
        found.add(name, str(error))
        return None


def _attributes(found: Violations, conditions: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if len(conditions) > ATTRIBUTE_FILTERS_MAX:
        found.add("attributes", f"must be at most {ATTRIBUTE_FILTERS_MAX} conditions")
        return ()
    pairs = []
    for index, condition in enumerate(conditions):
        key, equals, value = condition.partition("=")
        if not key or not equals or len(condition) > TEXT_LENGTH_MAX:
            found.add(f"attributes[{index}]", f"must be key=value, at most {TEXT_LENGTH_MAX} characters long")
        pairs.append((key, value))
    return tuple(pairs)
