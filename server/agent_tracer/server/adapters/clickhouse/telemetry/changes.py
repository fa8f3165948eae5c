"""Reads the log records that tell of changes."""

from collections.abc import Sequence
from typing import Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.adapters.clickhouse.telemetry.bodies import body_value
from agent_tracer.server.adapters.clickhouse.telemetry.events import EVENT_NAME, IS_CHANGE, IS_EVALUATION
from agent_tracer.server.adapters.clickhouse.telemetry.reading import read
from agent_tracer.server.adapters.clickhouse.values import read_attributes
from agent_tracer.server.domain.changes import ChangeEvent, read_changes
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Change
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.limits import CHANGE_EVENTS_BYTES_MAX, CHANGE_EVENTS_READ_MAX, RCA_CHANGES_MAX

_COLUMNS: Final = "ns, service, name, keys, texts, attribute_types, body, body_type"
_OF_RANGE: Final = f"""
SELECT toUnixTimestamp64Nano(time) AS ns, service, {EVENT_NAME} AS name, mapKeys(attributes) AS keys,
  mapValues(attributes) AS texts, attribute_types, body, body_type, {IS_EVALUATION} AS is_evaluation,
  attributes['feature_flag.key'] AS flag,
  coalesce(nullIf(attributes['feature_flag.result.variant'], ''), nullIf(attributes['feature_flag.variant'], ''),
    nullIf(attributes['feature_flag.result.value'], ''), '') AS variant
FROM logs WHERE tenant = {{tenant:String}} AND time >= fromUnixTimestamp64Nano({{from_ns:Int64}}, 'UTC')
  AND time < fromUnixTimestamp64Nano({{to_ns:Int64}}, 'UTC') AND {IS_CHANGE}
"""
# Of a flag that is looked at all the time, what is new is the first look that gave a value after others had been given.
# Records are read once: to find these few among all takes far longer than to count looks.
_EVENTS: Final = f"""
SELECT {_COLUMNS} FROM (
  SELECT *, row_number() OVER (PARTITION BY is_look, service, flag ORDER BY ns) AS value_number FROM (
    SELECT *, count() OVER (PARTITION BY is_look, service, flag) AS looks,
      row_number() OVER (PARTITION BY is_look, service, flag, variant ORDER BY ns) AS look_number
    FROM (SELECT *, is_evaluation AND flag != '' AND variant != '' AS is_look FROM ({_OF_RANGE})))
  WHERE NOT is_look OR look_number = 1)
WHERE NOT is_look OR looks = 1 OR value_number > 1
QUALIFY sum(length(body) + arraySum(arrayMap(t -> length(t), texts))) OVER (ORDER BY ns DESC ROWS UNBOUNDED PRECEDING)
  <= {CHANGE_EVENTS_BYTES_MAX}
ORDER BY ns DESC, body LIMIT {CHANGE_EVENTS_READ_MAX}
"""


async def changes(engine: Engine, tenant: TenantId, time_range: TimeRange) -> Sequence[Change]:
    """The latest RCA_CHANGES_MAX changes of the range, by time."""
    rows = await read(engine, _EVENTS, {"tenant": tenant, "from_ns": time_range.start_ns, "to_ns": time_range.end_ns})
    return read_changes(map(_event, rows))[-RCA_CHANGES_MAX:]


def _event(row: Row) -> ChangeEvent:
    ns, service, name, keys, texts, types, body, body_type = row
    attributes = read_attributes(keys, texts, types)
    return ChangeEvent(ns, _text(service), _text(name), attributes, body_value(body_type, body))


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
