"""The views that turn OTLP requests into rows. Made anew whenever their text changes; they hold no data."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.normalise import (
    INPUT_TAKEN,
    NORMALISED,
    OUTPUT_TAKEN,
    PICKED,
    STAGES,
)
from agent_tracer.server.adapters.clickhouse.sql import nanoseconds, text_map, value_text, value_texts, value_types

# The resource and the scope are made into columns once a request, before they are repeated for each of its items.
_RESOURCES: Final = f"""
  SELECT tenant, received, mapKeys(r.resource.attributes) AS resource_keys,
    {value_texts("r.resource.attributes")} AS resource_texts,
    {value_types("r.resource.attributes")} AS resource_types,
    resource_texts[indexOf(resource_keys, 'service.name')] AS service,
    {text_map("resource_keys", "resource_texts")} AS resource,
    r.resource.dropped AS resource_dropped, r.resource.entity_refs AS entity_refs,
    r.schema_url AS resource_schema_url, r.scopes AS scopes
  FROM {{source}} ARRAY JOIN request.resources AS r"""

_SCOPES: Final = f"""
  SELECT tenant, received, service, resource, resource_types, resource_dropped, entity_refs, resource_schema_url,
    s.scope.name AS scope_name, s.scope.version AS scope_version, s.scope.dropped AS scope_dropped,
    {text_map("mapKeys(s.scope.attributes)", value_texts("s.scope.attributes"))} AS scope_attributes,
    {value_types("s.scope.attributes")} AS scope_types,
    s.schema_url AS scope_schema_url, s.items AS items
  FROM ({_RESOURCES}) ARRAY JOIN scopes AS s"""

_OWNER_COLUMNS: Final = (
    "tenant", "service", "resource", "resource_types", "resource_schema_url", "entity_refs",
    "scope_name", "scope_version", "scope_attributes", "scope_types", "scope_schema_url",
)  # fmt: skip


def items(source: str) -> str:
    """A subquery of one row an item of a request, with the columns of its resource and scope."""
    return f"({_SCOPES.format(source=source)})"


def _dropped(*counts: str) -> str:
    """The counts of what senders dropped; empty where nothing was, as nearly always."""
    return f"if({' + '.join(counts)} = 0, [], [{', '.join(counts)}]) AS dropped_counts"


_TAKEN: Final = "arrayMap((v, n) -> if(n = input_place OR n = output_place, '', v), texts, arrayEnumerate(texts))"
_TAKEN_TYPES: Final = (
    f"arrayMap((t, n) -> toUInt8(t + multiIf(n = input_place, {INPUT_TAKEN}, n = output_place, {OUTPUT_TAKEN}, 0)), "
    "types, arrayEnumerate(types))"
)

_SPAN_COLUMNS: Final = (
    "received_at", "trace_id", "span_id", "parent_span_id", "start_time", "duration_ns", "name", "otel_kind", "status",
    "status_message", "trace_state", "flags", "dropped_counts", "events", "links",
)  # fmt: skip

_SPAN_ITEMS: Final = f"""
SELECT {", ".join(_OWNER_COLUMNS)},
  {nanoseconds("received")} AS received_at,
  toFixedString(sp.trace_id, 16) AS trace_id,
  toFixedString(sp.span_id, 8) AS span_id,
  toFixedString(sp.parent_span_id, 8) AS parent_span_id,
  {nanoseconds("sp.start_ns")} AS start_time,
  sp.end_ns - sp.start_ns AS duration_ns,
  sp.name AS name,
  sp.kind AS otel_kind,
  sp.status.code AS status,
  sp.status.message AS status_message,
  sp.trace_state AS trace_state,
  sp.flags AS flags,
  {_dropped("sp.dropped_attributes", "sp.dropped_events", "sp.dropped_links", "resource_dropped", "scope_dropped")},
  sp.events AS events,
  sp.links AS links,
  mapKeys(sp.attributes) AS keys,
  {value_texts("sp.attributes")} AS texts,
  {value_types("sp.attributes")} AS types,
  {", ".join(f"{expression} AS {name}" for name, expression in PICKED.items())}
FROM {items("otlp_traces")} ARRAY JOIN items AS sp"""


def staged(inner: str, given: Sequence[str], stages: Sequence[Mapping[str, str]]) -> str:
    """Nested subqueries, one a stage; each passes on just the columns that a later one names.

    `given` are the columns of `inner`, which is a SELECT. The last stage's columns are the result's.
    """
    columns = list(given)
    for number, stage in enumerate(stages):
        later = {word for after in stages[number + 1 :] for text in after.values() for word in _WORD.findall(text)}
        kept = [c for c in columns if c in later]
        made = ", ".join(f"{expression} AS {column}" for column, expression in stage.items())
        inner = f"SELECT {', '.join((*kept, made))} FROM ({inner})"
        columns = kept + list(stage)
    return inner


_WORD: Final = re.compile(r"[a-z_]+")

SPANS: Final = staged(
    _SPAN_ITEMS,
    (*_OWNER_COLUMNS, *_SPAN_COLUMNS, "keys", "texts", "types", *PICKED),
    (
        *STAGES,
        {
            **{column: column for column in (*_OWNER_COLUMNS, *_SPAN_COLUMNS)},
            **NORMALISED,
            "attributes": text_map("keys", _TAKEN),
            "attribute_types": _TAKEN_TYPES,
        },
    ),
)

_ROOT: Final = "s.parent_span_id = toFixedString('', 8)"
ROOT_STATUS: Final = "multiIf(s.status != 2, 'success', multiSearchAnyCaseInsensitive(s.error_type, ['timeout', 'deadline']), 'timeout', 'error')"
"""How a root span's end reads as the status of its trace."""

