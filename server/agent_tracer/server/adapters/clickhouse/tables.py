"""The tables, as numbered migrations. Forward only; a released one is never edited."""

from typing import Final

from agent_tracer.server.adapters.clickhouse import (
    detector_tables,
    failure_tables,
    graph_tables,
    incident_tables,
    settled_tables,
    telemetry_tables,
)
from agent_tracer.server.adapters.clickhouse.columns import COUNT as _COUNT
from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME
from agent_tracer.server.adapters.clickhouse.columns import TEXT as _TEXT
from agent_tracer.server.adapters.clickhouse.columns import TIME as _TIME

_MAP: Final = "Map(LowCardinality(String), String) CODEC(ZSTD(1))"
_TYPES: Final = "Array(UInt8) CODEC(ZSTD(1))"

# Parts are made by receipt: an insert touches one partition, and so is atomic, and old days go as whole files.
_BY_RECEIPT: Final = "PARTITION BY toDate(received_at)"
_SETTINGS: Final = "old_parts_lifetime = 480, non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1"

_RESOURCE_COLUMNS: Final = f"""
  service {_NAME},
  resource {_MAP},
  resource_types {_TYPES},
  resource_schema_url {_NAME},
  entity_refs Array(String) CODEC(ZSTD(1)),
  scope_name {_NAME},
  scope_version {_NAME},
  scope_attributes {_MAP},
  scope_types {_TYPES},
  scope_schema_url {_NAME},
  dropped_counts Array(UInt32) CODEC(ZSTD(1)),"""

SPANS: Final = f"""
CREATE TABLE spans (
  tenant {_NAME},
  received_at {_TIME},
  trace_id FixedString(16) CODEC(ZSTD(1)),
  span_id FixedString(8) CODEC(NONE),
  parent_span_id FixedString(8) CODEC(ZSTD(1)),
  start_time {_TIME},
  duration_ns UInt64 CODEC(ZSTD(1)),
  name {_NAME},
  otel_kind Int32 CODEC(ZSTD(1)),
  kind {_NAME},
  status Int32 CODEC(ZSTD(1)),
  status_message {_TEXT},
  trace_state {_TEXT},
  flags {_COUNT},{_RESOURCE_COLUMNS}
  agent_id {_NAME},
  agent_name {_NAME},
  agent_type {_NAME},
  agent_version {_NAME},
  workflow_id {_NAME},
  task_id {_TEXT},
  task_type {_NAME},
  session_id {_TEXT},
  user_id {_TEXT},
  operation_name {_NAME},
  provider {_NAME},
  model {_NAME},
  response_model {_NAME},
  tool_name {_NAME},
  finish_reason {_NAME},
  error_type {_NAME},
  prompt_version {_NAME},
  caller_trace_id {_TEXT},
  input_tokens {_COUNT},
  output_tokens {_COUNT},
  cache_read_tokens {_COUNT},
  cache_creation_tokens {_COUNT},
  reasoning_tokens {_COUNT},
  is_call Bool,
  cost Nullable(Float64) CODEC(ZSTD(1)),
  input {_TEXT},
  output {_TEXT},
  attributes {_MAP},
  attribute_types {_TYPES},
  events Array(String) CODEC(ZSTD(1)),
  links Array(String) CODEC(ZSTD(1)),
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX input_words input TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(input)) GRANULARITY 64,
  INDEX output_words output TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(output)) GRANULARITY 64
) ENGINE = ReplacingMergeTree
{_BY_RECEIPT}
ORDER BY (tenant, toStartOfHour(start_time), trace_id, start_time, span_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 2048, {_SETTINGS}
"""

