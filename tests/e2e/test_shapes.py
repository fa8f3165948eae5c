"""Traces of unusual shape: very many spans, very deep, very long values, ids and names of every kind."""

import json
import math
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent_tracer.server.limits import ATTRIBUTE_VALUE_BYTES_MAX
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.e2e.otlp import MS_NS, attribute, otlp_span, send, span_id, spans_request
from tests.e2e.talk import (
    CALL_SECONDS,
    SECOND_NS,
    TRACES,
    all_spans,
    catch_up,
    create,
    message,
    rest,
    stubs,
    unique,
)
from tests.fixtures.otlp_requests import spans_of
from tests.fixtures.program import Program

LARGE: Final = 10_000
FIRST_PAGE_SECONDS: Final = 2.0
"""Several times what a first page takes on a busy machine of two cores; the benchmarks hold it to 300 ms."""

Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def stub(program: Program) -> Iterator[TraceServiceStub]:
    with stubs(program.target) as made:
        yield made


def get(stub: TraceServiceStub, trace_id: bytes) -> trace_pb2.Trace:
    return stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id.hex()), timeout=CALL_SECONDS)


def depth_first(parents: dict[int, int], starts: dict[int, int]) -> list[tuple[str, int]]:
    """(span id, depth) in the order of ListSpans: children under their parent, in order of their start."""
    children: dict[int, list[int]] = {}
    for number, parent in parents.items():
        children.setdefault(parent, []).append(number)
    placed: list[tuple[str, int]] = []
    waiting = [(number, 0) for number in sorted(children[0], key=starts.__getitem__, reverse=True)]
    while waiting:
        number, depth = waiting.pop()
        placed.append((span_id(number).hex(), depth))
        below = sorted(children.get(number, ()), key=starts.__getitem__, reverse=True)
        waiting += [(child, depth + 1) for child in below]
    return placed


def quickest(call: Callable[[], Answer]) -> tuple[Answer, float]:
    """The last answer, and the seconds of the best try of some, so that another program on the machine does not decide."""
    seconds: list[float] = []
    while len(seconds) < 10 and min(seconds, default=FIRST_PAGE_SECONDS) >= FIRST_PAGE_SECONDS:
        began = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - began)
    return answer, min(seconds)


def test_a_trace_of_ten_thousand_spans_is_read_page_by_page(program: Program, stub: TraceServiceStub) -> None:
    trace_id, chance = uuid.uuid4().bytes, random.Random(7)
    parents = {1: 0} | {number: chance.randrange(max(1, number - 40), number) for number in range(2, LARGE + 1)}
    begin = time.time_ns() - 60 * SECOND_NS
    starts = {number: begin + number * MS_NS for number in parents}
    spans = [
        otlp_span(trace_id, number, parent, {"n": number, "text": "a few words " * 4}, starts[number])
        for number, parent in parents.items()
    ]
    chance.shuffle(spans)
    for at in range(0, LARGE, 2000):
        assert send(program, spans_request(*spans[at : at + 2000])).partial_success.rejected_spans == 0
    catch_up(stub)

    trace, got_seconds = quickest(lambda: get(stub, trace_id))
    request = trace_pb2.ListSpansRequest(trace_id=trace_id.hex(), page_size=1000)
    first, listed_seconds = quickest(lambda: stub.ListSpans(request, timeout=CALL_SECONDS))
    print(
        f"first page of {LARGE} spans: GetTrace {got_seconds * 1000:.0f} ms, ListSpans {listed_seconds * 1000:.0f} ms"
    )

    expected = depth_first(parents, starts)
    assert (trace.span_count, trace.error_count, trace.status) == (LARGE, 0, "success")
    assert [(span.span_id, span.depth) for span in trace.spans] == expected[:1000]
    assert [(span.span_id, span.depth) for span in first.spans] == expected[:1000]
    whole = all_spans(stub, trace_id.hex())
    assert [(span.span_id, span.depth) for span in whole] == expected
    assert {span.span_id: span.attributes["n"] for span in whole} == {
        span_id(number).hex(): number for number in parents
    }
    with rest(program) as http:
        page = message(http.get(f"{TRACES}/{trace_id.hex()}/spans?page_size=1000"), trace_pb2.ListSpansResponse)
    assert page == first
    assert max(got_seconds, listed_seconds) < FIRST_PAGE_SECONDS


def test_a_trace_two_hundred_levels_deep_keeps_its_depth(program: Program, stub: TraceServiceStub) -> None:
    trace_id, levels = uuid.uuid4().bytes, 200
    agents = {1: {"gen_ai.agent.id": "outer"}, 100: {"gen_ai.agent.id": "inner"}}
    spans = [otlp_span(trace_id, n, n - 1, agents.get(n)) for n in range(1, levels + 1)]
    send(program, spans_request(*spans[::-1]))
    trace = get(stub, trace_id)
    assert [span.depth for span in trace.spans] == list(range(levels))
    assert [span.parent_span_id for span in trace.spans[1:]] == [span.span_id for span in trace.spans[:-1]]
    assert [span.agent_id for span in trace.spans] == ["outer"] * 99 + ["inner"] * 101
    shown = program.run("traces", "get", "--trace-id", trace_id.hex()).stdout
    assert "span 200" in shown or "more" in shown