WORST_STATUS: Final = "['', 'success', 'timeout', 'error']"
"""Statuses by rank: a trace of several roots has the worst of theirs; without a root it has none yet."""


RANK: Final = "toUnixTimestamp64Nano({start_time}) - if(is_root, 4611686018427387904, 0)"
"""Roots by their start, and behind them all other spans by theirs."""

OF_ROOT: Final = ("agent_id", "workflow_id", "session_id", "task_type", "caller_trace_id")
"""What a trace has of the first span, by RANK, that says anything; `value_ranks` are the ranks of those, in this order.
Which spans came in one commit must not show."""


def first_by_rank(column: str, name: str) -> str:
    """The value of the first span that has one; the smallest where two are level. Over the columns `rank` and `name`."""
    return f"argMinIf({column}, (rank, {column}), {column} != '') AS {name}"


TRACES: Final = f"""
WITH {_ROOT} AS is_root, {RANK.format(start_time="s.start_time")} AS rank,
  s.agent_id != '' OR s.task_id != '' AS may_be_task,
  if(is_root OR may_be_task, arrayFilter(m -> startsWith(m.1, 'metadata'),
    arrayZip(mapKeys(s.attributes), s.attribute_types, mapValues(s.attributes))), []) AS described
SELECT s.tenant AS tenant, min(s.received_at) AS received_at, s.trace_id AS trace_id,
  min(s.start_time) AS start_time, max(s.start_time + toIntervalNanosecond(s.duration_ns)) AS end_time,
  toUInt32(countIf(is_root)) AS roots,
  if(roots > 0, argMinIf(s.name, s.start_time, is_root), argMin(s.name, s.start_time)) AS operation,
  argMin({ROOT_STATUS}, s.start_time) AS first_status,
  {WORST_STATUS}[maxIf(indexOf({WORST_STATUS}, {ROOT_STATUS}), is_root)] AS status,
  {", ".join(first_by_rank(f"s.{column}", column) for column in OF_ROOT)},
  [{", ".join(f"minIf(rank, s.{column} != '')" for column in OF_ROOT)}] AS value_ranks,
  argMinIf(described, s.start_time, is_root) AS metadata,
  groupArrayIf((s.span_id, described), may_be_task AND notEmpty(described)) AS span_metadata,
  groupUniqArray(toStartOfHour(s.start_time)) AS hours,
  groupUniqArrayIf(s.agent_id, s.agent_id != '') AS agents,
  groupUniqArray(s.service) AS services,
  groupUniqArrayIf(s.model, s.model != '') AS models,
  groupUniqArray(s.span_id) AS span_ids,
  groupUniqArrayIf(s.span_id, s.status = 2) AS error_ids,
  groupUniqArrayIf((s.span_id, s.input_tokens, s.output_tokens, s.cache_read_tokens, s.cache_creation_tokens,
    s.reasoning_tokens, s.cost), s.is_call AND (s.input_tokens + s.output_tokens > 0 OR s.cost IS NOT NULL))
    AS calls
FROM spans AS s GROUP BY s.tenant, s.trace_id
"""

LOGS: Final = f"""
SELECT {", ".join(_OWNER_COLUMNS)},
  {nanoseconds("received")} AS received_at,
  {nanoseconds("if(item.time_ns > 0, item.time_ns, if(item.observed_ns > 0, item.observed_ns, received))")} AS time,
  {nanoseconds("item.observed_ns")} AS observed_time,
  item.time_ns AS sent_time_ns,
  item.trace_id AS trace_id,
  item.span_id AS span_id,
  item.severity_number AS severity_number,
  item.severity_text AS severity_text,
  item.event_name AS event_name,
  {value_text("item.body")} AS body,
  toUInt8(item.body.value) AS body_type,
  item.flags AS flags,
  {_dropped("item.dropped_attributes", "resource_dropped", "scope_dropped")},
  {text_map("mapKeys(item.attributes)", value_texts("item.attributes"))} AS attributes,
  {value_types("item.attributes")} AS attribute_types
FROM {items("otlp_logs")} ARRAY JOIN items AS item
"""

