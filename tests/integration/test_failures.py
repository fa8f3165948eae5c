"""Failed runs over the real store: who is blamed, which failed alike, and what happens to runs that turn out well."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_tracer.server.adapters.clickhouse.engine import Engine
from agent_tracer.server.adapters.clickhouse.failures import ClickHouseFailures
from agent_tracer.server.adapters.clickhouse.load import ClickHouseLoader
from agent_tracer.server.adapters.clickhouse.store import ClickHouseStore
from agent_tracer.server.adapters.vectors.progress import FileProgress
from agent_tracer.server.domain.errors import InvalidFieldsError, TooLargeError, TraceNotFoundError
from agent_tracer.server.domain.failures.signatures import signature
from agent_tracer.server.domain.failures.spans import run_steps
from agent_tracer.server.domain.failures.steps import STEPS_MAX, Step
from agent_tracer.server.domain.ids import OtelTraceId, TenantId
from agent_tracer.server.domain.paging import PageRequest, encode_token
from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import FAILURE_TEXT_BYTES_MAX
from agent_tracer.server.ports.failures import SignedRun
from agent_tracer.server.ports.settling import ReceivedRange
from agent_tracer.server.services import failures as failures_module
from agent_tracer.server.services.failure_signer import FailureSigner
from agent_tracer.server.services.failures import FailureGroup, FailureGroupsRequest, Failures
from agent_tracer.server.services.settled_reads import BEHIND
from tests.fixtures.engine import load, record
from tests.fixtures.trees import NOON_NS, SECOND_NS, Node, agent, call, request, tool

T = TypeVar("T")

DAY = 86_400
NOW_NS = NOON_NS + 3600 * SECOND_NS


def key(number: int) -> OtelTraceId:
    return OtelTraceId(bytes([9]) + number.to_bytes(15, "big"))


def run(number: int, fails: str = "", *, name: str = "search", by: str = "planner", start: float = 0) -> list[Node]:
    """An agent that calls a tool, which says in its text how it fails."""
    failing = bool(fails)
    said = {"output.value": fails or "found it", "error.type": "ToolError"} if failing else {"output.value": "found it"}
    return [
        Node(1, start=start, seconds=9, name="run", attributes=agent(by), failed=failing, trace_id=key(number)),
        Node(
            2,
            1,
            start=start + 1,
            name="think",
            attributes={**agent(by), "output.value": "I search"},
            trace_id=key(number),
        ),
        Node(3, 1, start=start + 2, name=name, attributes={**tool(name), **said}, failed=failing, trace_id=key(number)),
    ]


class Loaded:
    """LoadedReads of a journal that is always loaded."""

    async def catch_up(self) -> None:
        pass

    async def find(self, look: Callable[[], Awaitable[T]]) -> T:
        return await look()

    async def find_whole(self, tenant: TenantId, trace_id: OtelTraceId, look: Callable[[], Awaitable[T]]) -> T:
        del tenant, trace_id
        return await look()


@dataclass
class Rig:
    engine: Engine
    folder: Path
    tenant: TenantId

    def __post_init__(self) -> None:
        self.store = ClickHouseFailures(self.engine)
        self.signer = FailureSigner(store=self.store, progress=FileProgress(self.folder / "progress"))
        self.failures = Failures(
            store=self.store,
            loaded=Loaded(),  # type: ignore[arg-type]
            catch_up=self.caught_up,
            is_behind=lambda: self.signer.is_behind,
            clock_ns=lambda: NOW_NS,
        )

    async def caught_up(self) -> Sequence[str]:
        """However long it takes: a signer without progress begins with what other tests left in the store."""
        await self.signer.settled()
        while self.signer.is_behind:
            await self.signer.settled()
        return ()

    async def commit(self, *traces: Sequence[Node]) -> None:
        committed = record(self.tenant, Signal.TRACES, request([node for nodes in traces for node in nodes]))
        await ClickHouseLoader(self.engine).insert(Signal.TRACES, [committed], f"failures-{committed.start}")
        await self.signer.committed([committed])

    async def kept(self) -> list[tuple[bool, bool]]:
        """Whether each run is kept as failed, and whether its root has come."""
        rows = await self.engine.rows(
            "SELECT is_failed, is_rooted FROM failures FINAL WHERE tenant = {tenant:String}", {"tenant": self.tenant}
        )
        return [(bool(failed), bool(rooted)) for failed, rooted in rows]

    async def groups(self, period: str = "7d", agent_id: str = "", size: int = 50) -> Sequence[FailureGroup]:
        found = await self.failures.groups(self.tenant, FailureGroupsRequest(period, agent_id), PageRequest(size))
        assert not found.caveats
        return found.groups


@pytest.fixture
def rig(engine: Engine, tmp_path: Path, tenant: TenantId) -> Rig:
    return Rig(engine, tmp_path, tenant)


async def test_an_answer_that_did_not_wait_for_everything_says_so(rig: Rig) -> None:
    async def behind() -> Sequence[str]:
        return (BEHIND,)

    await rig.caught_up()
    hasty = Failures(
        store=rig.store,
        loaded=Loaded(),  # type: ignore[arg-type]
        catch_up=behind,
        is_behind=lambda: rig.signer.is_behind,
        clock_ns=lambda: NOW_NS,
    )
    found = await hasty.groups(rig.tenant, FailureGroupsRequest(), PageRequest(50))
    assert len(found.caveats) == 1


async def test_runs_that_failed_alike_are_one_group_with_share_and_samples(rig: Rig) -> None:
    await rig.commit(
        *(run(n, f"Error: order #W{n} not found", start=n) for n in range(3)),
        run(3, "TimeoutError: no answer", name="fetch", start=3),
        *(run(n, start=n) for n in range(4, 8)),
    )
    orders, timeouts = await rig.groups()
    assert (orders.trace_count, timeouts.trace_count) == (3, 1)
    assert (orders.signature.step_kind, orders.signature.step_name) == ("tool", "search")
    assert orders.share == pytest.approx(3 / 8)
    assert orders.agents == ["planner"]
    assert orders.sample_trace_ids == [key(n).hex() for n in (2, 1, 0)]
    assert (orders.first_ns, orders.last_ns) == (NOON_NS, NOON_NS + 2 * SECOND_NS)


async def test_a_run_is_no_failure_before_its_root_says_so(rig: Rig) -> None:
    below = [replace(node, parent=9) if node.number == 1 else node for node in run(1, "Error: broken")]
    await rig.commit(below)
    assert not await rig.groups(), "its root may still say that all is well"
    await rig.commit([Node(9, start=-1, seconds=20, name="all", failed=True, trace_id=key(1))])
    (group,) = await rig.groups()
    assert group.signature.step_name == "search"


async def test_a_run_that_turns_out_well_is_withdrawn(rig: Rig) -> None:
    below = [replace(node, parent=9) if node.number == 1 else node for node in run(1, "Error: broken")]
    await rig.commit(below)
    await rig.groups()
    assert await rig.kept() == [(True, False)]
    await rig.commit([Node(9, start=-1, seconds=20, name="all", trace_id=key(1))])
    assert not await rig.groups()
    assert await rig.kept() == [(False, True)]


async def test_spans_that_come_later_change_the_group(rig: Rig) -> None:
    first, second, third = run(1, "Error: broken")
    await rig.commit([first, second])
    (before,) = await rig.groups()
    await rig.commit([third])
    (after,) = await rig.groups()
    assert (before.signature.step_name, after.signature.step_name) == ("think", "search")
    assert after.trace_count == 1


async def test_a_deleted_trace_is_in_no_group_and_does_not_come_back(rig: Rig) -> None:
    await rig.commit(run(1, "Error: broken"), run(2, "Error: broken"))
    await rig.signer.settled()
    everything = ReceivedRange(0, 2**62)
    found = await rig.store.considered(everything, limit=100)
    (gone,) = [one for one in found.runs if one.tenant == rig.tenant and one.otel_trace_id == key(1)]
    assert await ClickHouseStore(rig.engine).delete_trace(rig.tenant, key(1))
    signed = signature([Step(0, "1")])
    await rig.store.keep([SignedRun(gone, signed)])
    (group,) = await rig.groups()
    assert group.sample_trace_ids == [key(2).hex()]
    assert await rig.kept() == [(True, True)]


async def test_a_restart_signs_what_was_not_signed_and_changes_no_id(rig: Rig) -> None:
    await rig.commit(run(1, "Error: order 7 not found"))
    (before,) = await rig.groups()
    await rig.signer._backlog.save()
    await rig.commit(run(2, "Error: order 8 not found"))
    again = Rig(rig.engine, rig.folder, rig.tenant)
    (after,) = await again.groups()
    assert after.trace_count == 2
    assert after.signature == before.signature


async def test_signing_again_without_progress_changes_nothing(rig: Rig) -> None:
    await rig.commit(*(run(n, f"Error: order {n} not found") for n in range(3)))
    before = await rig.groups()
    (rig.folder / "other").mkdir()
    assert list(await Rig(rig.engine, rig.folder / "other", rig.tenant).groups()) == list(before)


async def test_pages_have_every_group_once_the_most_affected_first(rig: Rig) -> None:
    names = ["alpha", "beta", "gamma", "delta", "epsilon"]
    runs = [run(10 * at + n, "Error: broken", name=name) for at, name in enumerate(names) for n in range(1 + at % 3)]
    await rig.commit(*runs)
    asked, token = FailureGroupsRequest(), ""
    found: list[FailureGroup] = []
    while True:
        page = await rig.failures.groups(rig.tenant, asked, PageRequest(2, token))
        found += page.groups
        token = page.next_token
        if not token:
            break
        assert len(page.groups) == 2
    assert [group.trace_count for group in found] == [3, 2, 2, 1, 1]
    assert {group.signature.step_name for group in found} == set(names)
    of_another_list = encode_token(("failures", rig.tenant, "", ""), bytes(16) + b"id")
    with pytest.raises(InvalidFieldsError, match="page_token"):
        await rig.failures.groups(rig.tenant, FailureGroupsRequest("30d"), PageRequest(2, of_another_list))


async def test_an_agent_s_groups_are_of_the_runs_that_it_took_part_in(rig: Rig) -> None:
    await rig.commit(
        run(1, "Error: broken", by="one"), run(2, "Error: broken", by="two"), run(3, by="one"), run(4, by="two")
    )
    (group,) = await rig.groups(agent_id="one")
    assert (group.trace_count, group.share, group.agents) == (1, 0.5, ["one"])
    assert not await rig.groups(agent_id="nobody")


async def test_trends_are_told_by_day(rig: Rig) -> None:
    def daily(first: int, name: str, days: Sequence[int], each: int) -> list[list[Node]]:
        times = [(day, n) for day in days for n in range(each)]
        return [run(first + at, "Error: broken", name=name, start=-day * DAY + n) for at, (day, n) in enumerate(times)]

    await rig.commit(
        *daily(1000, "new", [0], 3),
        *daily(2000, "old", [20, 0], 3),
        *daily(3000, "gone", [6, 5, 4], 9),
        *daily(4000, "steady", range(7), 3),
        *(run(5000 + n, start=-DAY * (n % 7)) for n in range(7)),
    )
    found = {group.signature.step_name: group for group in await rig.groups()}
    assert {name: group.trend for name, group in found.items()} == {
        "new": "new",
        "old": "back",
        "gone": "gone",
        "steady": "steady",
    }
    assert found["old"].trace_count == 3
    assert found["old"].first_ns == NOON_NS - 20 * DAY * SECOND_NS


async def test_a_short_period_has_its_trends_by_the_hour(rig: Rig) -> None:
    await rig.commit(run(1, "Error: broken", start=-1800), run(2, "Error: broken", start=-1700))
    (group,) = await rig.groups("2h")
    assert group.trend in {"new", "steady"}
    assert not await rig.groups("15m")


async def test_the_cost_is_that_of_the_priced_calls(rig: Rig) -> None:
    def priced(number: int, dollars: float) -> list[Node]:
        paid = call(10, cost=dollars)
        return [*run(number, "Error: broken"), Node(7, 1, start=1, name="chat", attributes=paid, trace_id=key(number))]

    await rig.commit(priced(1, 0.25), priced(2, 0.5))
    (group,) = await rig.groups()
    assert group.cost == pytest.approx(0.75)
    await rig.commit(run(3, "Error: broken", name="free"))
    assert [one.cost for one in await rig.groups() if one.signature.step_name == "free"] == [None]


async def test_a_run_s_culprit_is_a_step_with_its_span(rig: Rig) -> None:
    await rig.commit(run(1, "Error: broken"))
    found = await rig.failures.attribute(rig.tenant, key(1).hex())
    assert found.culprit is not None
    assert (found.culprit.agent_id, found.culprit.step, found.culprit.span_id) == ("planner", 0, f"{2:016x}")
    assert "What it asked for failed in step 1: Error: broken" in found.culprit.reasons


async def test_content_is_found_wherever_spans_carry_it(rig: Rig) -> None:
    said = "the plan is to search"
    messages = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": said}]}])
    for number, attributes in enumerate(
        (
            {"output.value": said},
            {"gen_ai.output.messages": messages},
            {"llm.output_messages.0.message.content": said, "llm.output_messages.0.message.role": "assistant"},
            {"gen_ai.completion.0.content": said, "gen_ai.prompt.0.content": "asked"},
            {"message.content": said, "message.role": "assistant"},
            {"input.value": said},
        )
    ):
        spans = [
            Node(1, seconds=9, trace_id=key(number)),
            Node(2, 1, name="plan", attributes={**attributes}, trace_id=key(number)),
        ]
        await rig.commit(spans)
        (step,) = run_steps(await rig.store.run_spans(rig.tenant, key(number))).steps
        assert (step.text, step.span_id) == (said, f"{2:016x}"), attributes


async def test_an_exception_s_message_is_the_step_s(rig: Rig) -> None:
    made = ExportTraceServiceRequest.FromString(request(run(1, "x")))
    span = made.resource_spans[0].scope_spans[0].spans[2]
    event = span.events.add(name="exception")
    event.attributes.add(key="exception.type").value.string_value = "TimeoutError"
    event.attributes.add(key="exception.message").value.string_value = "no answer in 30 s"
    await load(rig.engine, rig.tenant, Signal.TRACES, [made.SerializeToString()])
    step = run_steps(await rig.store.run_spans(rig.tenant, key(1))).steps[-1]
    assert step.message == "no answer in 30 s"


async def test_a_long_run_is_read_whole_but_its_middle_unread(rig: Rig) -> None:
    steps = [
        Node(at + 2, 1, start=at, name="turn", attributes={"output.value": f"turn {at}"}, trace_id=key(1))
        for at in range(2 * STEPS_MAX + 10)
    ]
    await rig.commit([Node(1, start=-1, seconds=9999, failed=True, trace_id=key(1)), *steps])
    found = run_steps(await rig.store.run_spans(rig.tenant, key(1))).steps
    assert len(found) == len(steps)
    assert (found[0].output, found[STEPS_MAX + 2].output, found[-1].output) == ("turn 0", "", f"turn {len(steps) - 1}")


async def test_long_texts_are_cut_in_their_middle(rig: Rig) -> None:
    text = "a" * 30_000 + "middle" + "b" * 30_000
    await rig.commit([Node(1, attributes={"output.value": text}, trace_id=key(1))])
    (span,) = await rig.store.run_spans(rig.tenant, key(1))
    assert len(span.output) == 2 * FAILURE_TEXT_BYTES_MAX
    assert span.output.startswith("aaa")
    assert span.output.endswith("bbb")


async def test_what_cannot_be_answered_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceNotFoundError):
        await rig.failures.attribute(rig.tenant, "no-such-trace")
    with pytest.raises(InvalidFieldsError, match="trace_id"):
        await rig.failures.attribute(rig.tenant, "")
    with pytest.raises(InvalidFieldsError, match="period"):
        await rig.groups("ever")
    await rig.commit(run(1, "Error: broken"))
    monkeypatch.setattr(failures_module, "FAILURE_SPANS_MAX", 2)
    with pytest.raises(TooLargeError, match="over 2 spans"):
        await rig.failures.attribute(rig.tenant, key(1).hex())
