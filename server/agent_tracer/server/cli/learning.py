"""Whether an agent learns, for people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import atlas_pb2


@dataclass(frozen=True, slots=True)
class _Followed:
    """A measure of windows, of the curve's points, and its trend."""

    name: str
    first: float | None
    last: float | None
    trend: "atlas_pb2.Trend | None"
    values: list[float | None]


def print_learning(console: Console, found: "atlas_pb2.LearningAnalysis") -> None:
    """The verdict, each measure at the start and at the end with its trend, changes of level, insights, resources."""
    marks = glyphs(console)
    title = Text(text.plain(found.agent_id), style="bold magenta")
    title.append(f"  {text.plain(found.period)}  ", style="not bold default")
    console.print(title.append_text(charts.verdict(marks, found.verdict)), soft_wrap=True)
    if found.tasks.HasField("initial"):
        console.print()
        _print_windows(console, found)
        console.print()
        _print_measures(console, marks, found)
    if found.change_points:
        console.print()
        _print_changes(console, found)
    if found.insights:
        console.print()
        charts.print_notes(console, "-", found.insights)
    _print_resources(console, marks, found.resource_utilization)
    charts.print_caveats(console, found.caveats)


def _print_windows(console: Console, found: "atlas_pb2.LearningAnalysis") -> None:
    """Which tasks the first and the last ones are; the overall figure of what changed between them."""
    windows = found.tasks.initial, found.tasks.current
    print_table(
        console,
        [
            Column("THIRD", [Text("first", style="bold"), Text("last", style="bold")]),
            Column("FROM", [Text(_when(window.start_time)) for window in windows]),
            Column("TO", [Text(_when(window.end_time)) for window in windows], need=1),
            Column("TASKS", [Text(text.count(window.task_count)) for window in windows], right=True),
        ],
    )
    rate = found.improvement_rate
    if rate:
        told = f"{figures.share(abs(rate))} {'shorter' if rate > 0 else 'longer'}"
        console.print(f"mean duration, task types held constant: {told}")


def _when(time: "Timestamp") -> str:
    return text.local_time(text.moment(time.seconds, time.nanos))


def _followed(found: "atlas_pb2.LearningAnalysis") -> list[_Followed]:
    initial, current = found.tasks.initial, found.tasks.current
    figures_of: dict[str, Callable[[atlas_pb2.LearningPoint | atlas_pb2.TaskWindow], float | None]] = {
        "success": lambda held: held.success_rate,
        "duration": lambda held: held.avg_duration,
        "cost": _cost,
    }
    return [
        _Followed(name, of(initial), of(current), _trend(found, f"{name}_trend"), [of(point) for point in found.curve])
        for name, of in figures_of.items()
    ]


def _trend(found: "atlas_pb2.LearningAnalysis", field: str) -> "atlas_pb2.Trend | None":
    return getattr(found, field) if found.HasField(field) else None  # type: ignore[arg-type]


def _cost(held: "atlas_pb2.LearningPoint | atlas_pb2.TaskWindow") -> float | None:
    return held.avg_cost if held.HasField("avg_cost") else None


def _print_measures(console: Console, marks: Glyphs, found: "atlas_pb2.LearningAnalysis") -> None:
    held = [of for of in _followed(found) if of.first is not None or of.last is not None]
    print_table(
        console,
        [
            Column("MEASURE", [Text(of.name, style="bold") for of in held]),
            Column("FIRST", [_level(of.name, of.first) for of in held], right=True),
            Column("LAST", [_level(of.name, of.last) for of in held], right=True),
            Column("TREND", [charts.verdict(marks, of.trend.direction) if of.trend else Text() for of in held], need=1),
            Column("A DAY", [_slope(of) for of in held], right=True, need=2),
            Column("95% INTERVAL", [_slopes(of) for of in held], need=5),
            Column("P", [Text(figures.probability(of.trend.p_value) if of.trend else "") for of in held], need=4),
            Column("CURVE", [charts.curve(marks, of.values) for of in held], need=3),
        ],
    )


def _level(measure: str, value: float | None) -> Text:
    return Text(text.NOTHING if value is None else figures.level(measure, value))


def _slope(of: _Followed) -> Text:
    return Text(figures.signed(of.name, of.trend.slope_per_day) if of.trend else "")


def _slopes(of: _Followed) -> Text:
    if of.trend is None:
        return Text()
    return Text(figures.signed_span(of.name, of.trend.slope_lower, of.trend.slope_upper))


def _print_changes(console: Console, found: "atlas_pb2.LearningAnalysis") -> None:
    held = found.change_points
    print_table(
        console,
        [
            Column("CHANGED", [Text(_when(of.time)) for of in held]),
            Column("MEASURE", [Text(text.plain(of.measure), style="bold") for of in held]),
            Column("BEFORE", [Text(figures.level(of.measure, of.before)) for of in held], right=True, need=1),
            Column("AFTER", [Text(figures.level(of.measure, of.after)) for of in held], right=True),
            Column("P", [Text(figures.probability(of.p_value)) for of in held], right=True, need=3),
            Column("WITH", [Text(text.plain(", ".join(of.coincident_changes))) for of in held], cut=True, need=2),
        ],
    )


def _print_resources(console: Console, marks: Glyphs, used: "atlas_pb2.ResourceUtilization") -> None:
    facts = [
        text.counted(used.llm_calls, "model call"),
        text.counted(used.tool_calls, "tool call"),
        f"{text.tokens(used.input_tokens, used.output_tokens, marks.arrow) or 'no'} tokens",
        text.money(used.cost) if used.HasField("cost") else "cost not known",
        f"busy {figures.share(used.busy_share)} of the period",
        f"{used.peak_concurrency:g} at once at most",
    ]
    told = [f"{name} {value:.4g}" for name, value in sorted(used.metrics.items())]
    console.print()
    charts.print_notes(console, "-", [f"Used: {', '.join(facts)}."])
    charts.print_notes(console, "-", [f"The agent's own metrics, means: {', '.join(told)}."] if told else [])
