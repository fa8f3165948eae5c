"""The detector on the real store: what comes in as spans is judged in the order of its own time."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.incidents import ClickHouseIncidents
from agent_tracer.server.adapters.clickhouse.settle import ClickHouseSettler
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.clickhouse.watched import ClickHouseWatched
from agent_tracer.server.domain.detection.episodes import Kind
from agent_tracer.server.domain.ids import OtelTraceId, TenantId, TraceId
from agent_tracer.server.domain.incidents import Incident, IncidentStatus
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.services.detector import Detector
from agent_tracer.server.services.settler import Settler
from tests.fixtures.engine import load, record

JUDGE_S = 300
BUCKET_S = 300
DAY = 288
SECOND_NS = 1_000_000_000
LONG_AGO_S = 1_700_000_000 // 86_400 * 86_400
"""A midnight years ago."""


def spans(
    service: str,
    first: int,
    latencies_ms: Sequence[float],
    *,
    failed: Callable[[int], bool] = lambda _: False,
    agent: str = "",
    each: int = 1,
) -> bytes:
    """A root span, or `each`, in every bucket of five minutes, the buckets counted from LONG_AGO_S."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    scope = group.scope_spans.add()
    for offset, latency_ms in enumerate(latencies_ms):
        for number in range(each):
            start_ns = (LONG_AGO_S + (first + offset) * BUCKET_S) * SECOND_NS + number * 1_000_000
            key = f"{service}/{agent}/{first + offset}/{number}"
            span = scope.spans.add(
                trace_id=_hash(key, 16), span_id=_hash(key, 8), name="GET", kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=start_ns, end_time_unix_nano=start_ns + round(latency_ms * 1e6),
            )  # fmt: skip
            if failed(first + offset):
                span.status.code = Status.STATUS_CODE_ERROR
            if agent:
                span.attributes.add(key="gen_ai.agent.id").value.string_value = agent
    return made.SerializeToString()


def _hash(key: str, size: int) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=size).digest()


