"""What belongs with a trace, for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import correlation_pb2 as pb

_LEVEL_STYLES: Final = {"FATAL": "bold red", "ERROR": "red", "WARN": "yellow"}
_TITLES: Final = {
    "related_traces": "Related traces",
    "metrics": "Metrics",
    "logs": "Logs",
    "events": "Events",
}


def print_correlations(console: Console, found: "pb.Correlations") -> None:
    """The trace, the guess, then each list that is not empty; the empty ones in one line."""
    title = Text(text.plain(found.trace.id), style="bold").append("  ")
    console.print(title.append_text(charts.status(glyphs(console), found.trace.status)), soft_wrap=True)
    if found.HasField("root_cause"):
        _print_hint(console, found.root_cause)
    empty = [name.lower() for field, name in _TITLES.items() if not getattr(found, field)]
    for field, print_list in _LISTS.items():
        if getattr(found, field):
            console.print()
            console.print(Text(_TITLES[field], style="bold"))
            print_list(console, getattr(found, field))
    if empty:
        console.print()
        console.print(f"none: {', '.join(empty)}", style="dim")
    charts.print_caveats(console, found.caveats)


def _print_hint(console: Console, hint: "pb.RootCauseHint") -> None:
    line = Text("likely: ").append(text.plain(hint.type.replace("_", " ")), style="bold red")
    line.append(f" in {text.plain(hint.component)}", style="default")
    console.print(line.append(f"  ({figures.share(hint.confidence)})", style="dim"), soft_wrap=True)


def _print_traces(console: Console, traces: "Sequence[pb.RelatedTrace]") -> None:
    print_table(
        console,
        [
            _scores([of.correlation for of in traces]),
            Column("TRACE", [Text(text.plain(of.id)) for of in traces]),
            Column("STATUS", [charts.status(glyphs(console), of.status) for of in traces], need=1),
            Column("BECAUSE IT", [Text(text.plain("; ".join(of.reasons))) for of in traces], cut=True, need=2),
        ],
    )


def _print_metrics(console: Console, metrics: "Sequence[pb.RelatedMetric]") -> None:
    arrow = glyphs(console).arrow
    moves = [f"{of.baseline:.4g} {arrow} {of.value:.4g}" for of in metrics]
    print_table(
        console,
        [
            _scores([of.correlation for of in metrics]),
            Column("METRIC", [Text(text.plain(of.name)) for of in metrics], cut=True),
            Column("BEFORE AND AROUND", [Text(move) for move in moves], need=1),
            Column("Q", [Text(figures.probability(of.q_value)) for of in metrics], right=True, need=3),
            Column("SERVICE", [Text(text.plain(of.service)) for of in metrics], cut=True, need=2),
        ],
    )


def _print_logs(console: Console, logs: "Sequence[pb.RelatedLog]") -> None:
    print_table(
        console,
        [
            _scores([of.correlation for of in logs]),
            Column("LEVEL", [Text(text.plain(of.level), style=_LEVEL_STYLES.get(of.level, "")) for of in logs]),
            Column("TIMES", [Text(text.count(of.count)) for of in logs], right=True, need=2),
            Column("FROM", [_when(of.time) for of in logs], need=3),
            Column("SERVICE", [Text(text.plain(of.service)) for of in logs], cut=True, need=4),
            Column("MESSAGE", [Text(text.plain(of.message)) for of in logs], cut=True, need=1),
        ],
    )


def _print_events(console: Console, events: "Sequence[pb.RelatedEvent]") -> None:
    print_table(
        console,
        [
            _scores([of.correlation for of in events]),
            Column("EVENT", [Text(text.plain(of.name)) for of in events], cut=True),
            Column("AT", [_when(of.time) for of in events], need=1),
            Column("SERVICE", [Text(text.plain(of.service)) for of in events], cut=True, need=2),
            Column("DETAIL", [Text(text.plain(of.detail)) for of in events], cut=True, need=3),
        ],
    )


_LISTS: Final[Mapping[str, Callable[[Console, Any], None]]] = {
    "related_traces": _print_traces,
    "metrics": _print_metrics,
    "logs": _print_logs,
    "events": _print_events,
}


def _scores(values: Sequence[float]) -> Column:
    return Column("CORRELATION", [Text(figures.score(value), style="bold") for value in values], right=True)


def _when(time: "Timestamp") -> Text:
    return Text(text.local_time(text.moment(time.seconds, time.nanos)))
