"""One agent's score, and lists of scores, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import ace_pb2

DIMENSIONS: Final = ("overall", "quality", "efficiency", "reliability")
_ABSENT: Final = "absent"


def print_score(console: Console, score: "ace_pb2.AgentScore") -> None:
    """The dimensions with their intervals, what each is made of, and what to know of it."""
    title = Text(text.plain(score.agent_id), style="bold magenta")
    title.append(f"  {text.plain(score.period)}  {text.counted(score.sample_size, 'task')}", style="not bold default")
    console.print(title, soft_wrap=True)
    console.print()
    _print_dimensions(console, score)
    if score.components:
        console.print()
        _print_components(console, score)
    charts.print_caveats(console, score.caveats)
    if score.score_id:
        kept = f"kept as {text.plain(score.score_id)}, {_created(score)}"
        console.print()
        console.print(kept, style="dim")


def _value(score: "ace_pb2.AgentScore", name: str) -> float | None:
    return getattr(score, name) if score.HasField(name) else None  # type: ignore[arg-type]


def _created(score: "ace_pb2.AgentScore") -> str:
    return text.local_time(text.moment(score.create_time.seconds, score.create_time.nanos))


def _interval(score: "ace_pb2.AgentScore", name: str) -> tuple[float, float] | None:
    if name not in score.intervals:
        return None
    return score.intervals[name].lower, score.intervals[name].upper


def _told(interval: tuple[float, float] | None) -> Text:
    return Text(figures.span(*map(figures.score, interval)) if interval else "")


def _shown(value: float | None) -> Text:
    return Text(_ABSENT, style="yellow") if value is None else Text(figures.score(value), style="bold")


def _bar(marks: Glyphs, value: float | None, interval: tuple[float, float] | None) -> Text:
    return Text() if value is None else charts.interval_bar(marks, value, interval)


def _print_dimensions(console: Console, score: "ace_pb2.AgentScore") -> None:
    marks = glyphs(console)
    values = [(_value(score, name), _interval(score, name)) for name in DIMENSIONS]
    weights = ["", *(f"{weight:g}" for weight in _weights(score))]
    print_table(
        console,
        [
            Column("SCORE", [Text(name, style="bold" if name == "overall" else "") for name in DIMENSIONS]),
            Column("VALUE", [_shown(value) for value, _ in values], right=True),
            Column("95% INTERVAL", [_told(interval) for _, interval in values], need=1),
            Column(charts.scale_title(), [_bar(marks, *pair) for pair in values], need=3),
            Column("WEIGHT", [Text(weight) for weight in weights], right=True, need=2),
        ],
    )


def _weights(score: "ace_pb2.AgentScore") -> tuple[float, float, float]:
    held = score.weights
    return held.quality_weight, held.efficiency_weight, held.reliability_weight


def _print_components(console: Console, score: "ace_pb2.AgentScore") -> None:
    marks = glyphs(console)
    held = score.components
    intervals = [_interval(score, part.name) for part in held]
    bars = [charts.interval_bar(marks, p.value, i) for p, i in zip(held, intervals, strict=True)]
    print_table(
        console,
        [
            Column("COMPONENT", [Text(text.plain(part.name)) for part in held], cut=True),
            Column("OF", [Text(text.plain(part.dimension)) for part in held], need=2),
            Column("VALUE", [Text(figures.score(part.value)) for part in held], right=True),
            Column("95% INTERVAL", [_told(interval) for interval in intervals], need=3),
            Column(charts.scale_title(), bars, need=6),
            Column("SHARE", [Text(f"{part.weight:.0%}") for part in held], right=True, need=1),
            Column("ON", [Text(text.count(part.sample_size)) for part in held], right=True, need=4),
            Column("FROM", [Text(text.plain(part.source)) for part in held], need=5),
        ],
    )


def print_scores(console: Console, scores: "Sequence[ace_pb2.AgentScore]") -> None:
    """One score a line, newest first; of a single agent also the overall scores as a curve."""
    marks = glyphs(console)
    columns = [
        Column("CREATED", [Text(_created(score)) for score in scores], need=1),
        Column("AGENT", [Text(text.plain(score.agent_id), style="magenta") for score in scores], cut=True),
        Column("OVERALL", [_listed(score, "overall", "bold") for score in scores], right=True),
        Column("95% INTERVAL", [_told(_interval(score, "overall")) for score in scores], need=5),
    ]
    columns += [
        Column(name.upper(), [_listed(score, name) for score in scores], right=True, need=need)
        for need, name in enumerate(DIMENSIONS[1:], start=2)
    ]
    columns += [
        Column("TASKS", [Text(text.count(score.sample_size)) for score in scores], right=True, need=6),
        Column("PERIOD", [Text(text.plain(score.period)) for score in scores], right=True, need=7),
        Column("SCORE ID", [Text(text.plain(score.score_id), style="dim") for score in scores], need=8),
    ]
    print_table(console, columns)
    drawn = charts.curve(marks, [_value(score, "overall") for score in reversed(scores)])
    if len(scores) > 1 and len({score.agent_id for score in scores}) == 1 and drawn:
        console.print(Text("overall, oldest to newest  ", style="dim").append_text(drawn), soft_wrap=True)


def _listed(score: "ace_pb2.AgentScore", name: str, style: str = "") -> Text:
    value = _value(score, name)
    return Text(text.NOTHING) if value is None else Text(figures.score(value), style=style)
