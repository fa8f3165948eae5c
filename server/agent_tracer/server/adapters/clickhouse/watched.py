"""Makes and reads the buckets that the detector watches."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row
from agent_tracer.server.domain.detection.episodes import Kind, Subject
from agent_tracer.server.domain.detection.figures import Alarm, Figures, Measure
from agent_tracer.server.domain.detection.limits import BUCKET_SECONDS, HOUR_BUCKETS
from agent_tracer.server.domain.ids import TenantId, TraceId
from agent_tracer.server.limits import WATCHED_REFRESH_HOURS_MAX, WATCHED_SAMPLES
from agent_tracer.server.ports.watched import Changed, Refreshed

_HOUR_SECONDS: Final = 3600
_NEVER_HOUR: Final = 2**32 // _HOUR_SECONDS
_UNITS: Final[Mapping[Kind, tuple[str, str]]] = {Kind.SERVICE: ("entry", "service"), Kind.AGENT: ("task", "agent_id")}
"""Unit and column of the name."""

_FAILED: Final = "status IN ('error', 'timeout')"

# Hours of one settling have one time, and go together. Those that wait are found by the time of the last refresh that had
# them.
_TOUCHED: Final = """
SELECT tenant, toUInt32(hour), toUnixTimestamp64Nano(max(settled_at)) AS at FROM settled_hours
WHERE toUInt32(hour) < {below:UInt32} GROUP BY tenant, hour
HAVING at > if(toUInt32(hour) < {live:UInt32}, {history:Int64}, {reached:Int64})
ORDER BY at LIMIT {most:UInt32} WITH TIES
"""

# The buckets of an hour that is settled anew are all made anew: which of them changed is not known.
_MAKE: Final = f"""
INSERT INTO watched_buckets (tenant, kind, name, bucket, received_at, settled_at, service, calls, errors, latency_ms, tokens, cost)
SELECT tenant, if(unit = 'entry', 'service', 'agent') AS kind, if(unit = 'entry', service, agent_id) AS of,
  toStartOfInterval(start_time, INTERVAL {BUCKET_SECONDS} SECOND) AS at, max(u.received_at),
  fromUnixTimestamp64Nano({{version:Int64}}, 'UTC'), anyIf(service, service != ''), count(), countIf({_FAILED}),
  quantileDD(0.005, 0.9)(duration_ns) / 1e6, sum(input_tokens + output_tokens), sum(cost)
FROM (
  SELECT * FROM units FINAL WHERE unit IN ('entry', 'task') AND (tenant, unit, hour) IN (
    SELECT item.1, unit, toDateTime(item.2, 'UTC')
    FROM (SELECT arrayJoin(arrayZip({{tenants:Array(String)}}, {{hours:Array(UInt32)}})) AS item)
    ARRAY JOIN ['entry', 'task'] AS unit)
) AS u
WHERE is_unit AND of != '' GROUP BY tenant, kind, of, at
SETTINGS do_not_merge_across_partitions_select_final = 1, max_partitions_per_insert_block = 0
"""

_CHANGED: Final = f"""
SELECT c.tenant, c.kind, c.name, c.service, c.first, c.last, o.oldest, o.judged, o.n FROM (
  SELECT tenant, toString(kind) AS kind, name, any(w.service) AS service,
    intDiv(toUInt32(min(bucket)), {BUCKET_SECONDS}) AS first, intDiv(toUInt32(max(bucket)), {BUCKET_SECONDS}) AS last
  FROM watched_buckets AS w WHERE settled_at = fromUnixTimestamp64Nano({{version:Int64}}, 'UTC') GROUP BY tenant, kind, name
) AS c
INNER JOIN (
  SELECT tenant, toString(kind) AS kind, name, intDiv(toUInt32(min(bucket)), {BUCKET_SECONDS}) AS oldest,
    intDiv(toUInt32(maxIf(bucket, settled_at <= fromUnixTimestamp64Nano({{judged_at:Int64}}, 'UTC')
      AND bucket <= toDateTime({{closed:UInt32}}, 'UTC')) AS reached), {BUCKET_SECONDS}) AS judged,
    countIf(settled_at <= fromUnixTimestamp64Nano({{judged_at:Int64}}, 'UTC') AND bucket <= toDateTime({{closed:UInt32}}, 'UTC')) AS n
  FROM watched_buckets WHERE (tenant, kind, name) IN (
    SELECT tenant, kind, name FROM watched_buckets WHERE settled_at = fromUnixTimestamp64Nano({{version:Int64}}, 'UTC'))
  GROUP BY tenant, kind, name
) AS o ON c.tenant = o.tenant AND c.kind = o.kind AND c.name = o.name
"""

_FIGURES: Final = """
SELECT toString(kind), name, groupArray(toUInt32(bucket)), groupArray(calls), groupArray(errors), groupArray(latency_ms),
  groupArray(tokens), groupArray(cost)
