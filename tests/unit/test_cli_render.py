"""What the command line shows: values as text, traces as trees, and names that cannot act on a terminal."""

import io
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import text
from agent_tracer.server.cli.connection import server_address
from agent_tracer.server.cli.errors import WrongUsageError
from agent_tracer.server.cli.lists import print_agents, print_aggregate, print_trace, print_traces
from agent_tracer.server.cli.render import nodes
from agent_tracer.server.cli.tables import Column, print_table
from agent_tracer.server.cli.tree import Collapsed, Node, guides, outline
from agent_tracer.v1 import trace_pb2

HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "two\nlines",
    "back\rwards",
    "tab\tbed",
    "bell\x07\x08\x7f",
    "zero\u200bwidth\ufeff",
    "line\u2028paragraph\u2029",
    "\U000e0041tag",
    "[red]markup[/red] [link=http://x]click[/link]",
    ":smile:",
    "e" + "\u0301" * 500,
    "\ud800",
]


def console(width: int = 100, *, encoding: str = "utf-8", colour: bool = False) -> tuple[Console, io.BytesIO]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", write_through=True)
    system = "truecolor" if colour else None
    made = Console(
        file=stream,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=system,  # type: ignore[arg-type]
        force_terminal=colour,
        legacy_windows=False,
    )
    return made, raw


def span(name: str, depth: int = 0, **fields: object) -> trace_pb2.Span:
    return trace_pb2.Span(name=name, depth=depth, **fields)  # type: ignore[arg-type]


def drawn(spans: list[trace_pb2.Span], width: int = 100, spans_max: int = 200, encoding: str = "utf-8") -> list[str]:
    out, raw = console(width, encoding=encoding)
    trace = trace_pb2.Trace(trace_id="t", operation="plan", status="error", span_count=len(spans))
    print_trace(out, trace, nodes(spans), spans_max)
    return raw.getvalue().decode(encoding).splitlines()


def tree_of(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("SPAN"))
    return lines[start + 1 : lines.index("", start)]


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "0 ms"),
        (0.34, "0.34 ms"),
        (9.99, "9.99 ms"),
        (340, "340 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (1250, "1.25 s"),
        (59_994, "59.99 s"),
        (59_999, "1 m"),
        (125_000, "2 m 5 s"),
        (3_600_000, "1 h"),
        (12_000_000, "3 h 20 m"),
        (367_200_000, "4 d 6 h"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        (-1, "-"),
    ],
)
def test_durations_read_as_people_say_them(milliseconds: float, shown: str) -> None:
    assert text.duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (None, "-"),
        (0, "$0"),
        (0.000123, "$0.000123"),
        (0.0000084, "$0.0000084"),
        (0.0314, "$0.0314"),
        (0.5, "$0.50"),
        (12.4, "$12.40"),
        (1234.567, "$1,234.57"),
        (1e-12, "$0.000000000001"),
        (float("nan"), "-"),
    ],
)
def test_money_keeps_the_digits_that_say_something(dollars: float | None, shown: str) -> None:
    assert text.money(dollars) == shown


@pytest.mark.parametrize("name", HOSTILE)
def test_plain_text_cannot_control_a_terminal(name: str) -> None:
    shown = text.plain(name)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert cell_len(shown) >= len(name.strip("\u0301")) - 1


def test_plain_text_leaves_every_language_as_it_is() -> None:
    for name in ("naïve café", "群れの計画", "می‌خواهم", "क्ष", "👩‍💻 ships", "Ω≈ç√", ""):
        assert text.plain(name) == name


