"""The tables of failed runs and their signatures."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME
from agent_tracer.server.adapters.clickhouse.columns import TEXT as _TEXT
from agent_tracer.server.adapters.clickhouse.columns import TIME as _TIME

# One row a run that has failed. One that turned out well after all stays as a row with `is_failed` false. `is_rooted`:
# its root span has come, so that its status is known.
FAILURES: Final = f"""
CREATE TABLE failures (
  tenant {_NAME},
  received_at {_TIME},
  signed_at {_TIME},
  trace_id FixedString(16) CODEC(NONE),
  caller_trace_id {_TEXT},
  start_time {_TIME},
  is_failed Bool,
  is_rooted Bool,
  group_id {_NAME},
  step_kind {_NAME},
  step_name {_NAME},
  error_type {_NAME},
  message_template {_TEXT},
  agents Array(LowCardinality(String)) CODEC(ZSTD(1)),
  cost Nullable(Float64) CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(signed_at)
ORDER BY (tenant, trace_id)
TTL toDateTime(received_at) + INTERVAL 30 DAY
SETTINGS index_granularity = 1024, old_parts_lifetime = 480
"""

ALL: Final[tuple[str, ...]] = (FAILURES,)
