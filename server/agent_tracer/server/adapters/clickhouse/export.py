"""Exports what is stored as the OTLP requests that it came in, in pages of bounded size.

The rows of a signal have an order in which each stands once, or beside its equals. A narrow query lists the keys of
the next rows in that order with their sizes, and wide ones fetch as many as fit into a message. So neither a page of
long prompts nor a million equal log lines needs more memory than a message, and what is committed or merged meanwhile
moves nothing: a row is found by its key, never by its number.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.rebuild import REBUILT
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import EXPORT_KEYS_MAX, PAGE_BYTES_MAX

Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a key: the expression that rows are ordered by, how it is read, how a parameter becomes it."""

    order: str
    read: str
    parameter: str


def _text(column: str) -> _Part:
    # In hex, because a text may hold whatever breaks a parameter's quoting.
    return _Part(column, f"lower(hex({column}))", "unhex({{{}:String}})")


def _bytes(column: str, length: int) -> _Part:
    return _Part(column, f"lower(hex({column}))", f"toFixedString(unhex({{{{{{}}:String}}}}), {length})")


def _time(column: str) -> _Part:
    return _Part(column, f"toUnixTimestamp64Nano({column})", "fromUnixTimestamp64Nano({{{}:Int64}}, 'UTC')")


def _hour(column: str) -> _Part:
    hour = f"toStartOfHour({column})"
    return _Part(hour, f"toUnixTimestamp({hour})", "toDateTime({{{}:UInt32}}, 'UTC')")


def _content(signal: Signal) -> _Part:
    """Tells rows apart that are equal in all before. A tuple, because the hash of a NULL alone is NULL."""
    return _bytes(f"sipHash128(tuple({', '.join(REBUILT[signal].columns)}))", 16)


@dataclass(frozen=True, slots=True)
class _Table:
    """Where a signal's rows are. `key` starts as the table's own order does; `size` are about a row's bytes."""

    name: str
    time: str
    key: Sequence[_Part]
    size: str
    once: bool
    """Whether rows of equal keys are one that was delivered again."""


_SIZE: Final = (
    "byteSize(resource, resource_schema_url, entity_refs, scope_name, scope_version, scope_attributes, "
    "scope_schema_url, attributes, {})"
)
"""What a row takes in a message and more: its resource is counted with each of them."""

_TABLES: Final[Mapping[Signal, _Table]] = {
    Signal.TRACES: _Table(
        "spans",
        "start_time",
        (_hour("start_time"), _bytes("trace_id", 16), _time("start_time"), _bytes("span_id", 8)),
        _SIZE.format("name, trace_state, status_message, input, output, events, links"),
        once=True,
    ),
    Signal.LOGS: _Table(
        "logs",
        "time",
        (_text("service"), _time("time"), _content(Signal.LOGS)),
        _SIZE.format("severity_text, event_name, body"),
        once=False,
    ),
    Signal.METRICS: _Table(
        "metric_points",
        "time",
        (_text("metric"), _text("service"), _time("time"), _content(Signal.METRICS)),
        _SIZE.format(
            "metric, description, unit, metadata, time, start_time_ns, double_value, count, sum, min, max, bounds, "
            "bucket_counts, negative_counts, quantiles, exemplars"
        ),
        once=False,
    ),
}

