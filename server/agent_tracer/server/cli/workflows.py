"""What a workflow's and a trace's time is made of, and which traces are alike, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import atlas_pb2

NOBODY: Final = "(no span)"
"""Of several roots, none was running."""


def print_optimization(console: Console, found: "atlas_pb2.WorkflowOptimization") -> None:
    """What all suggestions together save, each of them, and the stages with the most time on the critical path."""
    title = Text(text.plain(found.workflow_id), style="bold")
    facts = f"  {text.plain(found.period)}  {text.counted(found.trace_count, 'trace')}"
    facts += f", mean {text.duration(found.avg_duration)}" if found.trace_count else ""
    console.print(title.append(facts, style="not bold"), soft_wrap=True)
    if found.suggestions:
        _print_total(console, glyphs(console), found)
        console.print()
        _print_suggestions(console, found)
    elif found.trace_count:
        console.print("No change that could be replayed saves enough to be suggested.")
    if found.bottlenecks:
        console.print()
        _print_bottlenecks(console, found)
    charts.print_caveats(console, found.caveats)


def _print_total(console: Console, marks: Glyphs, found: "atlas_pb2.WorkflowOptimization") -> None:
    saved = found.estimated_improvement
    after = text.duration(found.avg_duration * (1 - saved))
    line = Text("all suggestions together: ").append(f"{figures.share(saved)} faster", style="bold green")
    console.print(line.append(f" ({text.duration(found.avg_duration)} {marks.arrow} {after})"))


def _print_suggestions(console: Console, found: "atlas_pb2.WorkflowOptimization") -> None:
    marks = glyphs(console)
    held = found.suggestions
    intervals = [(of.lower, of.upper) for of in held]
    bars = [charts.interval_bar(marks, of.estimated_improvement, i) for of, i in zip(held, intervals, strict=True)]
    costs = [figures.signed("cost", of.cost_change) if of.HasField("cost_change") else text.NOTHING for of in held]
    print_table(
        console,
        [
            Column("#", [Text(str(number)) for number in range(1, len(held) + 1)], right=True),
            Column("CHANGE", [Text(text.plain(of.change.replace("_", " ")), style="bold") for of in held]),
            Column("STAGE", [Text(text.plain(of.stage)) for of in held], cut=True, need=1),
            Column("SAVES", [Text(figures.share(of.estimated_improvement), style="green") for of in held], right=True),
            Column("95% INTERVAL", [Text(figures.span(*map(figures.share, i))) for i in intervals], need=3),
            Column(charts.scale_title("0%", "100%"), bars, need=4),
            Column("COST/RUN", [Text(cost) for cost in costs], right=True, need=2),
        ],
    )
    for number, of in enumerate(held, start=1):
        charts.print_notes(console, f"{number}.", [of.text])


def _print_bottlenecks(console: Console, found: "atlas_pb2.WorkflowOptimization") -> None:
    marks = glyphs(console)
    held = found.bottlenecks
    print_table(
        console,
        [
            Column("STAGE", [Text(text.plain(of.stage), style="bold") for of in held], cut=True),
            Column("ON PATH", [Text(figures.share(of.critical_share)) for of in held], right=True),
            Column(
                charts.scale_title("0%", "100%"), [charts.share_bar(marks, of.critical_share) for of in held], need=5
            ),
            Column("MEAN", [Text(text.duration(of.avg_duration)) for of in held], right=True, need=1),
            Column("CALLS", [Text(text.count(of.span_count)) for of in held], right=True, need=2),
            Column("WAITING", [_rate(of.queue_share, "yellow") for of in held], right=True, need=4),
            Column("ERRORS", [_rate(of.error_rate, "red") for of in held], right=True, need=3),
        ],
    )
    known = {of.text for of in found.suggestions}
    for of in held:
        if of.recommendation and of.recommendation not in known:
            named = "" if of.stage in of.recommendation else f"{of.stage}: "
            charts.print_notes(console, "-", [named + of.recommendation])


def _rate(share: float, style: str) -> Text:
    return Text(figures.share(share) if share else "", style=style)


def print_critical_path(console: Console, path: "atlas_pb2.CriticalPath", segments_max: int) -> None:
    """The path's segments in time order; of more than segments_max the longest, and the rest in one line."""
    title = Text(text.plain(path.trace_id), style="bold")
    console.print(title.append(f"  {text.duration(path.duration)}", style="not bold"), soft_wrap=True)
    if not path.segments:
        return
    console.print()
    _print_segments(console, path, _longest(path, segments_max))
    left = len(path.segments) - segments_max
    if left > 0:
        shorter = sum(sorted(segment.duration for segment in path.segments)[:left])
        told = f"{text.counted(left, 'shorter segment')} of {text.duration(shorter)} together: --max-segments N"
        console.print(told, style="dim")


