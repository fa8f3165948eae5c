"""The critical path of traces: CRISP's own cases, and what holds for any trace."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.atlas.critical_path import CriticalPath, critical_path
from agent_tracer.server.domain.ids import AgentId, SpanId
from tests.fixtures.recorded import recorded

CRISP = "crisp-critical-path"


@dataclass(frozen=True, slots=True)
class Timed:
    name: str
    parent: str
    start_ns: int
    end_ns: int
    service: str = ""
    kind: str = ""
    agent_id: AgentId = AgentId("")  # noqa: RUF009

    @property
    def span_id(self) -> SpanId:
        return SpanId(self.name.encode())

    @property
    def parent_id(self) -> SpanId | None:
        return SpanId(self.parent.encode()) if self.parent else None


def own_times(path: CriticalPath[Timed]) -> dict[str, int]:
    times: Counter[str] = Counter()
    for segment in path.segments:
        times[segment.span.name if segment.span else ""] += segment.duration_ns
    return dict(times)


def own(*spans: Timed) -> dict[str, int]:
    return own_times(critical_path(spans))


def of_jaeger(document: dict[str, Any]) -> list[Timed]:
    return [
        Timed(
            name=span["spanID"],
            parent=next((ref["spanID"] for ref in span["references"] if ref["refType"] == "CHILD_OF"), ""),
            start_ns=span["startTime"],
            end_ns=span["startTime"] + span["duration"],
            service=f"[{trace['processes'][span['processID']]['serviceName']}] {span['operationName']}",
            kind=next((tag["value"] for tag in span.get("tags") or () if tag["key"] == "span.kind"), ""),
        )
        for trace in document["data"]
        for span in trace["spans"]
    ]


def by_operation(spans: Iterable[Timed], times: dict[str, int]) -> dict[str, int]:
    names = {span.name: span.service for span in spans}
    summed: Counter[str] = Counter()
    for name, duration in times.items():
        summed[names[name]] += duration
    return dict(summed)


def test_every_recorded_case_of_crisp_has_the_published_exclusive_times() -> None:
    wrong = {}
    paths = sorted(recorded(CRISP).glob("dev/test_cases/*.json"))
    for path in paths:
        document = json.loads(path.read_text())
        truth = document["testing"]
        expected = truth[0] if isinstance(truth, list) else truth["opTimeExclusive"]
        spans = of_jaeger(document)
        found = by_operation(spans, own(*spans))
        if found != expected:
            wrong[path.name] = (found, expected)
    print(f"CRISP: {len(paths) - len(wrong)} of {len(paths)} exact")
    assert paths
    assert wrong == {}


def test_what_runs_beside_the_last_child_is_not_on_the_path() -> None:
    spans = [Timed("a", "", 0, 100), Timed("b", "a", 10, 60), Timed("c", "a", 20, 80), Timed("d", "a", 81, 95)]
    assert own(*spans) == {"a": 26, "c": 60, "d": 14}


def test_a_server_whose_clock_is_off_keeps_its_length_within_its_call() -> None:
    call = [Timed("front", "", 0, 100), Timed("call", "front", 10, 90, kind="client")]
    server = Timed("server", "call", 500, 560, kind="server")
    path = critical_path([*call, server, Timed("query", "server", 510, 540)])
    assert own_times(path) == {"front": 20, "call": 20, "server": 30, "query": 30}
    assert [(s.span.name, s.start_ns) for s in path.segments if s.span and s.span.name == "query"] == [("query", 30)]


def test_a_child_that_outlives_its_parent_is_cut_because_the_caller_did_not_wait() -> None:
    assert own(Timed("a", "", 0, 100), Timed("b", "a", 60, 300)) == {"a": 60, "b": 40}


def test_a_child_outside_its_parent_is_left_out_with_all_below_it() -> None:
    spans = [Timed("a", "", 0, 100), Timed("b", "a", 110, 160), Timed("c", "b", 10, 20)]
    assert own(*spans) == {"a": 100}


def test_a_span_whose_parent_was_lost_counts_under_the_only_root() -> None:
    assert own(Timed("a", "", 0, 100), Timed("b", "lost", 20, 70)) == {"a": 50, "b": 50}


def test_between_several_roots_idle_time_is_nobodys() -> None:
    spans = [Timed("a", "", 0, 40), Timed("b", "", 30, 50), Timed("c", "", 70, 100)]
    path = critical_path(spans)
    assert own_times(path) == {"a": 30, "b": 20, "": 20, "c": 30}
    assert path.duration_ns == 100


def test_a_span_without_time_of_its_own_is_named_once() -> None:
    path = critical_path([Timed("a", "", 0, 100), Timed("b", "a", 0, 100)])
    assert [(s.span.name if s.span else "", s.duration_ns) for s in path.segments] == [("a", 0), ("b", 100)]


def test_segments_carry_the_agent_that_their_span_inherits() -> None:
    spans = [Timed("a", "", 0, 100, agent_id=AgentId("planner")), Timed("b", "a", 10, 90)]
    assert {segment.agent_id for segment in critical_path(spans).segments} == {"planner"}


def test_a_trace_without_spans_is_refused() -> None:
    with pytest.raises(ValueError, match="without spans"):
        critical_path([])


@st.composite
def traces(draw: st.DrawFn) -> list[Timed]:
    """Any spans: parents missing, cycles, clocks off, no duration, several roots, ends before starts."""
    count = draw(st.integers(1, 14))
    names = [f"s{number}" for number in range(count)]
    parents = st.sampled_from([*names, "", "lost"])
    kinds = st.sampled_from(["", "client", "server"])
    return [
        Timed(name, draw(parents), start, start + draw(st.integers(-3, 120)), kind=draw(kinds))
        for name, start in ((name, draw(st.integers(0, 100))) for name in names)
    ]


@given(traces())
def test_segments_follow_each_other_and_add_up_to_the_duration(spans: list[Timed]) -> None:
    path = critical_path(spans)
    assert sum(segment.duration_ns for segment in path.segments) == path.duration_ns
    for one, next_one in pairwise(path.segments):
        assert one.start_ns + one.duration_ns == next_one.start_ns


@given(traces(), st.randoms(use_true_random=False))
def test_the_order_in_which_spans_arrive_does_not_matter(spans: list[Timed], random: Any) -> None:
    shuffled = list(spans)
    random.shuffle(shuffled)
    assert critical_path(shuffled) == critical_path(spans)


def chain(depth: int) -> Sequence[Timed]:
    return [Timed(f"s{n}", f"s{n - 1}" if n else "", n, 4 * depth - n) for n in range(depth)]


def wide(count: int) -> Sequence[Timed]:
    return [Timed("s", "", 0, count), *(Timed(f"s{n}", "s", n, n + 1) for n in range(count))]


@pytest.mark.parametrize("spans", [chain(100_000), wide(100_000)], ids=["deep", "wide"])
def test_a_trace_of_the_largest_size_takes_seconds_at_most(spans: Sequence[Timed]) -> None:
    started = time.process_time()
    path = critical_path(spans)
    took = time.process_time() - started
    print(f"{len(spans):,} spans: {took:.2f} s")
    assert len(path.segments) >= 100_000
    assert took < 10
