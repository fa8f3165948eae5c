"""A trace on a terminal: what it was, its spans as a tree with aligned figures, the total."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import text
from agent_tracer.server.cli.glyphs import KIND_STYLES, Glyphs, glyphs
from agent_tracer.server.cli.tree import GUIDE_LEVELS_MAX, Collapsed, Guide, Node, Row, guides, outline

if TYPE_CHECKING:
    from agent_tracer.v1 import trace_pb2

GAP: Final = 2
NAME_COLUMNS_WANTED: Final = 40
MODEL_COLUMNS_MAX: Final = 24
TIMELINE_COLUMNS: Final = 16
MESSAGE_LINES_MAX: Final = 3
KINDS_TOLD_MAX: Final = 4


def nodes(spans: "Iterable[trace_pb2.Span]") -> list[Node]:
    """Spans in depth-first order as what a tree shows of them. Their contents can go after this."""
    found: list[Node] = []
    start = 0.0
    for span in spans:
        began = span.start_time.seconds * 1000 + span.start_time.nanos / 1e6
        start = start if found else began
        found.append(
            Node(
                depth=span.depth,
                name=span.name or span.span_id,
                kind=span.kind,
                agent=span.agent_id,
                failed=span.status == "error",
                message=_message(span) if span.status == "error" else "",
                offset=began - start,
                duration=span.duration,
                input_tokens=span.usage.input_tokens,
                output_tokens=span.usage.output_tokens,
                cost=span.cost if span.HasField("cost") else None,
                model=span.model,
            )
        )
    return found


def _message(span: "trace_pb2.Span") -> str:
    if span.status_message:
        return span.status_message
    for event in span.events:
        if event.name == "exception":
            told = (event.attributes.fields[f"exception.{part}"].string_value for part in ("type", "message"))
            return ": ".join(part for part in told if part)
    return ""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: list[Text]
    right: bool = True

    @property
    def width(self) -> int:
        return max(cell.cell_len for cell in [Text(self.title), *self.cells])


@dataclass(frozen=True, slots=True)
class _Layout:
    console: Console
    columns: Sequence[_Column]
    name_width: int

    def line(self, name: Text, cells: Iterable[Text], style: str = "") -> None:
        line = name.copy()
        line.truncate(self.name_width, overflow="ellipsis", pad=True)
        for cell, column in zip(cells, self.columns, strict=True):
            line.append(" " * GAP)
            padding = " " * (column.width - cell.cell_len)
            line.append_text(Text(padding).append_text(cell) if column.right else cell.copy().append(padding))
        line.rstrip()
        line.stylize_before(style)
        _print_as_is(self.console, line)


def _print_as_is(console: Console, line: Text) -> None:
    console.print(line, no_wrap=True, overflow="ignore", crop=False)


def print_tree(console: Console, spans: Sequence[Node], spans_max: int, total: Node) -> None:
    """Draw the spans with their figures beside them; `total` is the last line, its name the label."""
    rows = outline(spans, spans_max)
    marks = glyphs(console)
    # A third of the width at most: names and messages need the rest.
    places = guides(rows, max(1, min(GUIDE_LEVELS_MAX, console.width // 9)))
    agents = _agents_told(rows)
    names = [_name(row, place, agent, marks) for row, place, agent in zip(rows, places, agents, strict=True)]
    names.append(Text(total.name))
    columns = _fitting(console, _columns(rows, total, marks), names)
    room = console.width - sum(column.width + GAP for column in columns)
    layout = _Layout(console, columns, min(room, max(name.cell_len for name in names)))
    layout.line(Text("SPAN"), [Text(column.title) for column in columns], "dim")
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        layout.line(names[index], [column.cells[index] for column in columns])
        if isinstance(row, Node) and row.message:
            _print_message(console, row, place, marks)
    console.print()
    layout.line(names[-1], [column.cells[-1] for column in columns], "bold")
    _print_legend(console, rows, marks)


def _agents_told(rows: Sequence[Row]) -> list[str]:
    """Each row's agent where it differs from that of the row above it in the tree, else nothing."""
    told: list[str] = []
    path: list[str] = []
    for row in rows:
        del path[row.depth :]
        above = path[-1] if path else ""
        agent = row.agent if isinstance(row, Node) else above
        told.append(agent if agent != above else "")
        path.extend([agent or above] * (row.depth - len(path) + 1))
    return told


def _name(row: Row, place: Guide, agent: str, marks: Glyphs) -> Text:
    line = _guide(row.depth, place, marks)
    if isinstance(row, Collapsed):
        kinds = ", ".join(f"{text.count(n)} {text.plain(kind) or 'other'}" for kind, n in row.kinds.most_common(4))
        line.append(f"{marks.more} {text.counted(row.spans, 'more span')} ({kinds})", style="dim italic")
        if row.errors:
            line.append(f" {marks.failed} {text.counted(row.errors, 'error')}", style="red")
        return line
    style = "bold red" if row.failed else ""
    if row.failed:
        line.append(f"{marks.failed} ", style=style)
    mark = marks.kinds.get(row.kind, marks.idle)
    line.append(f"{mark} ", style=KIND_STYLES.get(row.kind, "dim"))
    line.append(text.plain(row.name), style=style or ("bold" if row.kind == "agent" else ""))
    if row.kind not in marks.kinds:
        line.append(f" {text.plain(row.kind)}", style="dim")
    if agent and agent not in row.name.split():
        line.append(f" ({text.plain(agent)})", style="magenta")
    return line


