"""Sums of hours: the units of one hour by every column that aggregates group by, for ranges of many units.

An hour's sums hold as long as nothing in the hour is settled after them, which `settled_hours` tells: then they say what
the hour's units say, except that quantiles are t-digests. Hours of few units, or of too many groups, have none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.task_hours import are_worth_rolling, roll_tasks
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import (
    ROLL_GROUPS_MAX,
    ROLL_HOURS_MAX,
    ROLL_QUIET_SECONDS,
    ROLL_UNITS_MIN,
    TRACE_QUIET_SECONDS,
)

HOUR_SECONDS: Final = 3600
HOUR_NS: Final = HOUR_SECONDS * 1_000_000_000

KEYS: Final = (
    "operation", "status", "agent_id", "task_type", "service", "workflow_id", "model", "provider", "tool_name",
)  # fmt: skip
"""What units are grouped by, in the table's order."""

TOKENS: Final = (
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "reasoning_tokens",
)  # fmt: skip
SUMS: Final = (*TOKENS, "cost", "unpriced")
"""What of units is added up. Sums of tokens are exact up to 2^53, which all of a year's tokens stay below."""
AMOUNTS: Final = f"[{', '.join(f'sum(toFloat64({name}))' for name in SUMS)}]"

ROLLED_HOURS: Final = (
    "(toUnixTimestamp(hour), toUnixTimestamp64Nano(settled_at)) IN "
    "(SELECT arrayJoin(arrayZip({rolled:Array(UInt32)}, {versions:Array(Int64)})))"
)
"""Rows of summed-up hours that hold: those of the version that an hour was summed up at last."""

SKETCH: Final = "quantilesDD{}(0.005, 0.5, 0.95, 0.99)"
"""Aggregate function of durations, to be completed by a suffix such as State or Merge."""

STATUS: Final = f"if(quiet_status != '' AND received_at < now64() - INTERVAL {TRACE_QUIET_SECONDS} SECOND, quiet_status, toString(status))"
"""A unit's status. A trace without a root is running until it has been quiet for long."""


_WAITING: Final = """
SELECT tenant, toUnixTimestamp(hour), max(toUnixTimestamp64Nano(settled_at)) AS settled FROM settled_hours
GROUP BY tenant, hour
HAVING settled > max(toUnixTimestamp64Nano(considered_at)) AND settled < {quiet_from:Int64}
ORDER BY settled LIMIT {hours:UInt32}
"""
"""Those that were settled first come first: an hour that has to wait for its running traces was settled of late, and so
holds up no other for longer than these may run on."""

_OF_HOUR: Final = "tenant = {tenant:String} AND hour = {hour:DateTime('UTC')}"
_SIZE: Final = f"""
SELECT count(), max(quiet_status != '' AND received_at > fromUnixTimestamp64Nano({{running_from:Int64}}, 'UTC'))
FROM units FINAL WHERE {_OF_HOUR} AND is_unit
"""
_GROUPS: Final = f"""
SELECT max(groups) FROM (
  SELECT uniqCombined(({", ".join(KEYS)})) AS groups FROM units FINAL WHERE {_OF_HOUR} AND is_unit GROUP BY unit
)
"""
_ROLL: Final = f"""
INSERT INTO unit_hours (tenant, unit, hour, settled_at, received_at, {", ".join(KEYS)}, count, durations, amounts)
SELECT tenant, unit, hour, fromUnixTimestamp64Nano({{version:Int64}}, 'UTC'), max(received),
  {", ".join(f"groupArray({k}_key)" for k in KEYS)}, groupArray(units), groupArray(durations), groupArray(amounts)
FROM (
  SELECT tenant, unit, hour, max(received_at) AS received, {", ".join(f"{STATUS if k == 'status' else k} AS {k}_key" for k in KEYS)},
    count() AS units, {SKETCH.format("State")}(duration_ns) AS durations, {AMOUNTS} AS amounts
  FROM units FINAL WHERE {_OF_HOUR} AND is_unit
  GROUP BY tenant, unit, hour, {", ".join(f"{k}_key" for k in KEYS)}
) GROUP BY tenant, unit, hour
"""
_CONSIDERED: Final = """
INSERT INTO settled_hours (tenant, hour, received_at, considered_at, rolled_at, rolled_units)
SELECT {tenant:String}, {hour:DateTime('UTC')}, now64(9), fromUnixTimestamp64Nano({version:Int64}, 'UTC'),
  fromUnixTimestamp64Nano({rolled:Int64}, 'UTC'), {units:UInt64}
"""


