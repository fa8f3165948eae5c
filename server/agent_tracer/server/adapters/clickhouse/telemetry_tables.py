"""What reading telemetry by time needs besides the tables of raw telemetry: indexes, and a number for each series."""

from typing import Final

# Parts are of a day of receipt, and within one rows are not by time alone.
_TIMES: Final = tuple(
    f"ALTER TABLE {table} ADD INDEX times time TYPE minmax GRANULARITY 1" for table in ("logs", "metric_points")
)

# Hashing two maps takes five times as long as reading all other columns of a point that a series needs. The whole
# resource counts: instances differ in some key of it, though senders do not agree in which.
SERIES: Final = """
ALTER TABLE metric_points ADD COLUMN series UInt64
MATERIALIZED cityHash64(metric, service, mapKeys(attributes), mapValues(attributes), mapKeys(resource), mapValues(resource))
CODEC(ZSTD(1))
"""

ALL: Final = (*_TIMES, SERIES)
"""Changes to tables of the first migration."""