def test_spans_whose_parents_never_came_and_rings_of_parents_are_shown(
    program: Program, stub: TraceServiceStub
) -> None:
    trace_id = uuid.uuid4().bytes
    spans = [
        otlp_span(trace_id, 1, 99),
        otlp_span(trace_id, 2, 1),
        otlp_span(trace_id, 3, 4),
        otlp_span(trace_id, 4, 3),
        otlp_span(trace_id, 5, 5),
    ]
    send(program, spans_request(*spans))
    found = all_spans(stub, trace_id.hex(), page_size=2)
    assert sorted(span.name for span in found) == [f"span {n}" for n in range(1, 6)]
    assert get(stub, trace_id).status == "running"


def test_a_value_of_one_mebibyte_comes_back_whole(program: Program, stub: TraceServiceStub) -> None:
    trace_id, size = uuid.uuid4().bytes, ATTRIBUTE_VALUE_BYTES_MAX
    longest = "ä" * (size // 2 - 4) + "12345678"
    span = otlp_span(trace_id, 1, 0, {"text": longest, "input.value": longest, "gen_ai.output.messages": "x" * size})
    assert send(program, spans_request(span)).partial_success.error_message == ""
    (found,) = get(stub, trace_id).spans
    assert found.attributes["text"] == longest
    assert found.attributes["input.value"] == longest
    assert found.input == longest
    assert found.output == "x" * size
    with rest(program) as http:
        by_rest = message(http.get(f"{TRACES}/{trace_id.hex()}"), trace_pb2.Trace)
    assert by_rest.spans[0] == found


def test_one_byte_more_is_cut_with_a_marker_that_says_so(program: Program, stub: TraceServiceStub) -> None:
    trace_id, size = uuid.uuid4().bytes, ATTRIBUTE_VALUE_BYTES_MAX
    span = otlp_span(trace_id, 1, 0, {"text": "y" * (size + 1), "input.value": "z" * (size + 1), "short": "kept"})
    answer = send(program, spans_request(span))
    assert answer.partial_success.rejected_spans == 0
    assert "cut" in answer.partial_success.error_message
    (found,) = get(stub, trace_id).spans
    for text, letter in ((found.attributes["text"], "y"), (found.input, "z")):
        marker = f"...[cut from {size + 1} bytes]"
        assert isinstance(text, str)
        assert text.endswith(marker)
        assert text.startswith(letter * 1000)
        assert len(text.encode()) <= size
    assert found.attributes["short"] == "kept"


IDS: Final = (
    bytes(15) + b"\x01",
    b"\x01" + bytes(15),
    bytes.fromhex("462efc6a694bef11abbdd504bdf80000"),
    b"\xff" * 16,
    bytes(7) + b"\n" + bytes(7) + b"\\",
)


@pytest.mark.parametrize("shape", IDS, ids=bytes.hex)
def test_ids_of_any_bytes_are_found_and_linked(program: Program, stub: TraceServiceStub, shape: bytes) -> None:
    """Columns of fixed width and their indexes are easily confused by zero bytes at an id's end."""
    trace_id = bytes(a ^ b for a, b in zip(shape, bytes(4) + uuid.uuid4().bytes[:8] + bytes(4), strict=True))
    ids = [b"\x01" + bytes(7), bytes(7) + b"\x01", b"\x80" + bytes(6) + b"\x80"]
    spans = [otlp_span(trace_id, 1, 0) for _ in ids]
    for at, span in enumerate(spans):
        span.span_id = ids[at]
        span.parent_span_id = ids[at - 1] if at else b""
        span.start_time_unix_nano += at
    spans[2].links.add(trace_id=trace_id, span_id=ids[0])
    send(program, spans_request(*spans))
    trace = get(stub, trace_id)
    assert [(s.span_id, s.depth) for s in trace.spans] == [(one.hex(), depth) for depth, one in enumerate(ids)]
    assert (trace.spans[2].links[0].trace_id, trace.spans[2].links[0].span_id) == (trace_id.hex(), ids[0].hex())
    request = trace_pb2.ExportTracesRequest(trace_ids=[trace_id.hex()])
    assert sum(answer.otlp.count(trace_id) for answer in stub.ExportTraces(request)) >= len(ids)
    stub.CreateEvaluation(
        trace_pb2.CreateEvaluationRequest(
            trace_id=trace_id.hex(),
            evaluation=trace_pb2.Evaluation(name="n", label="l", annotator="code", span_id=ids[0].hex()),
        )
    )
    assert [e.span_id for e in get(stub, trace_id).evaluations] == [ids[0].hex()]
    stub.DeleteTrace(trace_pb2.DeleteTraceRequest(trace_id=trace_id.hex()))


def test_every_kind_of_value_comes_back(program: Program, stub: TraceServiceStub) -> None:
    trace_id = uuid.uuid4().bytes
    span = otlp_span(trace_id, 1, 0, {"b": True, "i": -(2**63), "d": 0.1, "s": "", "y": b"\x00\xff"})
    span.attributes.add(key="list").value.array_value.values.add().int_value = 7
    inner = span.attributes.add(key="map").value.kvlist_value.values.add(key="k")
    inner.value.array_value.values.add().string_value = "deep"
    span.attributes.add(key="none").value.SetInParent()
    span.attributes.append(attribute("nan", math.nan))
    event = span.events.add(name="happened", time_unix_nano=span.start_time_unix_nano)
    event.attributes.append(attribute("n", 5))
    span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="it broke"))
    span.kind = Span.SPAN_KIND_CLIENT
    send(program, spans_request(span))
    (found,) = get(stub, trace_id).spans
    attributes: Any = dict(found.attributes.items())
    assert (attributes["b"], attributes["i"], attributes["d"], attributes["s"]) == (
        True,
        "-9223372036854775808",
        0.1,
        "",
    )
    assert (attributes["y"], attributes["none"], attributes["nan"]) == ("AP8=", None, "NaN")
    assert list(attributes["list"]) == [7]
    assert dict(attributes["map"])["k"][0] == "deep"
    assert (found.events[0].name, found.events[0].attributes["n"]) == ("happened", 5)
    assert (found.status, found.status_message, found.kind) == ("error", "it broke", "client")
    (answer,) = stub.ExportTraces(trace_pb2.ExportTracesRequest(trace_ids=[trace_id.hex()]))
    (exported,) = spans_of(answer.otlp)
    # As bytes, for NaN is not equal to itself.
    assert exported.SerializeToString(deterministic=True) == span.SerializeToString(deterministic=True)