class Watching:
    """A detector over the engine's store, told of commits as the loader tells."""

    def __init__(self, engine: Engine, tenant: TenantId, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._engine, self._tenant, self._now_ns = engine, tenant, now_ns
        self.store = ClickHouseIncidents(engine)
        self.restart()

    def restart(self) -> None:
        self._settler = Settler(ClickHouseSettler(self._engine))
        self.detector = Detector(
            watched=ClickHouseWatched(self._engine),
            incidents=self.store,
            settled=self._settler.settled,
            clock_ns=self._now_ns,
        )

    async def send(self, *payloads: bytes) -> None:
        received = [record(self._tenant, Signal.TRACES, b"")]
        await load(self._engine, self._tenant, Signal.TRACES, payloads)
        await self._settler.committed([*received, record(self._tenant, Signal.TRACES, b"")])

    async def incidents(self) -> Sequence[Incident]:
        """By start, after everything is judged."""
        await self.detector.settled(JUDGE_S)
        found = await self.store.incidents(self._tenant, status="", service="", limit=100, after=None)
        return sorted(found, key=lambda one: one.start_ns)


def day_and_night(buckets: range) -> list[float]:
    """Latencies that go up by day and stray a little."""
    return [100 + 40 * math.sin(2 * math.pi * b / DAY) + (b * 7919 % 13) for b in buckets]


async def test_nothing_is_noticed_of_what_goes_up_and_down_every_day(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    await watching.send(spans("shop", 0, day_and_night(range(8 * DAY))))
    assert await watching.incidents() == []


async def test_history_is_judged_by_its_own_time(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    latencies = day_and_night(range(8 * DAY))
    burst = range(5 * DAY + 30, 5 * DAY + 36)
    for bucket in burst:
        latencies[bucket] = 900
    await watching.send(spans("shop", 0, latencies))
    (incident,) = await watching.incidents()
    assert incident.start_ns == (LONG_AGO_S + burst.start * BUCKET_S) * SECOND_NS
    assert (incident.status, incident.service) == (IncidentStatus.RESOLVED, "shop")
    assert incident.end_ns is not None
    assert 6 <= (incident.end_ns - incident.start_ns) / SECOND_NS / BUCKET_S <= 12
    assert incident.labels["measure"] == "latency"
    assert incident.title == "latency of shop: 900 ms (usual 110 ms)"
    wanted = {TraceId(_hash(f"shop//{bucket}/0", 16).hex()) for bucket in burst}
    assert incident.trace_ids
    assert set(incident.trace_ids) <= wanted


async def test_a_restart_repeats_nothing_and_goes_on(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    latencies = day_and_night(range(8 * DAY))
    latencies[5 * DAY : 5 * DAY + 6] = [900.0] * 6
    latencies[7 * DAY + 30 : 7 * DAY + 36] = [2000.0] * 6
    await watching.send(spans("shop", 0, latencies[: 6 * DAY]))
    first = await watching.incidents()
    watching.restart()
    assert await watching.incidents() == first
    await watching.send(spans("shop", 6 * DAY, latencies[6 * DAY :]))
    assert [one.incident_id for one in await watching.incidents()][:1] == [one.incident_id for one in first]
    assert len(await watching.incidents()) == 2


async def test_the_order_in_which_history_comes_does_not_matter(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    latencies = day_and_night(range(8 * DAY))
    latencies[5 * DAY : 5 * DAY + 6] = [900.0] * 6
    await watching.send(spans("shop", 4 * DAY, latencies[4 * DAY :]))
    await watching.incidents()
    await watching.send(spans("shop", 0, latencies[: 4 * DAY]))
    (incident,) = await watching.incidents()
    assert incident.start_ns == (LONG_AGO_S + 5 * DAY * BUCKET_S) * SECOND_NS


async def test_an_incident_is_open_while_it_goes_on(engine: Engine, tenant: TenantId) -> None:
    now_bucket = [8 * DAY]
    watching = Watching(engine, tenant, lambda: (LONG_AGO_S + now_bucket[0] * BUCKET_S + 90) * SECOND_NS)
    latencies = day_and_night(range(8 * DAY))
    await watching.send(spans("shop", 0, latencies, each=3))
    assert await watching.incidents() == []
    for bucket in range(8 * DAY, 8 * DAY + 4):
        await watching.send(spans("shop", bucket, [100.0], failed=lambda _: True, each=6))
        now_bucket[0] = bucket + 1
        await watching.incidents()
    (incident,) = await watching.incidents()
    assert (incident.status, incident.end_ns) == (IncidentStatus.OPEN, None)
    assert incident.title == "error rate of shop: 100 % (usual 0 %)"
    watching.restart()
    now_bucket[0] += 10
    await watching.send(spans("shop", now_bucket[0] - 1, [100.0]))
    (over,) = await watching.incidents()
    assert (over.incident_id, over.status) == (incident.incident_id, IncidentStatus.RESOLVED)
    assert over.end_ns == (LONG_AGO_S + (8 * DAY + 4) * BUCKET_S) * SECOND_NS


async def test_an_agent_and_its_service_are_one_incident(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    latencies = day_and_night(range(8 * DAY))
    latencies[5 * DAY : 5 * DAY + 6] = [900.0] * 6
    await watching.send(spans("desk", 0, latencies, agent="planner"))
    assert [(one.service, one.labels["measure"]) for one in await watching.incidents()] == [("desk", "latency")]


async def test_what_is_deleted_counts_no_more(engine: Engine, tenant: TenantId) -> None:
    watching = Watching(engine, tenant)
    await watching.send(spans("shop", 0, [100, 100], each=2))
    await watching.incidents()
    for number in range(2):
        await ClickHouseStore(engine).delete_trace(tenant, OtelTraceId(_hash(f"shop//1/{number}", 16)))
    await watching.incidents()
    first_hour = LONG_AGO_S // 3600
    subject = (Kind.SERVICE, "shop")
    found = await ClickHouseWatched(engine).figures(tenant, [subject], first_hour, first_hour + 1)
    assert list(found[subject].calls[:3]) == [2, 0, 0]