FROM watched_buckets FINAL
WHERE tenant = {tenant:String}
  AND (kind, name) IN (SELECT CAST(item.1, 'Enum8(\\'service\\' = 1, \\'agent\\' = 2)'), item.2
    FROM (SELECT arrayJoin(arrayZip({kinds:Array(String)}, {names:Array(String)})) AS item))
  AND bucket >= toDateTime({from:UInt32}, 'UTC') AND bucket < toDateTime({to:UInt32}, 'UTC')
GROUP BY kind, name
SETTINGS do_not_merge_across_partitions_select_final = 1
"""

_ORDER: Final[Mapping[Measure, str]] = {
    Measure.ERROR_RATE: f"{_FAILED} DESC, duration_ns DESC",
    Measure.LATENCY: "duration_ns DESC",
    Measure.CALLS: f"{_FAILED} DESC, duration_ns DESC",
    Measure.TOKENS: "input_tokens + output_tokens DESC",
    Measure.COST: "cost DESC",
}

_READ_PROGRESS: Final = """
SELECT name, toUnixTimestamp64Nano(received_at), toUnixTimestamp64Nano(version) FROM settled_to FINAL
WHERE name IN ('watched', 'judged')
"""
_KEEP_PROGRESS: Final = """
INSERT INTO settled_to SELECT item.1, fromUnixTimestamp64Nano(item.2, 'UTC'), fromUnixTimestamp64Nano({version:Int64}, 'UTC')
FROM (SELECT arrayJoin([('watched', {watched:Int64}), ('judged', {judged:Int64})]) AS item)
"""


class ClickHouseWatched:
    """ports.watched.WatchedStore, on the engine's settling thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_started = False
        self._version_ns = self._reached_ns = self._history_ns = 0
        # From which hour on the last whole refresh was of hours that go on; until there is one, of none.
        self._live_hour = 0
        # What was judged before the start: what was made by then, up to a bucket.
        self._judged_ns = self._closed_seconds = 0

    async def refresh(self, live_from_hour: int, *, with_live: bool) -> Refreshed:
        """See the port."""
        await self._start()
        touched = await self._engine.rows(
            _TOUCHED,
            {
                "below": (_NEVER_HOUR if with_live else self._live_hour) * _HOUR_SECONDS,
                "live": self._live_hour * _HOUR_SECONDS,
                "history": self._history_ns,
                "reached": self._reached_ns,
                "most": WATCHED_REFRESH_HOURS_MAX,
            },
        )
        is_all = len(touched) < WATCHED_REFRESH_HOURS_MAX
        changed = await self._changed(touched) if touched else ()
        if touched:
            self._history_ns = max(self._history_ns, touched[-1][2])
        if with_live:
            self._reached_ns = touched[-1][2] if touched else self._reached_ns
            self._live_hour = live_from_hour if is_all else self._live_hour
        return Refreshed(changed, is_all)

    async def figures(
        self, tenant: TenantId, subjects: Sequence[tuple[Kind, str]], from_hour: int, to_hour: int
    ) -> Mapping[tuple[Kind, str], Figures]:
        """See the port."""
        rows = await self._engine.rows(
            _FIGURES,
            {
                "tenant": tenant,
                "kinds": [str(kind) for kind, _ in subjects],
                "names": [name for _, name in subjects],
                "from": from_hour * _HOUR_SECONDS,
                "to": to_hour * _HOUR_SECONDS,
            },
        )
        found = {(Kind(_text(kind)), _text(name)): columns for kind, name, *columns in rows}
        return {key: _figures(found.get(key, _NOTHING), from_hour, to_hour) for key in subjects}

    async def samples(self, tenant: TenantId, subject: Subject, alarm: Alarm) -> Sequence[TraceId]:
        """See the port."""
        unit, column = _UNITS[subject.kind]
        rows = await self._engine.rows(
            f"SELECT lower(hex(trace_id)) FROM units FINAL WHERE tenant = {{tenant:String}} AND unit = '{unit}' "
            f"AND hour = toStartOfHour(toDateTime({{at:UInt32}}, 'UTC')) AND {column} = {{name:String}} AND is_unit "
            "AND start_time >= toDateTime({at:UInt32}, 'UTC') "
            f"AND start_time < toDateTime({{at:UInt32}} + {BUCKET_SECONDS}, 'UTC') "
            f"ORDER BY {_ORDER[alarm.measure]}, trace_id LIMIT 1 BY trace_id LIMIT {WATCHED_SAMPLES}",
            {"tenant": tenant, "name": subject.name, "at": alarm.bucket * BUCKET_SECONDS},
        )
        return [TraceId(_text(row[0])) for row in rows]

    async def advance(self, closed_bucket: int) -> None:
        """See the port."""
        version = self._version()
        values = {
            "version": version,
            "watched": self._reached_ns,
            "judged": closed_bucket * BUCKET_SECONDS * 1_000_000_000,
        }
        await self._engine.settle(lambda client: _run(client, _KEEP_PROGRESS, values))
        self._judged_ns, self._closed_seconds = version, closed_bucket * BUCKET_SECONDS

    async def _start(self) -> None:
        if self._is_started:
            return
        kept = {_text(name): (at, version) for name, at, version in await self._engine.rows(_READ_PROGRESS)}
        self._reached_ns, self._version_ns = kept.get("watched", (0, 0))
        self._history_ns = self._reached_ns
        closed_ns, self._judged_ns = kept.get("judged", (0, 0))
        self._closed_seconds = closed_ns // 1_000_000_000
        self._is_started = True

    async def _changed(self, touched: Sequence[Row]) -> Sequence[Changed]:
        values: dict[str, Any] = {
            "version": self._version(),
            "tenants": [_text(tenant) for tenant, _, _ in touched],
            "hours": [hour for _, hour, _ in touched],
        }
        await self._engine.settle(lambda client: _run(client, _MAKE, values))
        asked = {"version": values["version"], "judged_at": self._judged_ns, "closed": self._closed_seconds}
        return [
            Changed(
                TenantId(_text(tenant)),
                Subject(Kind(_text(kind)), _text(name), _text(service)),
                first,
                last,
                oldest,
                judged if was_judged else None,
            )
            for tenant, kind, name, service, first, last, oldest, judged, was_judged in await self._engine.rows(
                _CHANGED, asked
            )
        ]

    def _version(self) -> int:
        """Later than any before, also when the clock was set back."""
        self._version_ns = max(time.time_ns(), self._version_ns + 1)
        return self._version_ns


_NOTHING: Final[Sequence[Sequence[Any]]] = ((),) * 6


def _figures(columns: Sequence[Sequence[Any]], from_hour: int, to_hour: int) -> Figures:
    at = np.asarray(columns[0], dtype=np.int64) // BUCKET_SECONDS - from_hour * HOUR_BUCKETS
    filled = []
    for column in columns[1:]:
        values = np.zeros((to_hour - from_hour) * HOUR_BUCKETS)
        values[at] = column
        filled.append(values)
    return Figures(from_hour, *filled)


def _run(client: Client, statement: str, parameters: Mapping[str, Any]) -> None:
    client.command(statement, parameters=dict(parameters))


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
