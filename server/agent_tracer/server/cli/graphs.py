"""Components and who calls whom, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import correlation_pb2

_KIND_STYLES: Final = {"service": "cyan", "agent": "magenta", "model": "green", "tool": "yellow", "database": "blue"}


def print_graph(console: Console, graph: "correlation_pb2.ServiceGraph", limit: int) -> None:
    """Components, then the calls between them, those with the most calls first; `limit` lines of each."""
    marks = glyphs(console)
    _print_nodes(console, graph.nodes[:limit])
    _print_more(console, len(graph.nodes) - limit, "component")
    if graph.edges:
        console.print()
        _print_edges(console, marks, graph, limit)
        _print_more(console, len(graph.edges) - limit, "edge")
    charts.print_caveats(console, graph.caveats)


def _print_nodes(console: Console, nodes: "Sequence[correlation_pb2.ServiceNode]") -> None:
    print_table(
        console,
        [
            Column("COMPONENT", [_name(node.id, node.kind) for node in nodes], cut=True),
            Column("KIND", [Text(text.plain(node.kind), style="dim") for node in nodes]),
            Column("CALLS", [Text(text.count(node.call_count)) for node in nodes], right=True),
            Column("ERRORS", [_errors(node.error_count, node.call_count) for node in nodes], right=True, need=1),
            Column("P95", [_duration(node.duration_p95, node.call_count) for node in nodes], right=True, need=2),
        ],
    )


def _print_edges(console: Console, marks: Glyphs, graph: "correlation_pb2.ServiceGraph", limit: int) -> None:
    edges = graph.edges[:limit]
    kinds = {node.id: node.kind for node in graph.nodes}
    print_table(
        console,
        [
            Column("CALLER", [_name(edge.source, kinds.get(edge.source, "")) for edge in edges], cut=True),
            Column("", [Text(marks.arrow, style="dim") for _ in edges]),
            Column("CALLEE", [_name(edge.target, kinds.get(edge.target, "")) for edge in edges], cut=True),
            Column("CALLS", [Text(text.count(edge.call_count)) for edge in edges], right=True),
            Column("ERRORS", [_errors(edge.error_count, edge.call_count) for edge in edges], right=True, need=1),
            Column("P95", [_duration(edge.duration_p95, edge.call_count) for edge in edges], right=True, need=2),
            Column("GAP P95", [_gap(edge.gap_p95) for edge in edges], right=True, need=3),
        ],
    )


def _print_more(console: Console, more: int, noun: str) -> None:
    if more > 0:
        console.print(Text(f"and {text.counted(more, noun)} more: --limit N", style="dim"))


def _name(component: str, kind: str) -> Text:
    return Text(text.plain(component), style=_KIND_STYLES.get(kind, ""))


def _errors(errors: int, calls: int) -> Text:
    if not errors:
        return Text("0", style="dim")
    share = figures.share(errors / calls) if calls else text.NOTHING
    return Text(f"{text.count(errors)} ({share})", style="bold red")


def _duration(milliseconds: float, calls: int) -> Text:
    return Text(text.duration(milliseconds) if calls else text.NOTHING)


def _gap(milliseconds: float) -> Text:
    """Nothing where it is not known of any call."""
    return Text(text.duration(milliseconds) if milliseconds else "")
