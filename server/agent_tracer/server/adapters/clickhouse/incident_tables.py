"""The table of incidents."""

from typing import Final

from agent_tracer.server.adapters.clickhouse.columns import NAME as _NAME
from agent_tracer.server.adapters.clickhouse.columns import TEXT as _TEXT
from agent_tracer.server.adapters.clickhouse.columns import TIME as _TIME

# One row a version of an incident: the whole of it as JSON, and what lists ask for beside it. What is not known to be
# over ends at the last of all times.
INCIDENTS: Final = f"""
CREATE TABLE incidents (
  tenant {_NAME},
  received_at {_TIME},
  incident_id {_TEXT},
  version UInt64 CODEC(ZSTD(1)),
  status {_NAME},
  service {_NAME},
  start_ns Int64 CODEC(ZSTD(1)),
  end_ns Int64 CODEC(ZSTD(1)),
  content {_TEXT}
) ENGINE = ReplacingMergeTree(version)
ORDER BY (tenant, incident_id)
TTL toDateTime(received_at) + INTERVAL 395 DAY
SETTINGS index_granularity = 256, fsync_after_insert = 1, fsync_part_directory = 1
"""

ALL: Final[tuple[str, ...]] = (INCIDENTS,)