# One row a trace and commit. Counting must not depend on how often a span was delivered, so that a row lists its
# spans and calls instead of adding them up; a read unites the rows of a trace.
TRACES: Final = f"""
CREATE TABLE traces (
  tenant {_NAME},
  received_at {_TIME},
  trace_id FixedString(16) CODEC(ZSTD(1)),
  start_time {_TIME},
  end_time {_TIME},
  roots {_COUNT},
  operation {_NAME},
  status {_NAME},
  first_status {_NAME},
  agent_id {_NAME},
  workflow_id {_NAME},
  session_id {_TEXT},
  task_type {_NAME},
  caller_trace_id {_TEXT},
  value_ranks Array(Int64) CODEC(ZSTD(1)),
  metadata Array(Tuple(key String, type UInt8, value String)) CODEC(ZSTD(1)),
  span_metadata Array(Tuple(span_id FixedString(8), metadata Array(Tuple(key String, type UInt8, value String))))
    CODEC(ZSTD(1)),
  hours Array(DateTime('UTC')) CODEC(ZSTD(1)),
  agents Array(LowCardinality(String)) CODEC(ZSTD(1)),
  services Array(LowCardinality(String)) CODEC(ZSTD(1)),
  models Array(LowCardinality(String)) CODEC(ZSTD(1)),
  span_ids Array(FixedString(8)) CODEC(ZSTD(1)),
  error_ids Array(FixedString(8)) CODEC(ZSTD(1)),
  calls Array(Tuple(span_id FixedString(8), input UInt32, output UInt32, cache_read UInt32, cache_creation UInt32,
    reasoning UInt32, cost Nullable(Float64))) CODEC(ZSTD(1)),
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX receipt received_at TYPE minmax GRANULARITY 1
) ENGINE = MergeTree
{_BY_RECEIPT}
ORDER BY (tenant, start_time, trace_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, {_SETTINGS}
"""

LOGS: Final = f"""
CREATE TABLE logs (
  tenant {_NAME},
  received_at {_TIME},
  time {_TIME},
  observed_time {_TIME},
  sent_time_ns UInt64 CODEC(ZSTD(1)),
  trace_id String CODEC(ZSTD(1)),
  span_id String CODEC(ZSTD(1)),
  severity_number Int32 CODEC(ZSTD(1)),
  severity_text {_NAME},
  event_name {_NAME},
  body {_TEXT},
  body_type UInt8 CODEC(ZSTD(1)),
  flags {_COUNT},{_RESOURCE_COLUMNS}
  attributes {_MAP},
  attribute_types {_TYPES},
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
  INDEX body_words body TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(body)) GRANULARITY 64
) ENGINE = MergeTree
{_BY_RECEIPT}
ORDER BY (tenant, service, time)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 4096, {_SETTINGS}
"""

METRIC_POINTS: Final = f"""
CREATE TABLE metric_points (
  tenant {_NAME},
  received_at {_TIME},
  metric {_NAME},
  description {_NAME},
  unit {_NAME},
  type Enum8('gauge' = 1, 'sum' = 2, 'histogram' = 3, 'exponential_histogram' = 4, 'summary' = 5),
  temporality Int32 CODEC(ZSTD(1)),
  monotonic Bool CODEC(ZSTD(1)),
  time {_TIME},
  start_time_ns UInt64 CODEC(Delta(8), ZSTD(1)),
  int_value Nullable(Int64) CODEC(ZSTD(1)),
  double_value Nullable(Float64) CODEC(ZSTD(1)),
  count UInt64 CODEC(ZSTD(1)),
  sum Nullable(Float64) CODEC(ZSTD(1)),
  min Nullable(Float64) CODEC(ZSTD(1)),
  max Nullable(Float64) CODEC(ZSTD(1)),
  bounds Array(Float64) CODEC(ZSTD(1)),
  bucket_counts Array(UInt64) CODEC(ZSTD(1)),
  scale Int32 CODEC(ZSTD(1)),
  zero_count UInt64 CODEC(ZSTD(1)),
  zero_threshold Float64 CODEC(ZSTD(1)),
  positive_offset Int32 CODEC(ZSTD(1)),
  negative_offset Int32 CODEC(ZSTD(1)),
  negative_counts Array(UInt64) CODEC(ZSTD(1)),
  quantiles Array(Tuple(Float64, Float64)) CODEC(ZSTD(1)),
  flags {_COUNT},
  exemplars Array(String) CODEC(ZSTD(1)),
  metadata {_MAP},
  metadata_types {_TYPES},{_RESOURCE_COLUMNS}
  attributes {_MAP},
  attribute_types {_TYPES}
) ENGINE = MergeTree
{_BY_RECEIPT}
ORDER BY (tenant, metric, service, time)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 4096, {_SETTINGS}
"""