_EVALUATION: Final = "gen_ai.evaluation"
LOGGED_EVALUATIONS: Final = f"""
SELECT l.tenant AS tenant, l.received_at AS received_at, toFixedString(l.trace_id, 16) AS trace_id,
  lower(hex(sipHash128(l.span_id, l.attributes['{_EVALUATION}.name'], l.time, l.body))) AS evaluation_id,
  l.span_id AS span_id,
  l.attributes['{_EVALUATION}.name'] AS name,
  toFloat64OrNull(l.attributes['{_EVALUATION}.score.value']) AS score,
  l.attributes['{_EVALUATION}.score.label'] AS label,
  l.attributes['{_EVALUATION}.explanation'] AS explanation,
  if(l.attributes['{_EVALUATION}.annotator'] != '', l.attributes['{_EVALUATION}.annotator'], 'llm') AS annotator,
  l.time AS create_time
FROM logs AS l WHERE l.event_name = 'gen_ai.evaluation.result' AND length(l.trace_id) = 16
"""

# Each kind of point is made into the same tuple, so that one pass over a request makes all rows.
_POINT_FIELDS: Final = {
    "type": "Int8", "temporality": "Int32", "monotonic": "Bool", "time_ns": "UInt64", "start_time_ns": "UInt64",
    "int_value": "Nullable(Int64)", "double_value": "Nullable(Float64)", "count": "UInt64",
    "sum": "Nullable(Float64)", "min": "Nullable(Float64)", "max": "Nullable(Float64)", "bounds": "Array(Float64)",
    "bucket_counts": "Array(UInt64)", "scale": "Int32", "zero_count": "UInt64", "zero_threshold": "Float64",
    "positive_offset": "Int32", "negative_offset": "Int32", "negative_counts": "Array(UInt64)",
    "quantiles": "Array(Tuple(Float64, Float64))", "flags": "UInt32", "exemplars": "Array(String)",
    "attributes": "Map(LowCardinality(String), String)", "attribute_types": "Array(UInt8)",
}  # fmt: skip

_POINT_DEFAULTS: Final = {
    "temporality": "0", "monotonic": "false", "int_value": "NULL", "double_value": "NULL", "count": "0", "sum": "NULL",
    "min": "NULL", "max": "NULL", "bounds": "[]", "bucket_counts": "[]", "scale": "0", "zero_count": "0",
    "zero_threshold": "0", "positive_offset": "0", "negative_offset": "0", "negative_counts": "[]",
    "quantiles": "[]", "exemplars": "p.exemplars",
    "time_ns": "p.time_ns", "start_time_ns": "p.start_ns", "flags": "p.flags",
    "attributes": text_map("mapKeys(p.attributes)", value_texts("p.attributes")),
    "attribute_types": value_types("p.attributes"),
}  # fmt: skip

_NUMBERS: Final = {
    "int_value": "if(p.value = 'i', p.i, NULL)",
    "double_value": "if(p.value = 'd', p.d, NULL)",
}
_TOTALS: Final = {"count": "p.count", "sum": "p.sum"}
_EXTREMES: Final = {"min": "p.min", "max": "p.max"}


def _points(source: str, **fields: str) -> str:
    values = {**_POINT_DEFAULTS, **fields}
    types = ", ".join(f"{name} {type_}" for name, type_ in _POINT_FIELDS.items())
    made = ", ".join(values[name] for name in _POINT_FIELDS)
    return f"arrayMap(p -> CAST(({made}), 'Tuple({types})'), {source}.points)"


_ALL_POINTS: Final = ", ".join(
    (
        _points("item.gauge", type="1", **_NUMBERS),
        _points("item.sum", type="2", temporality="item.sum.temporality", monotonic="item.sum.monotonic", **_NUMBERS),
        _points(
            "item.histogram",
            type="3",
            temporality="item.histogram.temporality",
            bounds="p.bounds",
            bucket_counts="p.bucket_counts",
            **_TOTALS,
            **_EXTREMES,
        ),
        _points(
            "item.exponential",
            type="4",
            temporality="item.exponential.temporality",
            scale="p.scale",
            zero_count="p.zero_count",
            zero_threshold="p.zero_threshold",
            positive_offset="p.positive.offset",
            bucket_counts="p.positive.bucket_counts",
            negative_offset="p.negative.offset",
            negative_counts="p.negative.bucket_counts",
            **_TOTALS,
            **_EXTREMES,
        ),
        _points("item.summary", type="5", quantiles="p.quantiles", exemplars="[]", **_TOTALS),
    )
)

METRIC_POINTS: Final = f"""
SELECT {", ".join(_OWNER_COLUMNS)},
  received_at, metric, description, unit, metadata, metadata_types, dropped_counts,
  {nanoseconds("point.time_ns")} AS time,
  {", ".join(f"point.{name} AS {name}" for name in _POINT_FIELDS if name != "time_ns")}
FROM (
  SELECT {", ".join(_OWNER_COLUMNS)}, {nanoseconds("received")} AS received_at, item.name AS metric,
    item.description AS description, item.unit AS unit,
    {text_map("mapKeys(item.metadata)", value_texts("item.metadata"))} AS metadata,
    {value_types("item.metadata")} AS metadata_types,
    {_dropped("resource_dropped", "scope_dropped")},
    arrayConcat({_ALL_POINTS}) AS points
  FROM {items("otlp_metrics")} ARRAY JOIN items AS item
) ARRAY JOIN points AS point
"""