@given(st.text())
def test_plain_text_is_one_printable_line(name: str) -> None:
    assert len(text.plain(name).splitlines()) <= 1
    assert "\x1b" not in text.plain(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_the_terminal_as_control_or_markup(name: str) -> None:
    sent = name.encode(errors="replace").decode()
    out, raw = console(colour=True)
    spans = [span(sent, kind=sent, status="error", status_message=sent, agent_id=sent, model=sent)]
    trace = trace_pb2.Trace(trace_id=sent, operation=sent, status=sent, agent_id=sent, session_id=sent)
    trace.agents.extend([sent, sent])
    trace.metadata.update({sent: sent})
    trace.evaluations.add(name=sent, label=sent)
    print_trace(out, trace, nodes(spans), 200)
    print_traces(out, [trace])
    print_agents(out, [trace_pb2.Agent(agent_id=sent, name=sent, agent_type=sent, version=sent)])
    print_aggregate(out, [trace_pb2.AggregateRow(group={"model": sent}, count=1)], buckets=True)
    shown = raw.getvalue().decode()
    # The colours are ours: SGR sequences and nothing else.
    bare = "".join(part.partition("m")[2] if i else part for i, part in enumerate(shown.split("\x1b[")))
    assert not [c for c in bare if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
    if "[red]" in name:
        assert "[red]markup[/red]" in bare


def test_a_tree_has_its_guides_and_its_figures_in_columns() -> None:
    spans = [
        span("plan", kind="agent", duration=2000, agent_id="planner"),
        span("chat", 1, kind="llm", duration=1250, model="gpt-4o", agent_id="planner"),
        span("search", 1, kind="agent", duration=500, agent_id="searcher"),
        span("fetch", 2, kind="tool", duration=340, agent_id="searcher"),
        span("write", 1, kind="task", duration=1),
    ]
    spans[1].usage.input_tokens, spans[1].usage.output_tokens, spans[1].cost = 812, 143, 0.00346
    lines = tree_of(drawn(spans))
    assert [line.split("  ")[0] for line in lines] == [
        "◆ plan (planner)",
        "├─ ✦ chat",
        "├─ ◆ search (searcher)",
        "│",
        "└─ □ write",
    ]
    assert lines[3].startswith("│  └─ ⚙ fetch")
    assert "812 → 143" in lines[1]
    assert "$0.00346" in lines[1]
    assert "gpt-4o" in lines[1]
    # Right-aligned: every duration ends in the same column.
    assert len({line.index(" ms") for line in lines if " ms" in line}) == 1


def test_an_error_stands_under_its_span_in_red() -> None:
    out, raw = console(colour=True)
    spans = [
        span("plan"),
        span("fetch", 1, kind="tool", status="error", status_message="HTTP 503\nfrom upstream"),
    ]
    print_trace(out, trace_pb2.Trace(trace_id="t"), nodes(spans), 200)
    lines = raw.getvalue().decode().splitlines()
    message = next(line for line in lines if "HTTP 503" in line)
    assert "\x1b[31mHTTP 503" in message
    assert any("\x1b[31mfrom upstream" in line for line in lines)
    assert any("✗" in line and "\x1b[1;31mfetch" in line for line in lines)


def test_an_error_without_a_message_takes_its_exception_event() -> None:
    failed = span("fetch", status="error")
    event = failed.events.add(name="exception")
    event.attributes.update({"exception.type": "TimeoutError", "exception.message": "after 2 s"})
    assert "TimeoutError: after 2 s" in "\n".join(drawn([failed]))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    spans = [
        span("r" * 50, kind="agent", duration=1),
        span("群" * 60, 1, kind="llm", model="m" * 80, duration=2),
    ]
    spans += [span("deep", depth, kind="tool", status="error", status_message="why " * 60) for depth in range(2, 40)]
    for line in tree_of(drawn(spans, width)):
        assert cell_len(line) <= width


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_fits_and_keeps_its_ids_whole(width: int) -> None:
    out, raw = console(width)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traces = [trace_pb2.Trace(trace_id=trace_id, operation="o" * 90, agent_id="a" * 90, status="success")]
    print_traces(out, traces)
    assert trace_id in raw.getvalue().decode()
    assert all(cell_len(line) <= max(width, 50) for line in raw.getvalue().decode().splitlines())


def test_a_table_drops_the_least_needed_column_first() -> None:
    out, raw = console(20)
    columns = [Column(title, [Text("x" * 8)], need=need) for need, title in enumerate(("ID", "LATER", "LAST"))]
    print_table(out, columns)
    assert raw.getvalue().decode().splitlines()[0].split() == ["ID", "LATER"]


def test_an_ascii_terminal_gets_ascii_guides() -> None:
    lines = drawn([span("plan", kind="agent"), span("chät", 1, kind="llm", status="error")], encoding="ascii")
    assert [line.split("  ")[0] for line in tree_of(lines)] == ["A plan", "`- x * ch\\xe4t"]


def random_tree(depths: list[int], failed: set[int]) -> list[Node]:
    found, before = [], -1
    for index, wish in enumerate(depths):
        before = min(wish, before + 1)
        found.append(Node(depth=before, name=str(index), kind="tool", failed=index in failed))
    return found


@given(
    st.lists(st.integers(0, 6), max_size=60).flatmap(
        lambda depths: st.tuples(st.just(depths), st.sets(st.integers(0, max(0, len(depths) - 1)), max_size=5))
    ),
    st.integers(1, 20),
)
def test_a_collapsed_tree_loses_no_span_and_draws_no_orphan(drawn_from: tuple[list[int], set[int]], most: int) -> None:
    whole = random_tree(*drawn_from)
    rows = outline(whole, most)
    shown = [row for row in rows if isinstance(row, Node)]
    hidden = [row for row in rows if isinstance(row, Collapsed)]
    assert len(shown) == min(len(whole), most)
    assert len(shown) + sum(row.spans for row in hidden) == len(whole)
    assert sum(row.errors for row in hidden) + sum(row.failed for row in shown) == sum(n.failed for n in whole)
    # Each row has its parent's row above it.
    before = -1
    for row in rows:
        assert row.depth <= before + 1
        before = row.depth
    assert len(guides(rows)) == len(rows)


def test_errors_are_drawn_before_anything_else() -> None:
    whole = [Node(0, "root", "agent"), *(Node(1, str(i), "tool", failed=i == 900) for i in range(1000))]
    assert any(isinstance(row, Node) and row.failed for row in outline(whole, 5))


def test_depths_that_make_no_tree_are_drawn_as_one() -> None:
    rows = outline([Node(5, "a", ""), Node(-3, "b", ""), Node(9, "c", "")], 10)
    assert [row.depth for row in rows] == [0, 0, 1]


@pytest.mark.parametrize("shape", ["wide", "deep"])
def test_ten_thousand_spans_are_drawn_within_two_seconds_of_a_core(shape: str) -> None:
    spans = [span(f"s{i}", i if shape == "deep" else min(i, 1), kind="tool", duration=1) for i in range(10_000)]
    spans[-1].status = "error"
    began = time.thread_time()
    lines = drawn(spans)
    assert time.thread_time() - began < 2
    assert len(lines) < 230
    assert any("more spans" in line for line in lines)


def test_a_list_of_one_day_names_the_day_once() -> None:
    out, raw = console(200)
    traces = [trace_pb2.Trace(trace_id=f"t{i}", status="success") for i in range(2)]
    for trace in traces:
        trace.start_time.seconds = 1_790_000_000
    print_traces(out, traces)
    shown = raw.getvalue().decode()
    assert shown.count("2026-09-2") == 1
    traces[1].start_time.seconds += 3 * 86_400
    print_traces(out, traces)
    assert raw.getvalue().decode().removeprefix(shown).count("2026-09-2") == 2


def test_a_clock_beyond_the_calendar_is_no_time() -> None:
    assert text.moment(10**15, 0) is None
    assert text.local_time(text.moment(0, 0)) == "-"


def test_calls_without_a_price_cost_nothing_known() -> None:
    out, raw = console(160)
    print_aggregate(out, [trace_pb2.AggregateRow(group={"model": "local"}, count=3, unpriced_count=3)], buckets=False)
    assert "$" not in raw.getvalue().decode()


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (None, "127.0.0.1:50051"),
        ("localhost:1", "localhost:1"),
        ("http://10.0.0.1:50051/", "10.0.0.1:50051"),
        ("grpc://tracer.example:443", "tracer.example:443"),
        ("[::1]:50051", "[::1]:50051"),
    ],
)
def test_an_endpoint_is_host_and_port(given: str | None, address: str) -> None:
    assert server_address(given) == address


@pytest.mark.parametrize("given", ["localhost", ":50051", "a:b", "https://x:1", "user@host:1", "a b:1", "x:1/path"])
def test_another_endpoint_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(WrongUsageError) as refused:
        server_address(given)
    assert "127.0.0.1:50051" in refused.value.hints[0]
