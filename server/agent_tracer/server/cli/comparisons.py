"""The comparison of two versions, for people."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import VERDICT_STYLES, Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import ace_pb2


def print_comparison(console: Console, found: "ace_pb2.VersionComparison") -> None:
    """The verdict, then each measure with its difference and interval around 0, on a scale of its own."""
    marks = glyphs(console)
    versions = f"{text.plain(found.base)} {marks.arrow} {text.plain(found.candidate)}"
    title = Text(text.plain(found.agent_id), style="bold magenta")
    title.append(f"  {versions}  ", style="not bold default").append_text(charts.verdict(marks, found.verdict))
    console.print(title, soft_wrap=True)
    if found.measures:
        console.print()
        _print_measures(console, marks, found)
    charts.print_caveats(console, found.caveats)


def _print_measures(console: Console, marks: Glyphs, found: "ace_pb2.VersionComparison") -> None:
    held = found.measures
    intervals = [Text(figures.signed_span(of.measure, of.lower, of.upper)) for of in held]
    counts = [Text(f"{text.count(of.base_count)} {marks.arrow} {text.count(of.candidate_count)}") for of in held]
    print_table(
        console,
        [
            Column("MEASURE", [Text(text.plain(of.measure.replace("_", " ")), style="bold") for of in held]),
            Column("BASE", [Text(figures.level(of.measure, of.base)) for of in held], right=True, need=2),
            Column("CANDIDATE", [Text(figures.level(of.measure, of.candidate)) for of in held], right=True, need=2),
            Column("DIFFERENCE", [Text(figures.signed(of.measure, of.difference)) for of in held], right=True),
            Column("95% INTERVAL", intervals, need=3),
            Column(charts.scale_title("below 0", "above"), [_bar(marks, of) for of in held], need=5),
            Column("P", [Text(figures.probability(of.p_value)) for of in held], right=True, need=4),
            Column("TASKS", counts, need=6),
            Column("VERDICT", [charts.verdict(marks, of.verdict) for of in held]),
        ],
    )


def _bar(marks: Glyphs, of: "ace_pb2.MeasureComparison") -> Text:
    scale = charts.around_zero(of.lower, of.upper, of.difference)
    style = VERDICT_STYLES.get(of.verdict, "cyan")
    return charts.interval_bar(marks, of.difference, (of.lower, of.upper), scale, style)
