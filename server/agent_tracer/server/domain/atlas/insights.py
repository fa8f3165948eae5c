"""What a learning analysis found, in plain sentences with their figures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from agent_tracer.server.domain.atlas.change_points import ChangePoint
from agent_tracer.server.domain.atlas.series import Measure
from agent_tracer.server.domain.atlas.trends import Trend
from agent_tracer.server.domain.atlas.windows import Compared

_NAMES: Final = {
    Measure.SUCCESS: "The success rate",
    Measure.DURATION: "The mean task duration",
    Measure.COST: "The mean task cost",
}
_SECOND_MS: Final = 1_000
_P_VALUE_SHOWN_MIN: Final = 0.001


def insights(
    results: Mapping[Measure, Compared], trends: Mapping[Measure, Trend], steps: Sequence[ChangePoint], days: float
) -> list[str]:
    """One sentence for each measure that can be compared, each significant trend, and each change of level.

    `days`: from the first task to the last.
    """
    return [
        *(_change(result) for result in results.values()),
        *(_trend(measure, found, days) for measure, found in trends.items() if found.direction != "none"),
        *(_step(step) for step in steps),
    ]


def _change(result: Compared) -> str:
    sure = "" if 0 not in result.change else ", which may be chance"
    before, after = (_figure(result.measure, value) for value in (result.before, result.after))
    return f"{_NAMES[result.measure]} went from {before} to {after}{sure}."


def _trend(measure: Measure, found: Trend, days: float) -> str:
    way = "rises" if found.direction == "up" else "falls"
    slope = abs(found.slope_per_day)
    # What a few hours would add up to in a day says nothing that anybody could use.
    by = f"{_figure(measure, slope)} a day" if days >= 1 else f"{_figure(measure, slope * days)} in all"
    sure = f"p = {found.p_value:.2g}" if found.p_value >= _P_VALUE_SHOWN_MIN else f"p < {_P_VALUE_SHOWN_MIN:g}"
    return f"{_NAMES[measure]} {way} steadily, by {by} ({sure})."


def _step(step: ChangePoint) -> str:
    day = datetime.fromtimestamp(step.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
    figures = f"from {_figure(step.measure, step.before)} to {_figure(step.measure, step.after)}"
    with_it = f", as did {', '.join(step.coincident_changes)}" if step.coincident_changes else ""
    return f"{_NAMES[step.measure]} changed {figures} at {day}{with_it}."


def _figure(measure: Measure, value: float) -> str:
    if measure is Measure.SUCCESS:
        return f"{100 * value:.1f} %"
    if measure is Measure.COST:
        return f"{value:.4g} US dollars"
    return f"{value / _SECOND_MS:.3g} s" if value >= _SECOND_MS else f"{value:.3g} ms"
