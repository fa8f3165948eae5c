"""`python -m tests.evaluation.large_window fill|time FOLDER START`: an hour of a large system, made by SQL, and reads of it.

Five million spans of 500 services, 20,000 metric series and two million log records. A process of its own, because an
embedded store has one process at a time. START: of the hour, Unix seconds.
"""

import asyncio
import json
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine
from agent_tracer.server.adapters.clickhouse.schema import prepare
from agent_tracer.server.adapters.clickhouse.telemetry import ClickHouseTelemetry
from agent_tracer.server.domain.ids import TenantId
from agent_tracer.server.domain.rca.view import Window
from agent_tracer.server.domain.telemetry import TimeRange
from agent_tracer.server.ports.telemetry_window import SeriesPlan

TENANT: Final = TenantId("default")
TRACES: Final = 500_000
SPANS_PER_TRACE: Final = 10
SERVICES: Final = 500
SERIES: Final = 20_000
POINT_SECONDS: Final = 15
LOGS: Final = 2_000_000
MINUTES: Final = 60
MINUTE_NS: Final = 60_000_000_000
FAULTY: Final = "service-7"
"""Slow and failing in the last tenth of the hour."""
FAULT_MINUTES: Final = 6
CHUNKS: Final = 10
CALLS: Final = 3

# A trace is a chain of five services, each a server span with a client span under it; 400 chains, 1,600 edges.
_SPANS: Final = f"""
INSERT INTO spans (tenant, received_at, trace_id, span_id, parent_span_id, start_time, duration_ns, name, otel_kind,
  kind, status, service, resource, resource_types, attributes, attribute_types)
SELECT {{tenant:String}}, start, toFixedString(sipHash128(trace), 16), reinterpretAsFixedString(trace * 16 + place + 1),
  if(place = 0, toFixedString('', 8), reinterpretAsFixedString(trace * 16 + place)), start,
  toUInt64((110 - 10 * place + cityHash64(n) % 10 + is_slow * 200) * 1e6), concat('operation-', toString(place)),
  2 + place % 2, '', if(is_slow AND place >= at_faulty, 2, 1), service,
  map('service.name', service, 'k8s.pod.name', concat(service, '-', toString(trace % 3))), [1, 1],
  map('http.route', concat('/route/', toString(chain % 40)), 'http.response.status_code', '200', 'url.full',
    concat('http://host/', toString(n))), [1, 3, 1]
FROM (
  SELECT number AS n, intDiv(number, {SPANS_PER_TRACE}) AS trace, number % {SPANS_PER_TRACE} AS place, trace % 400 AS chain,
    concat('service-', toString((chain * 7 + intDiv(place, 2) * 31) % {SERVICES})) AS service,
    arrayFirstIndex(s -> (chain * 7 + s * 31) % {SERVICES} = 7, range(5)) AS found, (found - 1) * 2 AS at_faulty,
    fromUnixTimestamp64Nano(toInt64({{start:Int64}} + intDiv(trace * {MINUTES} * {MINUTE_NS}, {TRACES})), 'UTC') AS start,
    found > 0 AND trace >= {TRACES - TRACES * FAULT_MINUTES // MINUTES} AND place <= at_faulty + 1 AS is_slow
  FROM numbers({{first:UInt64}}, {{size:UInt64}}))
"""
_EDGES: Final = """
INSERT INTO service_edges (tenant, received_at, settled_at, minute, caller, callee, trace_id, calls, errors, server_ns,
  client_ns, server_ns_sum, client_ns_sum, gap_ns_sum, gaps)
SELECT c.tenant, c.received_at, c.received_at, toStartOfMinute(c.start_time), p.service, c.service, c.trace_id, 1,
  c.status = 2, [c.duration_ns], [p.duration_ns], c.duration_ns, p.duration_ns, p.duration_ns - c.duration_ns, 1
FROM (SELECT * FROM spans WHERE tenant = {tenant:String} AND otel_kind = 2 AND cityHash64(trace_id) % {chunks:UInt8} = {chunk:UInt8}) AS c
INNER JOIN (SELECT span_id, service, duration_ns FROM spans WHERE tenant = {tenant:String} AND otel_kind = 3
  AND cityHash64(trace_id) % {chunks:UInt8} = {chunk:UInt8}) AS p ON p.span_id = c.parent_span_id
WHERE p.service != c.service
"""
# Six in ten are gauges, three counters, one a histogram; each service has 40.
_POINTS: Final = f"""
INSERT INTO metric_points (tenant, received_at, metric, type, temporality, monotonic, time, int_value, double_value, count,
  sum, bounds, bucket_counts, service, resource, resource_types, attributes, attribute_types)
SELECT {{tenant:String}}, at, concat('metric.', toString(s % 40)), multiIf(d < 6, 'gauge', d < 9, 'sum', 'histogram'),
  if(d < 6, 0, 2), d >= 6, at, if(d BETWEEN 6 AND 8, 100 * step + noise, NULL),
  if(d < 6, 50 + noise + 100 * is_faulty, NULL), if(d = 9, 100 * (step + 1), 0), if(d = 9, 1000. * (step + 1), NULL),
  if(d = 9, [1., 5, 10, 50, 100], []),
  if(d = 9, arrayMap(w -> toUInt64(w * (step + 1)), [10, 30, 40, 15, 4, 1]), []), service,
  map('service.name', service, 'k8s.pod.name', concat(service, '-0'), 'service.version', '1.2.3', 'telemetry.sdk.name', 'opentelemetry'),
  [1, 1, 1, 1], map('http.route', concat('/route/', toString(s % 7)), 'http.request.method', 'GET'), [1, 1]
FROM (
  SELECT number AS n, number % {SERIES} AS s, intDiv(number, {SERIES}) AS step, intDiv(s, 40) AS owner, s % 10 AS d,
    concat('service-', toString(owner)) AS service, cityHash64(n) % 10 AS noise,
    concat('service-', toString(owner)) = '{FAULTY}' AND step * {POINT_SECONDS} >= {(MINUTES - FAULT_MINUTES) * 60} AS is_faulty,
    fromUnixTimestamp64Nano(toInt64({{start:Int64}} + step * {POINT_SECONDS} * 1000000000 + s * 1000), 'UTC') AS at
  FROM numbers({{first:UInt64}}, {{size:UInt64}}))
"""
_LOGS: Final = f"""
INSERT INTO logs (tenant, received_at, time, observed_time, sent_time_ns, severity_number, severity_text, body, body_type,
  service, resource, resource_types, attributes, attribute_types)
SELECT {{tenant:String}}, at, at, at, toUnixTimestamp64Nano(at), if(is_faulty OR n % 50 = 0, 17, 9),
  if(is_faulty OR n % 50 = 0, 'ERROR', 'INFO'),
  if(is_faulty, concat('connection to database ', toString(n), ' refused after 3000 ms'),
    concat(['handled request', 'wrote row', 'cache miss for', 'began work on', 'sent message'][1 + n % 5], ' ',
      hex(cityHash64(n)), ' for user ', toString(n), ' in ', toString(n % 97), ' ms')), 1,
  service, map('service.name', service), [1], map('thread.name', 'main'), [1]
FROM (
  SELECT number AS n, concat('service-', toString(cityHash64(number, 1) % {SERVICES})) AS service,
    service = '{FAULTY}' AND number >= {LOGS - LOGS * FAULT_MINUTES // MINUTES} AS is_faulty,
    fromUnixTimestamp64Nano(toInt64({{start:Int64}} + intDiv(number * {MINUTES} * {MINUTE_NS}, {LOGS})), 'UTC') AS at
  FROM numbers({{first:UInt64}}, {{size:UInt64}}))
"""


