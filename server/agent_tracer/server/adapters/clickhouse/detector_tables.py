"""The tables of what the detector watches."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.columns import COUNT as _COUNT
from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME

# A service's entries or an agent's tasks that began in five minutes, made anew as a whole. `settled_at` is the time of
# the pass that made the row, by which what a pass changed is found again.
WATCHED_BUCKETS: Final = f"""
CREATE TABLE watched_buckets (
  tenant {_NAME},
  kind Enum8('service' = 1, 'agent' = 2),
  name {_NAME},
  bucket DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
  received_at DateTime64(9, 'UTC') CODEC(T64, ZSTD(1)),
  settled_at DateTime64(9, 'UTC') CODEC(T64, ZSTD(1)),
  service {_NAME},
  calls {_COUNT},
  errors {_COUNT},
  latency_ms Float32 CODEC(ZSTD(1)),
  tokens UInt64 CODEC(T64, ZSTD(1)),
  cost Float64 CODEC(ZSTD(1)),
  INDEX passes settled_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toMonday(bucket)
ORDER BY (tenant, kind, name, bucket)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, old_parts_lifetime = 480, ttl_only_drop_parts = 1
"""

ALL: Final[tuple[str, ...]] = (WATCHED_BUCKETS,)
