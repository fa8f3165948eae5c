"""What an incident is compared with: the time before it, or the nearest time of which there are data."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from agent_tracer.server import limits
from agent_tracer.server.domain.checks import NS
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.windows import (
    BUCKETS_ENOUGH,
    BUCKETS_FEW,
    Frame,
    free,
    nearest,
    stretches,
)
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.telemetry_window import Observed, TelemetryWindow

SIGNALS: Final = tuple(each.name for each in fields(Observed))

_EARLIER: Final = "{signals} were received in {count} buckets of the window only: earlier ones are compared with too"
_LATER: Final = "no {signals} were received before the incident: later ones are compared with"
_SHARED: Final = "no {signals} were received outside other incidents: times of those are compared with"


@dataclass(frozen=True, slots=True)
class Baseline:
    """Starts of the buckets, in order, and what a reader must know of them."""

    starts_ns: Sequence[int]
    caveats: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Reach:
    """Where else to look; `caveat` says what it means to find something there."""

    time_range: TimeRange
    caveat: str
    is_far: bool = False


class Baselines:
    """Raises what the telemetry raises."""

    def __init__(self, telemetry: TelemetryWindow) -> None:
        self._telemetry = telemetry

    async def choose(
        self, tenant: TenantId, place: Frame, seen: Observed, taken: Sequence[TimeRange], now_ns: int
    ) -> Baseline:
        """The window's buckets outside other incidents; of a signal that is rare there, the nearest others as well.

        `seen`: what was observed from the window's start on.
        """
        window = range(place.window.start_ns, place.window.end_ns, place.width_ns)
        chosen = set(free(window, place.width_ns, taken))
        caveats: list[str] = []
        lacking = _lacking(place, seen, chosen)
        looked: list[Observed] = [seen]
        for reach in _reaches(place, now_ns):
            if not lacking or (reach.is_far and any(_held(seen, name, chosen) for name in SIGNALS)):
                break
            found = await self._telemetry.observed(tenant, reach.time_range, place.width_ns)
            looked.append(found)
            missing = {name: have for name, have in lacking.items() if not have or reach.caveat == _EARLIER}
            added = _added(place, found, missing, taken)
            for name in [name for name, starts in added.items() if starts]:
                caveats.append(reach.caveat.format(signals=name, count=lacking[name]))
                chosen.update(added[name])
                lacking[name] += len(added[name])
            lacking = {name: have for name, have in lacking.items() if not have}
        for name in lacking:
            shared = [start for each in looked for start in getattr(each, name) if not _within(place, start)]
            if shared:
                caveats.append(_SHARED.format(signals=name))
                chosen.update(nearest(shared, place.start_ns, BUCKETS_ENOUGH))
        return Baseline(_bounded(place, chosen), caveats)


def _lacking(place: Frame, seen: Observed, chosen: set[int]) -> dict[str, int]:
    """Signals that the incident has and of which the window has few, with how many buckets those are."""
    counts = {name: _held(seen, name, chosen) for name in SIGNALS}
    present = {name for name in SIGNALS if any(start >= place.earliest_ns for start in getattr(seen, name))}
    return {name: count for name, count in counts.items() if name in present and count < BUCKETS_FEW}


def _held(seen: Observed, name: str, chosen: set[int]) -> int:
    return len(chosen.intersection(getattr(seen, name)))


def _added(place: Frame, found: Observed, missing: dict[str, int], taken: Sequence[TimeRange]) -> dict[str, list[int]]:
    added = {}
    for name, have in missing.items():
        starts = [start for start in getattr(found, name) if not _within(place, start)]
        added[name] = nearest(free(starts, place.width_ns, taken), place.start_ns, BUCKETS_ENOUGH - have)
    return added


def _within(place: Frame, start_ns: int) -> bool:
    """Whether a bucket is one of those in which the incident may be going on."""
    return place.earliest_ns - place.width_ns < start_ns < place.end_ns


def _reaches(place: Frame, now_ns: int) -> list[_Reach]:
    near, far = limits.RCA_BASELINE_REACH_SECONDS * NS, limits.RCA_BASELINE_FAR_SECONDS * NS
    begin, width = place.window.start_ns, place.width_ns
    before, after = (begin - reach // width * width for reach in (near, far)), (place.end_ns + near, place.end_ns + far)
    near_begin, far_begin = before
    near_end, far_end = (min(end, now_ns) for end in after)
    found = [
        _Reach(TimeRange(near_begin, begin), _EARLIER),
        _Reach(TimeRange(place.end_ns, near_end), _LATER),
        _Reach(TimeRange(far_begin, near_begin), _EARLIER, is_far=True),
        _Reach(TimeRange(place.end_ns, far_end), _LATER, is_far=True),
    ]
    return [each for each in found if 0 <= each.time_range.start_ns < each.time_range.end_ns]


def _bounded(place: Frame, chosen: set[int]) -> list[int]:
    """The nearest, so that there are no more buckets and stretches of them than an analysis takes."""
    room = limits.RCA_BUCKETS_MAX - len(place.buckets)
    kept = nearest(sorted(chosen), place.start_ns, room)
    while len(kept) > 1 and stretches([*kept, *place.buckets], place.width_ns) > limits.TELEMETRY_RUNS_MAX:
        kept = nearest(kept, place.start_ns, len(kept) - 1)
    return kept
