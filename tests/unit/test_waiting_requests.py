"""Which traces the requests on their way into the store bring more of."""

from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.ports.journal import Position, Record
from agent_tracer.server.services.waiting_requests import Waiting, WaitingRequests

TENANT = TenantId("team-a")
TRACE = OtelTraceId(b"0123456789abcdef")
OTHER = OtelTraceId(b"fedcba9876543210")
NOTHING = Position(0)


def waiting(capacity_bytes: int = 1000) -> WaitingRequests:
    return WaitingRequests(NOTHING, NOTHING, capacity_bytes)


def record(end: int) -> Record:
    return Record(NOTHING, Position(end), Signal.TRACES, TENANT, 0, b"")


async def test_a_request_waits_from_its_acknowledgement_to_its_commit() -> None:
    requests = waiting()
    requests.add(TENANT, Position(10), b"one" + TRACE)
    requests.add(TENANT, Position(20), TRACE + b"two")
    assert await requests.naming(TENANT, TRACE) == Waiting(2, is_all=True)
    await requests.committed([record(10)])
    assert await requests.naming(TENANT, TRACE) == Waiting(1, is_all=True)
    await requests.committed([record(20)])
    assert await requests.naming(TENANT, TRACE) == Waiting(0, is_all=True)


async def test_other_traces_and_other_tenants_do_not_wait() -> None:
    requests = waiting()
    requests.add(TENANT, Position(10), b"one" + TRACE)
    assert (await requests.naming(TENANT, OTHER)).requests == 0
    assert (await requests.naming(TenantId("team-b"), TRACE)).requests == 0


async def test_what_was_let_go_of_is_unknown_until_it_is_loaded() -> None:
    requests = waiting(capacity_bytes=30)
    requests.add(TENANT, Position(10), b"one" + TRACE)
    requests.add(TENANT, Position(20), b"two" + OTHER)
    assert await requests.naming(TENANT, TRACE) == Waiting(0, is_all=False)
    assert await requests.naming(TENANT, OTHER) == Waiting(1, is_all=False)
    await requests.committed([record(10)])
    assert await requests.naming(TENANT, OTHER) == Waiting(1, is_all=True)


async def test_a_request_above_the_capacity_is_not_held() -> None:
    requests = waiting(capacity_bytes=10)
    requests.add(TENANT, Position(10), bytes(11))
    assert await requests.naming(TENANT, TRACE) == Waiting(0, is_all=False)


async def test_what_an_earlier_run_acknowledged_is_unknown_until_it_is_loaded() -> None:
    requests = WaitingRequests(Position(5), Position(10), 1000)
    assert not (await requests.naming(TENANT, TRACE)).is_all
    await requests.committed([record(10)])
    assert (await requests.naming(TENANT, TRACE)).is_all


async def test_nothing_is_unknown_where_the_earlier_run_loaded_everything() -> None:
    assert (await WaitingRequests(Position(10), Position(10), 1000).naming(TENANT, TRACE)).is_all


async def test_a_request_that_is_loaded_before_it_is_told_of_is_not_held() -> None:
    requests = waiting()
    await requests.committed([record(10)])
    requests.add(TENANT, Position(10), TRACE)
    assert (await requests.naming(TENANT, TRACE)).requests == 0