def _collapsed(row: Collapsed, marks: Glyphs) -> Text:
    kinds = [f"{text.count(n)} {text.plain(kind) or 'other'}" for kind, n in row.kinds.most_common(KINDS_TOLD_MAX)]
    line = Text(f"{marks.more} {text.counted(row.spans, 'more span')} ({', '.join(kinds)})", style="dim italic")
    if row.errors:
        line.append(f" {marks.failed} {text.counted(row.errors, 'error')}", style="red")
    return line


def _guide(depth: int, place: Guide, marks: Glyphs) -> Text:
    line = Text(no_wrap=True)
    if depth:
        above = "".join(marks.line if is_open else marks.blank for is_open in place.open_levels)
        skipped = f"{marks.more}{place.skipped} " if place.skipped else ""
        line.append(skipped + above + (marks.corner if place.last else marks.branch), style="dim")
    return line


def _columns(rows: Sequence[Row], total: Node, marks: Glyphs) -> list[_Column]:
    """Right of the names, the least needed last. Cells: one a row, then the total's."""
    every: list[Row] = [*rows, total]
    span_nodes = [row for row in every if isinstance(row, Node)]
    figures: dict[str, tuple[Callable[[Node], str], bool]] = {
        "DURATION": (lambda n: text.duration(n.duration), True),
        "TOKENS": (lambda n: text.tokens(n.input_tokens, n.output_tokens, marks.arrow), True),
        "COST": (lambda n: "" if n.cost is None else text.money(n.cost), True),
        "MODEL": (lambda n: "" if n.model in n.name else text.plain(n.model), False),
    }
    columns = []
    for title, (figure, right) in figures.items():
        cells = [_cell(figure(row) if isinstance(row, Node) else "", row) for row in every]
        for cell in cells:
            cell.truncate(MODEL_COLUMNS_MAX, overflow="ellipsis")
        if any(cells):
            columns.append(_Column(title, cells, right))
    if len(span_nodes) > 2:  # noqa: PLR2004 - one span and the total: nothing to compare
        end = max(node.offset + node.duration for node in span_nodes)
        columns.append(_Column("TIMELINE", [_timeline(row, end, marks) for row in every], right=False))
    return columns


def _cell(figure: str, row: Row) -> Text:
    return Text(figure, style="red" if isinstance(row, Node) and row.failed else "")


def _timeline(row: Row, end: float, marks: Glyphs) -> Text:
    if isinstance(row, Collapsed) or end <= 0:
        return Text()
    first = min(TIMELINE_COLUMNS - 1, max(0, int(row.offset / end * TIMELINE_COLUMNS)))
    length = min(TIMELINE_COLUMNS - first, max(1, round(row.duration / end * TIMELINE_COLUMNS)))
    bar = Text(marks.idle * first, style="dim")
    bar.append(marks.bar * length, style="red" if row.failed else KIND_STYLES.get(row.kind, "blue"))
    return bar.append(marks.idle * (TIMELINE_COLUMNS - first - length), style="dim")


def _fitting(console: Console, columns: list[_Column], names: Sequence[Text]) -> list[_Column]:
    """The columns that leave the names their room: the last one goes first."""
    wanted = min(NAME_COLUMNS_WANTED, max(name.cell_len for name in names))
    kept = list(columns)
    while len(kept) > 1 and console.width - sum(c.width + GAP for c in kept) < wanted:
        kept.pop()
    return kept


def _print_message(console: Console, node: Node, place: Guide, marks: Glyphs) -> None:
    """What went wrong, below the span, in red; the tree's lines go on beside it."""
    levels = [*place.open_levels, not place.last] if node.depth else []
    beside = "".join(marks.line if is_open else marks.blank for is_open in levels)
    beside = (f"{marks.more}{place.skipped} " if place.skipped else "") + beside
    beside += marks.line if place.has_children else marks.blank
    room = max(10, console.width - len(beside))
    told = [Text(text.plain(line), style="red") for line in node.message.splitlines() if line.strip()]
    lines = [line for one in told for line in one.wrap(console, room)]
    for line in lines[:MESSAGE_LINES_MAX]:
        line.rstrip()
        _print_as_is(console, Text().append(beside, style="dim").append_text(line))
    if len(lines) > MESSAGE_LINES_MAX:
        console.print(Text(beside + marks.more, style="dim"))


def _print_legend(console: Console, rows: Sequence[Row], marks: Glyphs) -> None:
    present = {row.kind for row in rows if isinstance(row, Node)}
    legend = Text()
    for kind, mark in marks.kinds.items():
        if kind in present:
            legend.append(f"{mark} ", style=KIND_STYLES[kind]).append(f"{kind}   ", style="dim")
    if any(isinstance(row, Node) and row.failed for row in rows):
        legend.append(f"{marks.failed} ", style="red").append("error", style="dim")
    legend.rstrip()
    if legend:
        console.print(legend)
    if any(isinstance(row, Collapsed) for row in rows):
        console.print(f"{marks.more} not drawn; --max-spans N draws more", style="dim")
