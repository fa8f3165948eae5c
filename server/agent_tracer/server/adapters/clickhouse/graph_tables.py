"""The tables of the graph of components and calls."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME
from agent_tracer.server.adapters.clickhouse.columns import TEXT as _TEXT
from agent_tracer.server.adapters.clickhouse.columns import TIME as _TIME

_BINS: Final = "Array(Array(UInt16)) CODEC(ZSTD(1))"
_NAMES: Final = "Array(LowCardinality(String)) CODEC(ZSTD(1))"
_COUNTS: Final = "Array(UInt64) CODEC(ZSTD(1))"
_LISTS: Final = "Array(Array(UInt64)) CODEC(ZSTD(1))"
_DERIVED: Final = "old_parts_lifetime = 480, ttl_only_drop_parts = 1"
_VERSION: Final = "UInt64 CODEC(ZSTD(1))"

# What the settler makes of a trace's spans that began in five minutes: calls of agents and of databases, which are no
# calls between services. One row a trace, so that it is replaced as a whole.
COMPONENT_CALLS: Final = f"""
CREATE TABLE component_calls (
  tenant {_NAME},
  received_at {_TIME},
  settled_at {_TIME},
  start DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  trace_id FixedString(16) CODEC(ZSTD(1)),
  calls Array(Tuple(source_kind LowCardinality(String), source LowCardinality(String),
    target_kind LowCardinality(String), target LowCardinality(String), duration_ns UInt64, failed Bool)) CODEC(ZSTD(1)),
  INDEX trace_id_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(start)
ORDER BY (tenant, start, trace_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 2048, {_DERIVED}
"""

# Five minutes of which something was settled, or removed, and when.
SETTLED_BUCKETS: Final = """
CREATE TABLE settled_buckets (
  tenant LowCardinality(String),
  start DateTime('UTC'),
  received_at SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  settled_at SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
) ENGINE = AggregatingMergeTree
ORDER BY (tenant, start)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, old_parts_lifetime = 480
"""

# A row is replaced as a whole, so that what is no call any more goes with it.
GRAPH_BUCKETS: Final = f"""
CREATE TABLE graph_buckets (
  tenant {_NAME},
  received_at DateTime64(9, 'UTC') DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
  start DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  settled_ns {_VERSION},
  version {_VERSION},
  left_out UInt32 CODEC(ZSTD(1)),
  node_kind {_NAMES},
  node_id {_NAMES},
  node_calls {_COUNTS},
  node_errors {_COUNTS},
  node_bins {_BINS},
  node_counts {_LISTS},
  source_kind {_NAMES},
  source {_NAMES},
  target_kind {_NAMES},
  target {_NAMES},
  calls {_COUNTS},
  errors {_COUNTS},
  bins {_BINS},
  counts {_LISTS},
  gap_bins {_BINS},
  gap_counts {_LISTS}
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toMonday(start)
ORDER BY (tenant, start)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 16, {_DERIVED}
"""

GRAPH_FACTS: Final = f"""
CREATE TABLE graph_facts (
  tenant {_NAME},
  received_at DateTime64(9, 'UTC') DEFAULT now64(9) CODEC(Delta(8), ZSTD(1)),
  kind {_NAME},
  id {_TEXT},
  version {_VERSION},
  about_kind {_NAME},
  about {_TEXT},
  title {_TEXT},
  start_time {_TIME},
  end_time_ns UInt64 CODEC(ZSTD(1)),
  confidence Float64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (tenant, kind, id)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 256, old_parts_lifetime = 480
"""

# What was settled before these tables were there.
SETTLED_EARLIER: Final = """
INSERT INTO settled_buckets (tenant, start, received_at, settled_at)
SELECT DISTINCT tenant, toStartOfFiveMinutes(start_time), now64(9), now64(9) FROM units WHERE hour > now() - INTERVAL 30 DAY
"""

ALL: Final = (COMPONENT_CALLS, SETTLED_BUCKETS, GRAPH_BUCKETS, GRAPH_FACTS, SETTLED_EARLIER)