EVALUATIONS: Final = f"""
CREATE TABLE evaluations (
  tenant {_NAME},
  received_at {_TIME},
  trace_id FixedString(16) CODEC(ZSTD(1)),
  evaluation_id {_TEXT},
  span_id String CODEC(ZSTD(1)),
  name {_NAME},
  score Nullable(Float64) CODEC(ZSTD(1)),
  label {_NAME},
  explanation {_TEXT},
  annotator {_NAME},
  create_time {_TIME}
) ENGINE = ReplacingMergeTree(received_at)
ORDER BY (tenant, trace_id, evaluation_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, old_parts_lifetime = 480, non_replicated_deduplication_window = 10000
"""

QUARANTINE: Final = f"""
CREATE TABLE quarantine (
  tenant {_NAME},
  received_at {_TIME},
  signal Int8,
  reason {_TEXT},
  payload {_TEXT}
) ENGINE = MergeTree
{_BY_RECEIPT}
ORDER BY (tenant, received_at)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS {_SETTINGS}
"""

MODEL_RATES: Final = (
    """
CREATE TABLE model_rate_rows (
  provider String,
  model String,
  rates Array(Tuple(Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64))
) ENGINE = ReplacingMergeTree ORDER BY (provider, model)
""",
    """
CREATE DICTIONARY model_rates (
  provider String,
  model String,
  rates Array(Tuple(Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64, Float64))
) PRIMARY KEY provider, model
SOURCE(CLICKHOUSE(TABLE 'model_rate_rows')) LAYOUT(COMPLEX_KEY_HASHED()) LIFETIME(0)
""",
)

# Answers that are kept, each as the JSON of the message that its caller got.
SCORES: Final = f"""
CREATE TABLE scores (
  tenant {_NAME},
  received_at {_TIME},
  agent_id {_NAME},
  score_id {_TEXT},
  content {_TEXT}
) ENGINE = MergeTree
ORDER BY (tenant, agent_id, received_at, score_id)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 256
"""
BENCHMARKS: Final = f"""
CREATE TABLE benchmarks (
  tenant {_NAME},
  received_at {_TIME},
  agent_id {_NAME},
  benchmark_id {_TEXT},
  content {_TEXT}
) ENGINE = MergeTree
ORDER BY (tenant, received_at, benchmark_id)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 256
"""
# One row a look at a comparison: how many tasks it stood on. Looks at growing data are corrected for.
LOOKS: Final = f"""
CREATE TABLE looks (
  tenant {_NAME},
  received_at {_TIME},
  comparison FixedString(16),
  tasks UInt64
) ENGINE = MergeTree
ORDER BY (tenant, comparison, tasks)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 256
"""

# The loader's cursor passes what was inserted, and then the journal lets go of it: so it has to be on disk by then, for
# the power may fail. Costs no CPU, and a commit some ten milliseconds. Merged parts are written back long before the
# parts that they were made of go (old_parts_lifetime).
_SYNCED: Final = "fsync_after_insert = 1, fsync_part_directory = 1"
_NOT_DERIVED: Final = ("spans", "traces", "logs", "metric_points", "evaluations", "quarantine", "scores", "benchmarks")

MIGRATIONS: Final = (
    (
        *(SPANS, TRACES, LOGS, METRIC_POINTS, EVALUATIONS, QUARANTINE, *MODEL_RATES),
        *settled_tables.ALL,
    ),
    (
        *(settled_tables.TASK_HOURS, settled_tables.ROLL_ANEW, SCORES, BENCHMARKS, LOOKS),
        *(f"ALTER TABLE {table} MODIFY SETTING {_SYNCED}" for table in _NOT_DERIVED),
    ),
    (*incident_tables.ALL, *failure_tables.ALL, *graph_tables.ALL, *detector_tables.ALL, *telemetry_tables.ALL),
)
"""Migration n is MIGRATIONS[n - 1]: the statements that bring a store from version n - 1 to n."""

RAW_TABLES: Final = (
    "spans",
    "traces",
    "logs",
    "metric_points",
    "evaluations",
    "quarantine",
    "service_edges",
    "failures",
    "component_calls",
    "settled_buckets",
    "watched_buckets",
)
"""Tables kept for store.retention_days."""

ROLLUP_TABLES: Final = (
    "tasks",
    "units",
    "unit_hours",
    "task_hours",
    "settled_hours",
    "scores",
    "benchmarks",
    "looks",
    "incidents",
    "graph_buckets",
    "graph_facts",
)
"""Tables kept for store.rollup_retention_days."""
