"""Groups of failed runs, and who made a run fail, for people."""

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import correlation_pb2

_TREND_STYLES: Final = {
    "new": "bold red",
    "back": "bold red",
    "rising": "red",
    "steady": "",
    "falling": "green",
    "gone": "dim",
}
_AGENTS_SHOWN: Final = 3


def print_groups(console: Console, answer: "correlation_pb2.ListFailureGroupsResponse") -> None:
    """One group a line, the most affected runs first, each with its latest trace to look at."""
    held = answer.groups
    print_table(
        console,
        [
            Column("RUNS", [Text(text.count(of.trace_count), style="bold") for of in held], right=True),
            Column("SHARE", [Text(figures.share(of.share)) for of in held], right=True, need=1),
            Column("TREND", [Text(text.plain(of.trend), style=_TREND_STYLES.get(of.trend, "")) for of in held]),
            Column("FAILURE", [Text(text.plain(of.title)) for of in held], cut=True),
            Column("AGENTS", [Text(_agents(of), style="magenta") for of in held], cut=True, need=4),
            Column("FIRST SEEN", [Text(_when(of.first_seen_time)) for of in held], need=6),
            Column("LAST SEEN", [Text(_when(of.last_seen_time)) for of in held], need=3),
            Column("COST", [Text(_cost(of)) for of in held], right=True, need=5),
            Column("LATEST TRACE", [Text(text.plain("".join(of.sample_trace_ids[:1]))) for of in held], need=2),
            Column("GROUP", [Text(text.plain(of.group_id), style="dim") for of in held], need=7),
        ],
    )
    charts.print_caveats(console, answer.caveats)


def print_attribution(console: Console, found: "correlation_pb2.FailureAttribution") -> None:
    """The likeliest steps, then why."""
    marks = glyphs(console)
    held = found.candidates
    console.print(Text(text.plain(found.trace_id), style="bold"), soft_wrap=True)
    console.print()
    print_table(
        console,
        [
            Column("#", [Text(str(number)) for number in range(1, len(held) + 1)], right=True),
            Column("STEP", [Text(str(of.step)) for of in held], right=True),
            Column("AGENT", [Text(text.plain(of.agent_id), style="bold magenta") for of in held], cut=True),
            Column("CONFIDENCE", [Text(figures.share(of.confidence), style="bold") for of in held], right=True),
            Column(charts.scale_title("0%", "100%"), [charts.share_bar(marks, of.confidence) for of in held], need=2),
            Column("SPAN ID", [Text(text.plain(of.span_id), style="dim") for of in held], need=1),
        ],
    )
    console.print()
    for number, of in enumerate(held, start=1):
        charts.print_notes(console, f"{number}.", of.reasons)


def _agents(group: "correlation_pb2.FailureGroup") -> str:
    shown = ", ".join(map(text.plain, group.agents[:_AGENTS_SHOWN]))
    left = len(group.agents) - _AGENTS_SHOWN
    return f"{shown} and {left} more" if left > 0 else shown


def _when(timestamp: "Timestamp") -> str:
    return text.local_time(text.moment(timestamp.seconds, timestamp.nanos))


def _cost(group: "correlation_pb2.FailureGroup") -> str:
    return text.money(group.cost) if group.HasField("cost") else text.NOTHING
