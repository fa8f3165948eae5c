"""What an answer says about itself: what it is held against, what was not there to look at, what was cut."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from agent_tracer.server.domain.checks import NS
from agent_tracer.server.domain.correlation.around import Asked
from agent_tracer.server.domain.correlation.findings import Failure, Subject
from agent_tracer.server.domain.correlation.windows import Windows
from agent_tracer.server.domain.telemetry import TraceStatus
from agent_tracer.server.limits import CORRELATION_LIST_MAX, CORRELATION_TRACE_SECONDS_MAX

NOT_COMPARED: Final = "traces at similar work were not looked for: the index of similar traces does not answer in time"

FAILED_ALIKE: Final = "failed in the same way near in time: {}"
SLOW_ALIKE: Final = "was slow as well, at the same operation near in time"
SIMILAR_WORK: Final = "failed at similar work near in time"
"""Why traces are related."""

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
PAST_NEEDED: Final = 6
"""Lengths of the window that must be known before it to say what is usual (levels.BLOCKS_MIN)."""

_WORDS_CHARACTERS: Final = 80


def windows_told(subject: Subject, when: Windows) -> list[str]:
    """What is compared with what."""
    looked_at = f"{_moment(when.window.start_ns)} to {_moment(when.window.end_ns)} UTC"
    found = [f"looked at {looked_at}, held against the {length(when.past.end_ns - when.past.start_ns)} before"]
    if subject.start_ns < when.window.start_ns:
        found.append(f"the trace is long: only its last {length(CORRELATION_TRACE_SECONDS_MAX * NS)} were looked at")
    if subject.status is TraceStatus.RUNNING:
        found.append("the trace is still running: what it ends with is not known yet")
    if not subject.is_unusual and subject.status is TraceStatus.SUCCESS:
        kind = "not slow for its operation" if subject.usual_ns else "of too few traces of its operation to be slow"
        found.append(f"the trace succeeded and is {kind}: there is no failure to explain")
    return found


def not_asked(asked: Asked) -> list[str]:
    """What the request left out."""
    left_out = [field.name for field in fields(asked) if not getattr(asked, field.name)]
    names = ", ".join(f"include_{name}" for name in left_out)
    return [f"{', '.join(left_out)}: not asked for ({names})"] if left_out else []


def not_there(when: Windows, observed: Mapping[str, Sequence[int]]) -> list[str]:
    """Signals of which nothing came, in the window or in too little of the time before it."""
    found = []
    window, enough = set(when.during.starts_ns), PAST_NEEDED * len(when.during.starts_ns)
    for signal, starts in observed.items():
        inside = len(window.intersection(starts))
        before = len(set(starts)) - inside
        if not inside:
            found.append(f"no {signal} were received in the window")
        elif before < min(enough, len(when.before.starts_ns)):
            had = f"only {length(before * when.width_ns)}" if before else "nothing"
            found.append(f"{signal}: {had} of the time before has any, so that only large changes can be told")
    return found


def too_many(counts: Mapping[str, int]) -> list[str]:
    """Lists that are longer than is shown."""
    return [
        f"{name}: the first {CORRELATION_LIST_MAX} of {count}"
        for name, count in counts.items()
        if count > CORRELATION_LIST_MAX
    ]


def failure(failed: Failure) -> str:
    """Where and as what, in a few words."""
    kind = failed.error_type or failed.name
    return f"{failed.component} {kind}".strip()[:_WORDS_CHARACTERS]


def length(nanoseconds: int) -> str:
    """`2 h`, `90 min`, `1.5 d`: in the largest unit of which it is one at least."""
    seconds = nanoseconds / NS
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / NS, UTC).strftime("%Y-%m-%d %H:%M")
