"""Turns the normalisation table (domain.semantics) into the expressions of the span view.

One pass over a span's attribute keys: each known key becomes the number `column * 16 + rank`, the numbers are
sorted, so that the first one of a column is its attribute of highest precedence. Looking each key up in the map
instead (`coalesce(nullIf(m[k1], ''), nullIf(m[k2], ''), ...)`) costs 3 to 4 microseconds more a span and 60 ms more a
commit, nearly all of it for analysing the longer statement.
"""

from typing import Final

from agent_tracer.server.adapters.clickhouse.sql import array, quoted
from agent_tracer.server.domain.semantics import (
    CALL_KINDS,
    COLUMNS,
    INVOCATION_PARAMETERS,
    OTEL_KINDS,
    SPAN_KINDS,
    Column,
    ColumnType,
)

_RANKS: Final = 16

INPUT_TAKEN: Final = 16
OUTPUT_TAKEN: Final = 32
"""Added to the type of an attribute whose value stands in the column `input` or `output` instead of the map."""


def _slots() -> dict[str, int]:
    """Each known attribute's number. No attribute is in two columns: it has one number only."""
    return {
        attribute: number * _RANKS + rank
        for number, column in enumerate(COLUMNS, 1)
        for rank, attribute in enumerate(column.attributes)
    }


_NUMBERS: Final = {column.name: number for number, column in enumerate(COLUMNS, 1)}


def _picked(column: Column) -> str:
    text = f"picked[indexOf(columns, {_NUMBERS[column.name]})]"
    match column.type:
        case ColumnType.COUNT:
            return f"toUInt32(least(greatest(ifNull(toFloat64OrNull({text}), 0), 0), 4294967295))"
        case ColumnType.AMOUNT:
            return f"toFloat64OrNull({text})"
        case _:
            return text


def _place(column: str) -> str:
    """Where in the attribute map the column's value stands; 0 where the span has none.

    A missing one reads as slot 0, which unknown attributes have; no attribute has slot 1.
    """
    return f"indexOf(slots, greatest(known[indexOf(columns, {_NUMBERS[column]})], 1))"


def _map(expression: str, table: dict[str, str]) -> str:
    return f"transform({expression}, {array(map(quoted, table))}, {array(map(quoted, table.values()))}, '')"


_KEYS: Final = array(map(quoted, _slots()))
_PLACES: Final = array(map(str, _slots().values()))
_EXCEPTION_TYPE: Final = "'exception.type\\x12'"
_THROWN_FIRST: Final = "'(?s)\\x12.\\x0a.([^\\x0a]+)\\x0a\\x0eexception[.]type'"
"""Where the last field of a message comes first, as the OpenTelemetry Collector writes: the text stands before its key."""
_SECONDS: Final = "toUnixTimestamp(start_time)"

PICKED: Final = {
    "slots": f"arrayMap(k -> toUInt16(transform(k, {_KEYS}, {_PLACES}, 0)), keys)",
    "known": "arraySort(arrayFilter(s -> s > 0, slots))",
    "columns": f"arrayMap(s -> toUInt8(intDiv(s, {_RANKS})), known)",
    "picked": "arrayMap(s -> texts[indexOf(slots, s)], known)",
}
"""The known attributes of a span, best first: their columns and values. Over its `keys` and `texts`."""

_SENT: Final = {
    **{f"sent_{column.name}": _picked(column) for column in COLUMNS},
    "asked_with": f"texts[indexOf(keys, {quoted(INVOCATION_PARAMETERS)})]",
    "input_place": _place("input"),
    "output_place": _place("output"),
    # The class in the bytes of an exception event: key 'exception.type', 0x12, length, 0x0a, length, text.
    "thrown": "arrayFirst(e -> position(e, 'exception.type') > 0, events)",
}

_KINDS: Final = {
    "thrown_at": f"position(thrown, {_EXCEPTION_TYPE})",
    "sent_kind": _map("lower(sent_operation_name)", dict(SPAN_KINDS)),
    "cached_tokens": "sent_cache_read_tokens + sent_cache_creation_tokens",
    "model": (
        "multiIf(sent_model != '', sent_model, sent_response_model != '', sent_response_model, "
        "asked_with != '', JSONExtractString(asked_with, 'model'), '')"
    ),
    "answering_model": "if(sent_response_model != '', sent_response_model, sent_model)",
}