_IN_RANGE: Final = (
    "tenant = {{tenant:String}} AND "
    "{time} >= fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC')"
    " AND {time} < fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC')"
)
_OF_TRACES: Final = (
    "tenant = {tenant:String} AND trace_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))"
)


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows of one message: the keys of the first and the last, and how often each stands there."""

    first: Key
    last: Key
    copies: Mapping[Key, int]


async def export_requests(
    engine: Engine, tenant: TenantId, signal: Signal, time_range: TimeRange, trace_ids: Sequence[OtelTraceId]
) -> AsyncGenerator[bytes, None]:
    """See ports.store.TraceReader.export. Metric points belong to no trace: none where trace_ids are given.

    Spans of one trace, id and start are one that was delivered again; log records and points come as often as sent.
    """
    if trace_ids and signal is Signal.METRICS:
        return
    rows = _Rows(engine, signal, *_asked(tenant, _TABLES[signal].time, time_range, trace_ids))
    after: Key | None = None
    while keys := await rows.keys(after):
        after = keys[-1][0]
        for page in _pages(keys, once=_TABLES[signal].once):
            found = await rows.whole(page)
            # Off the event loop: a page is some 100 ms of work.
            yield await asyncio.to_thread(REBUILT[signal].request, found)


def _asked(
    tenant: TenantId, time: str, time_range: TimeRange, trace_ids: Sequence[OtelTraceId]
) -> tuple[str, dict[str, Any]]:
    """The condition of the rows asked for, with its parameters."""
    if trace_ids:
        return _OF_TRACES, {"tenant": tenant, "ids": [trace_id.hex() for trace_id in trace_ids]}
    times = {"from_ns": time_range.start_ns, "to_ns": time_range.end_ns}
    return _IN_RANGE.format(time=time), {"tenant": tenant, **times}


def _pages(keys: Iterable[tuple[Key, int]], *, once: bool) -> Iterator[_Page]:
    """Cut rows, each its key with its size, into messages."""
    copies: Counter[Key] = Counter()
    size = 0
    for key, row_size in keys:
        if once and key in copies:
            continue
        if copies and size + row_size > PAGE_BYTES_MAX:
            yield _page(copies)
            copies, size = Counter(), 0
        copies[key] += 1
        size += row_size
    if copies:
        yield _page(copies)


def _page(copies: Mapping[Key, int]) -> _Page:
    ordered = list(copies)
    return _Page(ordered[0], ordered[-1], copies)


class _Rows:
    """The rows of one export, those of the condition."""

    def __init__(self, engine: Engine, signal: Signal, condition: str, parameters: Mapping[str, Any]) -> None:
        self._engine, self._table, self._parameters = engine, _TABLES[signal], parameters
        self._columns = ", ".join(REBUILT[signal].columns)
        self._key = ", ".join(part.read for part in self._table.key)
        self._order = ", ".join(part.order for part in self._table.key)
        self._from = f"FROM {self._table.name} WHERE {condition}"

    async def keys(self, after: Key | None) -> Sequence[tuple[Key, int]]:
        """The keys and sizes of the next rows after the key, all that share the last key among them."""
        beyond = "true" if after is None else _compared(self._table.key, ">", "after")
        # A row's size is computed while it is read, not after the sorting, which would have to carry the contents.
        found = await self._engine.rows(
            f"SELECT {self._key}, {self._table.size} AS size {self._from} AND {beyond} ORDER BY {self._order} "
            f"LIMIT {EXPORT_KEYS_MAX} WITH TIES SETTINGS query_plan_execute_functions_after_sorting = 0",
            {**self._parameters, **_named("after", after or ())},
        )
        return [(tuple(key), size) for *key, size in found]

    async def whole(self, page: _Page) -> list[tuple[Row, int]]:
        """The page's rows with their copies."""
        key = self._table.key
        within = f"{_compared(key, '>=', 'first')} AND {_compared(key, '<=', 'last')}"
        columns = self._columns if self._table.once else f"{self._columns}, {self._key}"
        found = await self._engine.rows(
            f"SELECT {columns} {self._from} AND {within} ORDER BY {self._order} LIMIT 1 BY {self._order}",
            {**self._parameters, **_named("first", page.first), **_named("last", page.last)},
        )
        if self._table.once:
            return [(row, 1) for row in found]
        return [(row[: -len(key)], page.copies.get(tuple(row[-len(key) :]), 1)) for row in found]


def _named(name: str, key: Key) -> dict[str, Any]:
    return {f"{name}_{number}": part.decode() if isinstance(part, bytes) else part for number, part in enumerate(key)}


def _compared(key: Sequence[_Part], comparison: str, name: str, number: int = 0) -> str:
    """The key before or after the parameters of that name; spelled out, because an index cannot use tuples."""
    order, place = key[0].order, key[0].parameter.format(f"{name}_{number}")
    if len(key) == 1:
        return f"{order} {comparison} {place}"
    rest = _compared(key[1:], comparison, name, number + 1)
    return f"({order} {comparison[0]} {place} OR ({order} = {place} AND {rest}))"
