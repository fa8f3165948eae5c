"""Traces, agents and aggregates as tables; one trace in full."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from google.protobuf import json_format
from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, text
from agent_tracer.server.cli.glyphs import Glyphs, glyphs
from agent_tracer.server.cli.render import print_tree
from agent_tracer.server.cli.tables import Column, print_table
from agent_tracer.server.cli.tree import Node

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from agent_tracer.v1 import trace_pb2

_LABEL_COLUMNS: Final = 12
_TAIL_TIME_COLUMNS: Final = 19
_TAIL_STATUS_COLUMNS: Final = 9
_TAIL_DURATION_COLUMNS: Final = 9


def _when(timestamp: "Timestamp") -> datetime | None:
    return text.moment(timestamp.seconds, timestamp.nanos)


def _spent(trace: "trace_pb2.Trace | trace_pb2.Agent") -> str:
    return text.money(trace.cost) if trace.HasField("cost") else text.NOTHING


def print_traces(console: Console, traces: "Sequence[trace_pb2.Trace]") -> None:
    """One trace a line. Where all are of one day, the day stands once below them."""
    marks = glyphs(console)
    times = [_when(trace.start_time) for trace in traces]
    days = {when.date() for when in times if when}
    shown = [text.local_time(when) for when in times]
    if len(days) == 1:
        shown = [one[11:] or one for one in shown]
    errors = [Text(text.count(t.error_count) if t.error_count else "", style="red") for t in traces]
    print_table(
        console,
        [
            Column("STARTED", [Text(one) for one in shown], need=1),
            Column("TRACE", [Text(text.plain(t.trace_id), style="bold") for t in traces]),
            Column("STATUS", [charts.status(marks, t.status) for t in traces]),
            Column("OPERATION", [Text(text.plain(t.operation)) for t in traces], cut=True, need=2),
            Column("AGENT", [Text(text.plain(t.agent_id), style="magenta") for t in traces], cut=True, need=4),
            Column("DURATION", [Text(text.duration(t.duration)) for t in traces], right=True, need=3),
            Column("SPANS", [Text(text.count(t.span_count)) for t in traces], right=True, need=7),
            Column("ERRORS", errors, right=True, need=8),
            Column("TOKENS", [_tokens(t.usage, marks) for t in traces], right=True, need=6),
            Column("COST", [Text(_spent(t)) for t in traces], right=True, need=5),
        ],
    )
    if len(days) == 1:
        console.print(f"{text.counted(len(traces), 'trace')}, started on {days.pop().isoformat()}", style="dim")


def _tokens(usage: "trace_pb2.TokenUsage | trace_pb2.TokenTotals", marks: Glyphs) -> Text:
    return Text(text.tokens(usage.input_tokens, usage.output_tokens, marks.arrow))


def print_trace_line(console: Console, trace: "trace_pb2.Trace") -> None:
    """One line of a live tail: its columns do not know of later traces."""
    line = Text(f"{text.local_time(_when(trace.end_time)):<{_TAIL_TIME_COLUMNS}}  ", style="dim")
    status = charts.status(glyphs(console), trace.status)
    status.pad_right(max(0, _TAIL_STATUS_COLUMNS - status.cell_len))
    line.append_text(status)
    line.append(f"  {text.duration(trace.duration):>{_TAIL_DURATION_COLUMNS}}")
    line.append(f"  {text.plain(trace.trace_id)}", style="bold")
    line.append(f"  {text.plain(trace.operation)}", style="default")
    line.append(f"  {text.plain(trace.agent_id)}", style="magenta")
    if trace.HasField("cost"):
        line.append(f"  {text.money(trace.cost)}", style="default")
    console.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def print_trace(console: Console, trace: "trace_pb2.Trace", spans: Sequence[Node], spans_max: int) -> None:
    """The trace's facts, its spans as a tree, the total."""
    _print_facts(console, trace)
    console.print()
    label = "total " + text.counted(trace.span_count, "span")
    label += f", {text.counted(trace.error_count, 'error')}" if trace.error_count else ""
    total = Node(
        depth=0,
        name=label,
        kind="",
        duration=trace.duration,
        input_tokens=trace.usage.input_tokens,
        output_tokens=trace.usage.output_tokens,
        cost=trace.cost if trace.HasField("cost") else None,
    )
    print_tree(console, spans, spans_max, total)
    unread = trace.span_count - len(spans)
    if unread > 0:
        told = f"{text.counted(unread, 'further span')} not read; all of them: agent-tracer traces export"
        console.print(f"{told} --trace-id {text.plain(trace.trace_id)}", style="yellow")


def _print_facts(console: Console, trace: "trace_pb2.Trace") -> None:
    marks = glyphs(console)
    title = Text(text.plain(trace.operation) or "trace", style="bold")
    title.append("  ").append_text(charts.status(marks, trace.status)).append(f"  {text.duration(trace.duration)}")
    console.print(title, soft_wrap=True)
    for label, fact in _facts(trace).items():
        if fact:
            line = Text(f"  {label:<{_LABEL_COLUMNS}}", style="dim").append(fact, style="not dim")
            console.print(line, soft_wrap=True)


