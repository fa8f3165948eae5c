"""Which spans of a trace are the steps of its run, in which order, and what each of them said."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from agent_tracer.server.domain.failures.attribution import attribute_failure
from agent_tracer.server.domain.failures.content import order_of, output_of, plain, role_of
from agent_tracer.server.domain.failures.signatures import signature
from agent_tracer.server.domain.failures.spans import RunSpan, RunSteps, run_steps
from agent_tracer.server.domain.failures.steps import Step
from agent_tracer.server.domain.ids import AgentId, SpanId
from tests.evaluation.failures_runs import LabelledRun, all_runs

S = 1_000_000_000


def key(number: int) -> SpanId:
    return SpanId(number.to_bytes(8, "big"))


def span(number: int, parent: int = 0, start: float = 0, seconds: float = 1, **more: Any) -> RunSpan:
    if "agent_id" in more:
        more["agent_id"] = AgentId(more["agent_id"])
    times = round(start * S), round(seconds * S)
    return RunSpan(key(number), key(parent) if parent else None, *times, **{"kind": "internal", **more})


def said(number: int, parent: int = 0, start: float = 0, seconds: float = 1, **more: Any) -> RunSpan:
    """A step of an agent."""
    given = {"agent_id": "coder", "output": f"word {number}", "name": f"turn {number}", **more}
    return span(number, parent, start, seconds, **given)


def numbers(found: RunSteps) -> list[int]:
    return [int(step.span_id, 16) for step in found.steps]


TURNS = [(number, float(number)) for number in range(2, 7)]


@pytest.mark.parametrize(
    "root",
    [
        span(1, start=1, seconds=20, name="run"),
        span(1, start=1, seconds=20, name="run", agent_id="crew", output="the answer", kind="agent", failed=True),
        span(1, start=1, seconds=0, name="run"),
        span(1, start=2, seconds=0, name="run", agent_id="crew"),
        span(1, start=2, seconds=20, name="run"),
    ],
    ids=["around", "with-words", "instant", "instant-with-agent", "begins-with-the-first"],
)
def test_a_root_that_stands_for_the_run_is_no_step(root: RunSpan) -> None:
    found = run_steps([root, *(said(number, 1, start) for number, start in TURNS)])
    assert numbers(found) == [2, 3, 4, 5, 6]
    assert [step.index for step in found.steps] == [0, 1, 2, 3, 4]


def test_roots_side_by_side_are_steps() -> None:
    assert numbers(run_steps([said(number, 0, start) for number, start in TURNS])) == [2, 3, 4, 5, 6]


def test_a_message_below_the_one_that_it_answers_is_a_step_like_it() -> None:
    turns = [said(number, number - 1 if number > 2 else 0, start) for number, start in TURNS]
    found = run_steps(turns)
    assert numbers(found) == [2, 3, 4, 5, 6]
    assert {step.parent for step in found.steps} == {""}, "none is around another"


def test_a_first_message_with_all_answers_below_it_is_a_step() -> None:
    assert numbers(run_steps([said(2, 0, 2), *(said(n, 2, start) for n, start in TURNS[1:])])) == [2, 3, 4, 5, 6]


def test_one_span_alone_is_the_step() -> None:
    assert numbers(run_steps([span(1, name="work", failed=True)])) == [1]


def test_an_agent_s_span_around_its_calls_is_no_step() -> None:
    spans = [
        span(1, seconds=30, kind="workflow"),
        said(2, 1, 1, 10, kind="agent", agent_id="planner"),
        said(3, 2, 2, kind="llm", agent_id=""),
        span(4, 2, 4, kind="tool", tool_name="search", output="found"),
        said(5, 1, 12, 10, kind="agent", agent_id="coder"),
        said(6, 5, 13, kind="llm", agent_id=""),
    ]
    found = run_steps(spans)
    assert numbers(found) == [3, 4, 6]
    assert [step.agent_id for step in found.steps] == ["planner", "planner", "coder"]


def test_a_step_with_the_tools_that_it_called_below_it_stays_one() -> None:
    spans = [
        span(1, seconds=30),
        said(2, 1, 1, 5),
        span(3, 2, 2, kind="tool", tool_name="search", output="found"),
        said(4, 1, 8, 5),
    ]
    assert numbers(run_steps(spans)) == [2, 3, 4]


def test_plumbing_below_a_step_is_none() -> None:
    spans = [
        span(1, seconds=30, kind="server", name="POST /run"),
        said(2, 1, 1, 9, kind="llm"),
        span(3, 2, 2, kind="client", name="POST"),
        span(4, 3, 3, kind="server", name="POST /v1/chat"),
        span(5, 2, 4, name="parse"),
    ]
    assert numbers(run_steps(spans)) == [2]


def test_of_services_alone_every_span_is_a_step() -> None:
    spans = [span(1, 0, 0, 9, kind="server"), span(2, 1, 1, 5, kind="client"), span(3, 2, 2, 3, kind="server")]
    assert numbers(run_steps(spans)) == [1, 2, 3]


def test_steps_that_began_at_once_go_by_the_number_that_they_give() -> None:
    turns = [said(number, 1, 2, order=20 - number) for number, _ in TURNS]
    random.Random(1).shuffle(turns)
    assert numbers(run_steps([span(1, start=1, seconds=9), *turns])) == [6, 5, 4, 3, 2]


def test_the_order_of_spans_does_not_matter() -> None:
    spans = [span(1, start=1, seconds=9), *(said(number, 1, 2, number % 3) for number, _ in TURNS)]
    wanted = run_steps(spans)
    for seed in range(5):
        random.Random(seed).shuffle(spans)
        assert run_steps(spans) == wanted


def test_whose_message_it_is_makes_the_kind_where_no_agent_is_told() -> None:
    asked = json.dumps([{"role": "user", "content": "find a flight"}])
    spans = [
        span(1, seconds=20, agent_id="booker"),
        span(2, 1, 1, output="find a flight", role="user"),
        span(3, 1, 2, output="looking", role="assistant"),
        span(4, 1, 3, output="none found", role="tool"),
        span(5, 1, 4, output=asked),
        said(6, 1, 5, role="user"),
    ]
    found = run_steps(spans).steps
    assert [step.kind for step in found] == ["user", "internal", "tool", "user", "internal"]
    assert [step.agent_id for step in found] == ["", "booker", "booker", "", "coder"]
    assert found[3].output == "find a flight"


def test_a_run_whose_words_are_inputs_is_read_by_them() -> None:
    spans = [span(number, 1, start, agent_id="coder", input=f"word {number}") for number, start in TURNS]
    found = run_steps([span(1, seconds=20), *spans]).steps
    assert [step.text for step in found] == [f"word {number}" for number, _ in TURNS]


def test_a_person_s_turn_is_what_went_in() -> None:
    spans = [said(2, 1, 2, agent_id="human", output="", input="that is wrong"), said(3, 1, 3)]
    assert run_steps([span(1, seconds=20), *spans]).steps[0].text == "that is wrong"


def test_a_run_without_a_failing_step_is_known_by_what_its_root_says() -> None:
    root = span(1, seconds=20, name="run", failed=True, message="Error: budget of 30 steps is used up")
    found = run_steps([root, *(said(number, 1, start) for number, start in TURNS)])
    assert signature(found.steps, found.others).message_template == "Error: budget of <value> steps is used up"
    told = run_steps([root, *(said(number, 1, start) for number, start in TURNS), span(9, 1, 7, kind="tool", tool_name="search", output="Error: none")])  # fmt: skip
    assert signature(told.steps, told.others).step_name == "search", "a step that reports an error says more"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("as it is", ("as it is", "")),
        ('{"id": 7, "content": "no message"}', ('{"id": 7, "content": "no message"}', "")),
        ("[1, 2]", ("[1, 2]", "")),
        ("[broken", ("[broken", "")),
        ('[{"role":"assistant","parts":[{"type":"text","content":"hello"}]}]', ("hello", "assistant")),
        ('[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]', ("a\nb", "")),
        ('{"messages":[{"role":"assistant","content":[{"type":"text","text":"hello"}]}]}', ("hello", "assistant")),
        ('{"choices":[{"message":{"role":"assistant","content":"hello"}}]}', ("hello", "")),
        (
            '[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"find","arguments":"{\\"a\\":1}"}}]}]',
            ('find({"a":1})', "assistant"),
        ),
        (
            '[{"role":"assistant","parts":[{"type":"tool_call","name":"find","arguments":{"a":1}}]}]',
            ('find({"a": 1})', "assistant"),
        ),
        ('[{"role":"tool","parts":[{"type":"tool_call_response","response":"none"}]}]', ("none", "tool")),
    ],
)
def test_messages_of_any_chat_become_text(text: str, wanted: tuple[str, str]) -> None:
    assert plain(text) == wanted


def test_attributes_are_read_by_what_their_names_say() -> None:
    assert output_of({"message.content": "said", "gen_ai.prompt.0.content": "asked"}) == "said"
    assert output_of({"content": "said", "agent.response": "answered"}) == "answered"
    assert output_of({"input.text": "asked"}) == ""
    assert (role_of({"message.role": "User "}), role_of({"a.role": "user", "b.role": "tool"})) == ("user", "")
    assert (order_of({"step.index": "4"}), order_of({"step": "four"}), order_of({})) == (4, None, None)


def sent(run: LabelledRun, shape: str, seed: int) -> list[RunSpan]:
    """The run as spans, drawn in one of several ways, in no order."""
    draw = random.Random(seed)
    root = key(2**63)
    ids = [SpanId(draw.getrandbits(62).to_bytes(8, "big")) for _ in run.steps]
    parents: Sequence[SpanId | None] = [root] * len(ids)
    if shape == "roots":
        parents = [None] * len(ids)
    elif shape == "chain":
        parents = [None, *ids[:-1]]
    spans = [_sent(step, *at) for step, at in zip(run.steps, zip(ids, parents, strict=True), strict=True)]
    if shape == "root":
        spans.append(RunSpan(root, None, 0, (len(ids) + 2) * S, "run", "internal", failed=True))
    draw.shuffle(spans)
    return spans


def _sent(step: Step, span_id: SpanId, parent: SpanId | None) -> RunSpan:
    made = RunSpan(span_id, parent, (step.index + 1) * S, S, step.name, step.kind, AgentId(step.agent_id))
    texts = {name: getattr(step, name) for name in ("tool_name", "input", "output", "failed", "error_type", "message")}
    return replace(made, **texts)


@pytest.mark.parametrize("shape", ["root", "roots", "chain"])
def test_however_a_recorded_run_is_drawn_its_answers_are_the_same(shape: str) -> None:
    for number, run in enumerate(all_runs()[::4]):
        found = run_steps(sent(run, shape, number))
        told, wanted = attribute_failure(found.steps).culprit, attribute_failure(run.steps).culprit
        assert told is not None
        assert wanted is not None
        assert (told.agent_id, told.step) == (wanted.agent_id, wanted.step)
        assert signature(found.steps, found.others) == signature(run.steps)