def plan(start_ns: int) -> SeriesPlan:
    """The hour by minutes; the fault's are the later window."""
    starts = [start_ns + minute * MINUTE_NS for minute in range(MINUTES)]
    return SeriesPlan(Window(starts[:-FAULT_MINUTES], MINUTE_NS), Window(starts[-FAULT_MINUTES:], MINUTE_NS))


async def fill(folder: Path, start_ns: int) -> Mapping[str, float]:
    """Make the rows; how many seconds it took."""
    engine = Engine.open(EMBEDDED, folder)
    try:
        engine.writer.call(prepare)
        started = time.monotonic()
        await engine.write(lambda client: insert(client, start_ns))
        return {"insert": time.monotonic() - started}
    finally:
        engine.close()


def insert(client: Client, start_ns: int) -> None:
    """All rows, in chunks that keep memory small. They count as received when they happened."""
    points = SERIES * MINUTES * 60 // POINT_SECONDS
    for statement, rows in ((_SPANS, TRACES * SPANS_PER_TRACE), (_POINTS, points), (_LOGS, LOGS)):
        size = rows // CHUNKS
        for chunk in range(CHUNKS):
            client.command(statement, {"tenant": TENANT, "first": chunk * size, "size": size, "start": start_ns})
    for chunk in range(CHUNKS):
        client.command(_EDGES, {"tenant": TENANT, "chunks": CHUNKS, "chunk": chunk})


async def timed(folder: Path, start_ns: int) -> Mapping[str, object]:
    """Median milliseconds of each read one at a time, what it found, and the process's peak memory."""
    engine = Engine.open(EMBEDDED, folder)
    try:
        telemetry, of = ClickHouseTelemetry(engine), plan(start_ns)
        whole = TimeRange(start_ns, start_ns + MINUTES * MINUTE_NS)
        reads: Mapping[str, Callable[[], Awaitable[object]]] = {
            "observed": lambda: telemetry.observed(TENANT, whole, MINUTE_NS),
            "calls": lambda: telemetry.calls(TENANT, of),
            "metrics": lambda: telemetry.metrics(TENANT, of),
            "logs": lambda: telemetry.logs(TENANT, of),
            "changes": lambda: telemetry.changes(TENANT, whole),
        }
        return {name: await _measured(read) for name, read in reads.items()}
    finally:
        engine.close()


async def _measured(read: Callable[[], Awaitable[object]]) -> Mapping[str, object]:
    took, busy, found = [], [], None
    for _ in range(CALLS):
        started, worked = time.perf_counter(), time.process_time()
        found = await read()
        took.append(time.perf_counter() - started)
        busy.append(time.process_time() - worked)
    series = getattr(getattr(found, "services", found), "series", ())
    return {
        "ms": [round(1000 * value) for value in (statistics.median(took), max(took))],
        "CPU ms": round(1000 * statistics.median(busy)),
        "series": len(series),
        "caveats": list(getattr(found, "caveats", ())),
        "peak MB so far": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    WORK: Final = {"fill": fill, "time": timed}
    print(json.dumps(asyncio.run(WORK[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]) * 10**9))))
