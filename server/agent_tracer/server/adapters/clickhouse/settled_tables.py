"""Tables that the settler makes out of spans: tasks, calls between services, and what aggregates count."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.columns import COUNT as _COUNT
from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME
from agent_tracer.server.adapters.clickhouse.columns import TEXT as _TEXT
from agent_tracer.server.adapters.clickhouse.columns import TIME as _TIME

# What the settler makes is kept by the time it tells of, in weeks, so that reads that take the last version of each
# row (FINAL) never look across partitions.
_DERIVED: Final = "old_parts_lifetime = 480, ttl_only_drop_parts = 1"
_YEAR: Final = "TTL toDateTime(received_at) + INTERVAL 395 DAY"
_NAMES: Final = "Array(LowCardinality(String)) CODEC(ZSTD(1))"
_COUNTS: Final = "Array(UInt64) CODEC(ZSTD(1))"
_NUMBER: Final = "UInt64 CODEC(T64, LZ4)"
"""As small as with ZSTD, and read in half the time."""

TASKS: Final = f"""
CREATE TABLE tasks (
  tenant {_NAME},
  received_at {_TIME},
  settled_at {_TIME},
  agent_id {_NAME},
  start_time {_TIME},
  trace_id FixedString(16) CODEC(ZSTD(1)),
  span_id FixedString(8) CODEC(NONE),
  is_task Bool,
  agent_name {_NAME},
  agent_type {_NAME},
  agent_version {_NAME},
  task_id {_TEXT},
  task_type {_NAME},
  workflow_id {_NAME},
  session_id {_TEXT},
  service {_NAME},
  name {_NAME},
  duration_ns UInt64 CODEC(ZSTD(1)),
  status {_NAME},
  error_type {_NAME},
  calls {_COUNT},
  tool_calls {_COUNT},
  retries {_COUNT},
  input_tokens UInt64 CODEC(ZSTD(1)),
  output_tokens UInt64 CODEC(ZSTD(1)),
  cache_read_tokens UInt64 CODEC(ZSTD(1)),
  cache_creation_tokens UInt64 CODEC(ZSTD(1)),
  reasoning_tokens UInt64 CODEC(ZSTD(1)),
  cost Float64 CODEC(ZSTD(1)),
  unpriced_calls {_COUNT},
  models {_NAMES},
  prompt_version {_NAME},
  metadata Array(Tuple(key String, type UInt8, value String)) CODEC(ZSTD(1)),
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(start_time)
ORDER BY (tenant, agent_id, start_time, trace_id, span_id)
{_YEAR}
SETTINGS index_granularity = 2048, {_DERIVED}
"""

# A row is a trace's calls between two services in one minute. `client_ns` has 0 where the caller's span is no client
# span, so that its time says nothing about the call.
SERVICE_EDGES: Final = f"""
CREATE TABLE service_edges (
  tenant {_NAME},
  received_at {_TIME},
  settled_at {_TIME},
  minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  caller {_NAME},
  callee {_NAME},
  trace_id FixedString(16) CODEC(ZSTD(1)),
  calls {_COUNT},
  errors {_COUNT},
  server_ns {_COUNTS},
  client_ns {_COUNTS},
  server_ns_sum UInt64 CODEC(ZSTD(1)),
  client_ns_sum UInt64 CODEC(ZSTD(1)),
  gap_ns_sum Int64 CODEC(ZSTD(1)),
  gaps {_COUNT},
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(minute)
ORDER BY (tenant, minute, caller, callee, trace_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 2048, {_DERIVED}
"""

_UNIT: Final = "Enum8('trace' = 1, 'entry' = 2, 'task' = 3, 'tool' = 4, 'call' = 5)"

# What aggregates count. A unit that is none any more stays as a row with `is_unit` false. `task_agent` is the agent of a
# task, so that one whose agent turns out to be another can be withdrawn from `tasks`; empty for other units.
UNITS: Final = f"""
CREATE TABLE units (
  tenant {_NAME},
  unit {_UNIT},
  hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  span_id FixedString(8) CODEC(NONE),
  task_agent {_NAME},
  is_unit Bool,
  received_at DateTime64(9, 'UTC') CODEC(T64, LZ4),
  settled_at DateTime64(9, 'UTC') CODEC(T64, LZ4),
  start_time DateTime64(9, 'UTC') CODEC(T64, LZ4),
  duration_ns {_NUMBER},
  operation {_NAME},
  status {_NAME},
  quiet_status {_NAME},
  agent_id {_NAME},
  task_type {_NAME},
  service {_NAME},
  workflow_id {_NAME},
  model {_NAME},
  provider {_NAME},
  tool_name {_NAME},
  input_tokens {_NUMBER},
  output_tokens {_NUMBER},
  cache_read_tokens {_NUMBER},
  cache_creation_tokens {_NUMBER},
  reasoning_tokens {_NUMBER},
  cost Float64 CODEC(LZ4),
  unpriced {_NUMBER}
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(hour)
ORDER BY (tenant, unit, hour, trace_id, span_id, task_agent, start_time)
{_YEAR}
SETTINGS index_granularity = 2048, {_DERIVED}
"""

# The units of a whole hour by group, for ranges of many; replaced as a whole. `amounts` are a group's sums, in the order
# of rollups.SUMS. Quantiles within half a per cent of the value (Masson et al., "DDSketch", VLDB 2019): merging them
# takes a quarter of the time of t-digests.
UNIT_HOURS: Final = f"""
CREATE TABLE unit_hours (
  tenant {_NAME},
  unit {_UNIT},
  hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  received_at {_TIME},
  settled_at {_TIME},
  operation {_NAMES},
  status {_NAMES},
  agent_id {_NAMES},
  task_type {_NAMES},
  service {_NAMES},
  workflow_id {_NAMES},
  model {_NAMES},
  provider {_NAMES},
  tool_name {_NAMES},
  count Array(UInt64) CODEC(ZSTD(1)),
  durations Array(AggregateFunction(quantilesDD(0.005, 0.5, 0.95, 0.99), UInt64)) CODEC(ZSTD(1)),
  amounts Array(Array(Float64)) CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(hour)
ORDER BY (tenant, unit, hour)
{_YEAR}
SETTINGS index_granularity = 16, {_DERIVED}
"""

# The tasks of an agent's whole hour by what analyses hold constant or compare, for agents of many; replaced as a whole.
# `sums` are a group's, in the order of task_hours.SUMS. `busy_ns`: how long at least one of the tasks that began in the
# hour was running; `peak`: how many of them at once.
TASK_HOURS: Final = f"""
CREATE TABLE task_hours (
  tenant {_NAME},
  agent_id {_NAME},
  hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  received_at {_TIME},
  settled_at {_TIME},
  task_type {_NAMES},
  agent_version {_NAMES},
  model {_NAMES},
  prompt_version {_NAMES},
  sums Array(Array(Float64)) CODEC(ZSTD(1)),
  busy_ns UInt64 CODEC(ZSTD(1)),
  peak UInt32 CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(hour)
ORDER BY (tenant, agent_id, hour)
{_YEAR}
SETTINGS index_granularity = 256, {_DERIVED}
"""

# Which hours of `unit_hours` and `task_hours` hold: those rolled up after they were settled last.
SETTLED_HOURS: Final = f"""
CREATE TABLE settled_hours (
  tenant {_NAME},
  hour DateTime('UTC'),
  received_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  settled_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  considered_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  rolled_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  rolled_units SimpleAggregateFunction(max, UInt64)
) ENGINE = AggregatingMergeTree
ORDER BY (tenant, hour)
{_YEAR}
SETTINGS index_granularity = 1024, old_parts_lifetime = 480
"""

# Hours that were rolled up before `task_hours` was there.
ROLL_ANEW: Final = """
INSERT INTO settled_hours (tenant, hour, received_at, settled_at)
SELECT DISTINCT tenant, hour, now64(9), greatest(now64(9), (SELECT max(rolled_at) FROM settled_hours) + toIntervalNanosecond(1))
FROM settled_hours
"""

SETTLED_TO: Final = """
CREATE TABLE settled_to (
  name String,
  received_at DateTime64(9, 'UTC'),
  version DateTime64(9, 'UTC')
) ENGINE = ReplacingMergeTree(version) ORDER BY name
SETTINGS old_parts_lifetime = 480
"""

ALL: Final = (TASKS, SERVICE_EDGES, UNITS, UNIT_HOURS, SETTLED_HOURS, SETTLED_TO)
