"""What caused an incident, for people."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import correlation_pb2

EVIDENCE_SHOWN: Final = 5
"""Pieces of evidence of one component; --json has the rest."""


def print_analysis(console: Console, found: "correlation_pb2.RootCauseAnalysis") -> None:
    """The cause or why there is none, the chain, what to do, the candidates, and the evidence by component."""
    marks = glyphs(console)
    console.print(Text(text.plain(found.incident_id), style="bold"), soft_wrap=True)
    if found.HasField("root_cause"):
        _print_cause(console, marks, found)
    else:
        charts.print_notes(console, "?", [f"No cause is named: {found.abstained_reason}"], "bold yellow")
    for title, mark, notes in (
        ("How it came about", marks.arrow, found.causal_chain),
        ("What to do", "-", found.recommendations),
    ):
        if notes:
            _head(console, title)
            charts.print_notes(console, mark, notes)
    if found.candidates:
        _head(console, "Candidates")
        _print_candidates(console, marks, found.candidates)
    if found.evidence:
        _head(console, "Evidence")
        _print_evidence(console, marks, found)
    charts.print_caveats(console, found.caveats)


def _head(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def _print_cause(console: Console, marks: Glyphs, found: "correlation_pb2.RootCauseAnalysis") -> None:
    cause = found.root_cause
    charts.print_notes(console, marks.failed, [cause.issue or cause.component], "bold red")
    facts = [f"component {cause.component}", f"confidence {figures.share(cause.confidence)}"]
    facts += [f"change {cause.change}"] if cause.change else []
    affected = ", ".join(found.affected_services)
    charts.print_notes(console, " ", [", ".join(facts), *([f"affects {affected}"] if affected else [])])


def _print_candidates(console: Console, marks: Glyphs, held: "Sequence[correlation_pb2.RootCause]") -> None:
    print_table(
        console,
        [
            Column("#", [Text(str(number)) for number in range(1, len(held) + 1)], right=True),
            Column("COMPONENT", [Text(text.plain(of.component), style="bold") for of in held], cut=True),
            Column("CONFIDENCE", [Text(figures.share(of.confidence)) for of in held], right=True),
            Column(charts.scale_title("0%", "100%"), [charts.share_bar(marks, of.confidence) for of in held], need=2),
            Column("CHANGE", [Text(text.plain(of.change)) for of in held], cut=True, need=1),
            Column("ISSUE", [Text(text.plain(of.issue)) for of in held], cut=True, need=3),
        ],
    )


def _print_evidence(console: Console, marks: Glyphs, found: "correlation_pb2.RootCauseAnalysis") -> None:
    """A branch a component, in the candidates' order; on it the strongest pieces, in the order of their times."""
    by_component: dict[str, list[correlation_pb2.Evidence]] = defaultdict(list)
    for each in found.evidence:
        by_component[each.component].append(each)
    order = {cause.component: at for at, cause in enumerate(found.candidates)}
    for component in sorted(by_component, key=lambda name: order.get(name, len(order))):
        console.print(Text(text.plain(component), style="bold"), no_wrap=True, overflow="ellipsis")
        own = by_component[component]
        shown = sorted(own[:EVIDENCE_SHOWN], key=lambda each: (each.time.seconds or 2**62, each.time.nanos))
        lines = [_evidence(each) for each in shown]
        if len(own) > len(shown):
            lines.append(Text(f"{marks.more} {len(own) - len(shown)} more: --json", style="dim"))
        for at, line in enumerate(lines):
            branch = marks.corner if at == len(lines) - 1 else marks.branch
            console.print(Text(branch, style="dim").append_text(line), no_wrap=True, overflow="ellipsis")


def _evidence(each: "correlation_pb2.Evidence") -> Text:
    when = text.local_time(text.moment(each.time.seconds, each.time.nanos))
    line = Text(f"{when:19}  ", style="dim")
    line.append(f"{text.plain(each.channel):8}", style="not dim cyan")
    return line.append(text.plain(each.description), style="not dim")