_SETTLED_HOURS: Final = """
SELECT toUnixTimestamp(hour), if(max(rolled_at) > max(settled_at), toUnixTimestamp64Nano(max(rolled_at)), 0),
  max(rolled_units)
FROM settled_hours
WHERE tenant = {tenant:String} AND hour >= toDateTime({from_hour:UInt32}, 'UTC') AND hour < toDateTime({to_hour:UInt32}, 'UTC')
GROUP BY hour
"""


@dataclass(frozen=True, slots=True)
class SettledHour:
    """An hour in which something lies, in seconds; `version_ns` that of its sums, 0 where they do not hold."""

    seconds: int
    version_ns: int
    units: int


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of a range in seconds: those whose sums are read, with their versions, and those whose tasks are."""

    rolled: Sequence[int] = ()
    versions: Sequence[int] = ()
    single: Sequence[int] = ()

    @classmethod
    def of(cls, found: Sequence[SettledHour]) -> "Hours":
        """Sums wherever they hold."""
        rolled = [hour for hour in found if hour.version_ns]
        single = [hour.seconds for hour in found if not hour.version_ns]
        return cls([hour.seconds for hour in rolled], [hour.version_ns for hour in rolled], sorted(single))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """For SINGLE_HOURS and ROLLED_HOURS."""
        return {"rolled": list(self.rolled), "versions": list(self.versions), "single": list(self.single)}


async def read_settled_hours(engine: Engine, tenant: TenantId, time_range: TimeRange) -> Sequence[SettledHour]:
    """The hours that the range touches. An hour of which it has a part only has no version."""
    first_whole, end_whole = -(-time_range.start_ns // HOUR_NS), time_range.end_ns // HOUR_NS
    found = await engine.rows(_SETTLED_HOURS, {"tenant": tenant, **hour_bounds(time_range)})
    return [
        SettledHour(hour, version_ns if first_whole <= hour // HOUR_SECONDS < end_whole else 0, units)
        for hour, version_ns, units in found
    ]


def hour_bounds(time_range: TimeRange) -> Mapping[str, int]:
    """The parameters `from_hour` and `to_hour`, in seconds, of whole hours that hold the range."""
    return {
        "from_hour": time_range.start_ns // HOUR_NS * HOUR_SECONDS,
        "to_hour": -(-time_range.end_ns // HOUR_NS) * HOUR_SECONDS,
    }


def _are_worth_rolling(client: Client, values: dict[str, object]) -> bool:
    return int(client.query(_GROUPS, values).result_rows[0][0]) <= ROLL_GROUPS_MAX


def roll_hours(client: Client, now_ns: int, version_ns: int) -> int:
    """Sum up some hours in which nothing was settled of late. Returns of how many it is decided whether to.

    Hours of running traces wait for the end of these, and are looked at again until then.

    Between settling passes only; `version_ns` is later than any time of settling.
    """
    quiet_from = now_ns - ROLL_QUIET_SECONDS * 1_000_000_000
    running_from = now_ns - TRACE_QUIET_SECONDS * 1_000_000_000
    decided = 0
    waiting = client.query(_WAITING, {"quiet_from": quiet_from, "hours": ROLL_HOURS_MAX}).result_rows
    for tenant, hour, settled_ns in waiting:
        values: dict[str, object] = {
            "tenant": tenant,
            "hour": hour,
            "version": version_ns,
            "running_from": running_from,
        }
        units, is_running = client.query(_SIZE, values).result_rows[0]
        if is_running and settled_ns > running_from:
            continue
        is_worth = units >= ROLL_UNITS_MIN and _are_worth_rolling(client, values) and are_worth_rolling(client, values)
        if is_worth:
            client.command(_ROLL, values)
            roll_tasks(client, values)
        client.command(_CONSIDERED, {**values, "rolled": version_ns if is_worth else 0, "units": units})
        decided += 1
    return decided