NAMES: Final = (
    "سلام دنيا", "\u202eright to left\u202c", "שלום עולם", "🧪👩\u200d🔬🏳️\u200d🌈", "e\u0301 against é", "Z̸̢̛a̵l̶g̷o̸",
    "'; DROP TABLE spans; --", '"quoted" \\back\\slash\\', "{agent_id:String}", "<b onmouseover=alert(1)>&amp;</b>",
    "%s %d %n %00", "[bold red]not markup[/]", ":smile:", "日本語エージェント", "a" * 200, " leading and trailing ",
    "NULL", "\\N", "\u00a0", "?#/&=+%2B", "ﬀ ligature", "\U0010ffff", "\ufeffbom",
)  # fmt: skip
TEXTS: Final = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)


def test_any_agent_name_goes_through_every_way(program: Program, stub: TraceServiceStub) -> None:
    round_trip(program, stub, NAMES)


@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@example(["0", " ", "+", "%2B", "a+b c"])
@given(st.lists(TEXTS, min_size=5, max_size=12, unique=True))
def test_any_text_is_an_agent(program: Program, names: list[str]) -> None:
    with stubs(program.target) as stub:
        round_trip(program, stub, names)


def round_trip(program: Program, stub: TraceServiceStub, names: Sequence[str]) -> None:
    ids = {name: unique("named") for name in names}
    with rest(program) as http:
        for name, trace_id in ids.items():
            create(http, trace_id, name, metadata={name: name})
        catch_up(stub)
        for name, trace_id in ids.items():
            by_get = message(http.get(f"{TRACES}/{trace_id}"), trace_pb2.Trace)
            assert (by_get.agent_id, by_get.metadata[name]) == (name, name)
            listed = message(http.get(TRACES, params={"agent_id": name}), trace_pb2.ListTracesResponse)
            assert trace_id in [trace.trace_id for trace in listed.traces], name
            assert {trace.agent_id for trace in listed.traces} == {name}
    for name in names[:3]:
        by_attribute = trace_pb2.ListTracesRequest(attributes=[f"gen_ai.agent.id={name}"])
        assert ids[name] in [trace.trace_id for trace in stub.ListTraces(by_attribute).traces]


def test_names_go_through_the_command_line(program: Program, stub: TraceServiceStub) -> None:
    ids = {unique("cli"): name for name in NAMES}
    with rest(program) as http:
        for trace_id, name in ids.items():
            create(http, trace_id, name)
    catch_up(stub)
    for trace_id, name in list(ids.items())[:2]:
        listed = json.loads(program.run("traces", "list", "--agent-id", name, "--json").stdout)
        assert trace_id in [trace["traceId"] for trace in listed["traces"]]
        assert json.loads(program.run("traces", "get", trace_id, "--json").stdout)["agentId"] == name
    table = program.run("traces", "list", "--limit", "100").stdout
    assert "[bold red]not markup[/]" in table
    assert "<b onmouseover=alert(1)>&amp;</b>" in table
    assert "\u202e" not in table, "what turns the direction of the rest of the line is not for a terminal"