def _facts(trace: "trace_pb2.Trace") -> dict[str, str]:
    other_id = "" if trace.otel_trace_id in ("", trace.trace_id) else f"  ({trace.otel_trace_id})"
    return {
        "trace": text.plain(trace.trace_id + other_id),
        "agent": text.plain(trace.agent_id),
        "agents": _several(trace.agents),
        "services": text.plain(", ".join(trace.services)),
        "started": text.local_time(_when(trace.start_time), precise=True),
        "workflow": text.plain(trace.workflow_id),
        "session": text.plain(trace.session_id),
        "task type": text.plain(trace.task_type),
        "cached": _cached(trace.usage),
        "metadata": "  ".join(_pairs(trace)),
        "evaluations": "  ".join(_judgement(evaluation) for evaluation in trace.evaluations),
    }


def _several(agents: Sequence[str]) -> str:
    return text.plain(", ".join(agents)) if len(agents) > 1 else ""


def _cached(usage: "trace_pb2.TokenUsage") -> str:
    parts = {
        "read from cache": usage.cache_read_tokens,
        "written to cache": usage.cache_creation_tokens,
        "spent on reasoning": usage.reasoning_tokens,
    }
    return ", ".join(f"{text.count(number)} tokens {what}" for what, number in parts.items() if number)


def _pairs(trace: "trace_pb2.Trace") -> list[str]:
    found = []
    for key, value in sorted(json_format.MessageToDict(trace.metadata).items()):
        whole = isinstance(value, float) and value.is_integer()
        found.append(text.plain(f"{key}={int(value) if whole else value}"))
    return found


def _judgement(evaluation: "trace_pb2.Evaluation") -> str:
    score = f" {evaluation.score:.2f}" if evaluation.HasField("score") else ""
    label = f" {evaluation.label}" if evaluation.label else ""
    by = f" ({evaluation.annotator})" if evaluation.annotator else ""
    return text.plain(f"{evaluation.name}{score}{label}{by}")


def print_agents(console: Console, agents: "Sequence[trace_pb2.Agent]") -> None:
    """One agent a line."""
    errors = [Text(text.count(a.error_count) if a.error_count else "", style="red") for a in agents]
    print_table(
        console,
        [
            Column("AGENT", [Text(text.plain(a.agent_id), style="bold magenta") for a in agents]),
            Column("NAME", [Text(_other(a.name, a.agent_id)) for a in agents], cut=True, need=3),
            Column("TYPE", [Text(text.plain(a.agent_type)) for a in agents], cut=True, need=4),
            Column("VERSION", [Text(text.plain(a.version)) for a in agents], cut=True, need=5),
            Column("TRACES", [Text(text.count(a.trace_count)) for a in agents], right=True),
            Column("ERRORS", errors, right=True),
            Column("COST", [Text(_spent(a)) for a in agents], right=True, need=1),
            Column("LAST SEEN", [Text(text.local_time(_when(a.last_seen_time))) for a in agents], need=2),
        ],
    )


def _other(name: str, identifier: str) -> str:
    return "" if name == identifier else text.plain(name)


def print_aggregate(console: Console, rows: "Sequence[trace_pb2.AggregateRow]", *, buckets: bool) -> None:
    """One group, or one group and time bucket, a line."""
    marks = glyphs(console)
    keys = list(dict.fromkeys(key for row in rows for key in sorted(row.group)))
    columns = [Column("FROM", [Text(text.local_time(_when(r.bucket_start))) for r in rows])] if buckets else []
    for key in keys:
        cells = [Text(text.plain(r.group.get(key, "")) or text.NOTHING, style="bold") for r in rows]
        columns.append(Column(text.plain(key).upper(), cells, cut=True))
    durations = {
        "P50": [r.duration_p50 for r in rows],
        "P95": [r.duration_p95 for r in rows],
        "P99": [r.duration_p99 for r in rows],
    }
    errors = [Text(_share(r.error_count, r.count), style="red") for r in rows]
    unpriced = [Text(text.count(r.unpriced_count) if r.unpriced_count else "", style="yellow") for r in rows]
    columns += [
        Column("COUNT", [Text(text.count(r.count)) for r in rows], right=True),
        Column("ERRORS", errors, right=True),
        *(
            Column(title, [Text(text.duration(value)) for value in values], right=True, need=need)
            for need, (title, values) in zip((2, 3, 5), durations.items(), strict=True)
        ),
        Column("TOKENS", [_tokens(r.usage, marks) for r in rows], right=True, need=4),
        Column(
            "COST",
            [Text(text.money(r.cost or (None if r.unpriced_count else 0))) for r in rows],
            right=True,
            need=1,
        ),
        Column("UNPRICED", unpriced, right=True, need=6),
    ]
    print_table(console, columns)


def _share(part: int, whole: int) -> str:
    return f"{text.count(part)} ({part / whole:.1%})" if part and whole else ""