_TOKENS: Final = {
    "kind": (
        "multiIf(sent_kind != '', sent_kind, model != '' AND sent_input_tokens > 0, 'llm', "
        f"{array(map(quoted, OTEL_KINDS))}[least(greatest(otel_kind, 0), 5) + 1])"
    ),
    # Conventions differ in whether input includes what came from the cache, and output the reasoning: where
    # the parts do not fit into the whole, or the total says so, they are added.
    "input_tokens": (
        "toUInt32(if(cached_tokens > sent_input_tokens OR (cached_tokens > 0 AND "
        "sent_total_tokens = sent_input_tokens + cached_tokens + sent_output_tokens), "
        "sent_input_tokens + cached_tokens, sent_input_tokens))"
    ),
    # The model that answered is looked up first, then the one asked for.
    "answering_rates": "dictGet('model_rates', 'rates', (sent_provider, answering_model))",
    "asked_rates": "dictGet('model_rates', 'rates', (sent_provider, model))",
}

_RATE: Final = {
    "is_call": f"kind IN ({', '.join(map(quoted, CALL_KINDS))})",
    "output_tokens": (
        "toUInt32(if(sent_reasoning_tokens > sent_output_tokens OR (sent_reasoning_tokens > 0 AND "
        "sent_total_tokens = input_tokens + sent_output_tokens + sent_reasoning_tokens), "
        "sent_output_tokens + sent_reasoning_tokens, sent_output_tokens))"
    ),
    # The rate in force is the last that matches (domain.pricing.Rate).
    "rate": (
        f"arrayLast((r, t) -> r.1 <= t AND r.2 <= t % 86400 AND t % 86400 < r.3 AND r.4 <= input_tokens, "
        "if(empty(answering_rates), asked_rates, answering_rates) AS rates, "
        f"arrayResize([{_SECONDS}], length(rates), {_SECONDS}))"
    ),
    "priced": "notEmpty(answering_rates) OR notEmpty(asked_rates)",
}

STAGES: Final = (_SENT, _KINDS, _TOKENS, _RATE)
"""What each subquery adds to the columns of the one under it. Stages, because an alias used in the same SELECT is
expanded wherever it stands: in one statement the analysis alone took 800 ms a commit."""

_SAME: Final = (
    "agent_name", "agent_type", "agent_version", "workflow_id", "task_id", "task_type", "session_id", "user_id",
    "operation_name", "provider", "response_model", "tool_name", "prompt_version",
    "caller_trace_id", "input", "output", "cache_read_tokens", "cache_creation_tokens", "reasoning_tokens",
)  # fmt: skip

NORMALISED: Final = {
    **{name: f"sent_{name}" for name in _SAME},
    **{name: name for name in ("model", "kind", "is_call", "input_tokens", "output_tokens")},
    # Sent as a text, or as an array, whose bytes are 0x0a, length, 0x0a, length, text.
    "finish_reason": (
        "if(startsWith(sent_finish_reason, '\\n'), substring(sent_finish_reason, 5, "
        "reinterpretAsUInt8(substring(sent_finish_reason, 4, 1))), sent_finish_reason)"
    ),
    "agent_id": "if(sent_agent_id != '', sent_agent_id, sent_agent_name)",
    "error_type": (
        "multiIf(sent_error_type != '', sent_error_type, thrown = '', '', "
        # Behind a key that was written last, 0x12 is the event's name.
        f"thrown_at = 0 OR substring(thrown, thrown_at + 16, 1) != '\\n', extract(thrown, {_THROWN_FIRST}), "
        "substring(thrown, thrown_at + 18, reinterpretAsUInt8(substring(thrown, thrown_at + 17, 1))))"
    ),
    # A call that told no tokens, as a refused one, has no known cost: 0 would say that it was free.
    "cost": (
        "multiIf(NOT is_call, NULL, sent_given_cost IS NOT NULL, sent_given_cost, "
        "NOT priced OR input_tokens + output_tokens = 0, NULL, "
        "rate.5 * (input_tokens - least(input_tokens, cached_tokens)) "
        "+ rate.6 * sent_cache_read_tokens + rate.7 * sent_cache_creation_tokens "
        "+ rate.8 * (output_tokens - sent_reasoning_tokens) + rate.9 * sent_reasoning_tokens + rate.10)"
    ),
}
"""Column -> expression over the last stage."""