def _longest(path: "atlas_pb2.CriticalPath", segments_max: int) -> list[int]:
    """Positions, in time order."""
    places = sorted(range(len(path.segments)), key=lambda at: -path.segments[at].duration)
    return sorted(places[:segments_max])


def _print_segments(console: Console, path: "atlas_pb2.CriticalPath", places: Sequence[int]) -> None:
    marks = glyphs(console)
    held = [path.segments[at] for at in places]
    starts = [0.0]
    for segment in path.segments:  # They follow each other without gaps.
        starts.append(starts[-1] + segment.duration)
    offsets = [starts[at] for at in places]
    whole = path.duration or starts[-1] or 1.0
    bars = [_stretch(marks, at / whole, of.duration / whole) for at, of in zip(offsets, held, strict=True)]
    print_table(
        console,
        [
            Column("AT", [Text(text.duration(at)) for at in offsets], right=True, need=2),
            Column("SPAN", [_span(segment) for segment in held], cut=True),
            Column("SERVICE", [Text(text.plain(segment.service)) for segment in held], cut=True, need=4),
            Column("AGENT", [Text(text.plain(of.agent_id), style="magenta") for of in held], cut=True, need=3),
            Column("TAKES", [Text(text.duration(segment.duration)) for segment in held], right=True),
            Column("SHARE", [Text(figures.share(of.duration / whole), style="bold") for of in held], right=True),
            Column("TIMELINE", bars, need=1),
            Column("SPAN ID", [Text(text.plain(segment.span_id), style="dim") for segment in held], need=5),
        ],
    )


def _span(segment: "atlas_pb2.PathSegment") -> Text:
    name = segment.name or segment.span_id
    return Text(text.plain(name)) if name else Text(NOBODY, style="dim")


def _stretch(marks: Glyphs, start: float, length: float) -> Text:
    columns = charts.BAR_COLUMNS
    first = min(columns - 1, max(0, int(start * columns)))
    filled = min(columns - first, max(1, round(length * columns)))
    bar = Text(marks.idle * first, style="dim").append(marks.bar * filled, style="not dim cyan")
    return bar.append(marks.idle * (columns - first - filled))


def print_similar(console: Console, traces: "Sequence[atlas_pb2.SimilarTrace]") -> None:
    """One trace a line, the nearest first."""
    marks = glyphs(console)
    started = [text.local_time(text.moment(of.start_time.seconds, of.start_time.nanos)) for of in traces]
    print_table(
        console,
        [
            Column("SIMILARITY", [Text(figures.score(of.similarity), style="bold") for of in traces], right=True),
            Column(charts.scale_title(), [charts.share_bar(marks, of.similarity) for of in traces], need=4),
            Column("TRACE", [Text(text.plain(of.id)) for of in traces]),
            Column("STATUS", [charts.status(marks, of.status) for of in traces]),
            Column("OPERATION", [Text(text.plain(of.operation)) for of in traces], cut=True, need=1),
            Column("AGENT", [Text(text.plain(of.agent_id), style="magenta") for of in traces], cut=True, need=2),
            Column("STARTED", [Text(when) for when in started], need=3),
        ],
    )
