"""Which step is blamed, and what is said of it, on runs whose cause is plain."""

import time
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_tracer.server.domain.failures.attribution import CANDIDATES_MAX, attribute_failure
from agent_tracer.server.domain.failures.dependencies import dependencies
from agent_tracer.server.domain.failures.features import FEATURES
from agent_tracer.server.domain.failures.ranking import ModelError, Ranking, chances, fitted
from agent_tracer.server.domain.failures.roles import Role, roles
from agent_tracer.server.domain.failures.run import Run, Shape
from agent_tracer.server.domain.failures.signatures import signature
from agent_tracer.server.domain.failures.steps import STEPS_MAX, TEXT_CHARACTERS_MAX, Step, bounded


def step(index: int, agent: str, output: str, **more: object) -> Step:
    return replace(Step(index, f"{index:016x}", agent, output=output), **more)  # type: ignore[arg-type]


def conversation() -> list[Step]:
    """A person asks for one thing, the assistant changes another, and the person objects."""
    return [
        step(0, "user", "Please cancel only the hose of my order 4711.", kind="user"),
        step(1, "shop", "I shall look it up.", kind="llm"),
        step(2, "shop", "Order 4711 has a hose and a spade.", kind="tool", tool_name="get_order"),
        step(3, "shop", "I shall cancel it.", kind="llm"),
        step(4, "shop", "cancelled", kind="tool", tool_name="cancel_order", input='{"order": 4711}'),
        step(5, "shop", "Your order is cancelled.", kind="llm"),
        step(6, "user", "No, I only wanted to cancel the hose!", kind="user"),
        step(7, "shop", "I am sorry.", kind="llm"),
    ]


def led() -> list[Step]:
    return [
        step(0, "human", "How many birds are in the picture?"),
        step(1, "orchestrator", "Let the browser look."),
        step(2, "browser", "I opened the page."),
        step(3, "orchestrator", "Go on."),
        step(4, "browser", "Error code: 400, the content filter was triggered", failed=True),
    ]


def test_the_call_that_a_person_objected_to_is_blamed() -> None:
    found = attribute_failure(conversation())

    assert found.culprit is not None
    assert (found.culprit.agent_id, found.culprit.step, found.culprit.span_id) == ("shop", 3, f"{3:016x}")
    assert "It called cancel_order, which changes something." in found.culprit.reasons
    assert "The person objected in step 6." in found.culprit.reasons


def test_a_run_that_ends_in_an_error_blames_who_ended_it() -> None:
    found = attribute_failure(led())

    assert found.culprit is not None
    assert (found.culprit.agent_id, found.culprit.step) == ("browser", 4)
    assert any("content filter" in reason for reason in found.culprit.reasons)


def test_code_whose_execution_failed_outweighs_talk() -> None:
    steps = [
        step(0, "planner_expert", "The task: count the lines of the file."),
        step(1, "coder", "```python\nprint(len(open('lines.txt').readlines()))\n```"),
        step(2, "terminal", "Traceback (most recent call last):\nFileNotFoundError: lines.txt"),
        step(3, "checker", "It seems that the file is not there."),
        step(4, "planner_expert", "Then we are done. TERMINATE"),
    ]

    found = attribute_failure(steps)

    assert found.culprit is not None
    assert (found.culprit.agent_id, found.culprit.step) == ("coder", 1)
    assert any(reason.startswith("What it asked for failed in step 2") for reason in found.culprit.reasons)


def test_a_change_that_a_later_one_failed_after_is_blamed_and_named() -> None:
    steps = [
        step(0, "user", "Please swap the lamp and mend my address.", kind="user"),
        step(1, "shop", "I shall swap the lamp.", kind="llm"),
        step(2, "shop", "swapped", kind="tool", tool_name="modify_items"),
        step(3, "shop", "I shall mend the address.", kind="llm"),
        step(4, "shop", "Error: an order that was modified is locked", kind="tool", tool_name="modify_address"),
        step(5, "user", "Thank you.", kind="user"),
    ]

    found = attribute_failure(steps)

    assert found.culprit is not None
    assert found.culprit.step == 1
    reason = "After it, modify_address failed in step 4: Error: an order that was modified is locked"
    assert reason in found.culprit.reasons
    assert Run.of(steps).later_failure(3) is None


def test_an_error_at_the_end_weighs_less_the_more_was_done_before_it() -> None:
    short, long = (
        Run.of(led()),
        Run.of(
            [step(n, ["orchestrator", "browser"][n % 2], "on") for n in range(9)]
            + [step(9, "browser", "Error code: 400", failed=True)]
        ),
    )

    assert FEATURES["cut_short"].value(short, 4) == 0.5
    assert FEATURES["cut_short"].value(long, 9) == 0.2
    assert FEATURES["cut_short"].value(long, 7) == 0.0


def test_of_the_calls_that_failed_the_last_one_counts() -> None:
    turns = [
        step(0, "a", "the task"),
        step(1, "b", "try"),
        step(2, "terminal", "Error: no"),
        step(3, "c", "again"),
        step(4, "terminal", "Error: no"),
        step(5, "b", "once more"),
        step(6, "terminal", "done"),
    ]
    run = Run.of(turns)

    assert [bool(FEATURES["last_error"].value(run, at)) for at in run.candidates] == [False, False, True, False]


def test_reasons_name_a_repetition_and_the_step_repeated() -> None:
    said = "Search the catalogue for yellow garden furniture once more"
    steps = [step(n, "worker", said) if n % 2 else step(n, "other", f"nothing found {n}") for n in range(6)]

    found = attribute_failure(steps)

    assert any("repeats step" in reason for candidate in found.candidates for reason in candidate.reasons)


def test_no_steps_no_culprit() -> None:
    assert attribute_failure([]).culprit is None
    assert attribute_failure([step(0, "user", "hello", kind="user")]).candidates == []


def test_a_run_of_tools_alone_blames_a_tool() -> None:
    steps = [
        step(0, "", "rows", kind="tool", tool_name="query"),
        step(1, "", "", kind="tool", name="send", failed=True),
    ]

    found = attribute_failure(steps)

    assert found.culprit is not None
    assert found.culprit.step in {0, 1}


def test_a_span_around_other_deciding_steps_is_no_candidate() -> None:
    around = step(0, "shop", "I am sorry.", span_id="root")
    inner = [replace(one, index=one.index + 1, parent="root") for one in conversation()]

    found = attribute_failure([around, *inner])

    assert found.culprit is not None
    assert found.culprit.step == 4
    assert all(candidate.span_id != "root" for candidate in found.candidates)


def test_names_of_agents_do_not_matter_where_the_turns_tell() -> None:
    names = {"browser": "zeta", "orchestrator": "alpha", "reader": "beta"}
    turns = ["orchestrator", "browser", "orchestrator", "reader"] * 3
    steps = [step(n, names[agent], f"turn {n}") for n, agent in enumerate(turns)]

    assert [role is Role.ORCHESTRATOR for role in roles(steps)] == [agent == "orchestrator" for agent in turns]
    assert Run.of(steps).shape is Shape.LED


@pytest.mark.parametrize(
    ("steps", "shape"), [(conversation(), Shape.SERVED), (led(), Shape.LED), (led()[2:3] * 2, Shape.OPEN)]
)
def test_the_shape_of_a_run(steps: list[Step], shape: Shape) -> None:
    assert Run.of(steps).shape is shape


def test_what_the_end_rests_on_flows_back_to_who_said_it_first() -> None:
    steps = [
        step(0, "a", "The station Przemysl has 4321 visitors in Quebec"),
        step(1, "b", "Nothing of interest here"),
        step(2, "c", "So Przemysl with 4321 visitors in Quebec"),
        step(3, "d", "Przemysl, 4321 visitors in Quebec"),
        *(step(n, "e", f"unrelated words number {n * 17}") for n in range(4, 12)),
        step(12, "f", "The answer: Przemysl, 4321 visitors"),
    ]

    found = dependencies(steps)

    assert set(found.users[0]) == {2, 3, 12}
    assert found.weight[0] > 0.9
    assert found.weight[1] == 0.0


def test_ranking_survives_its_file_and_refuses_an_unknown_feature() -> None:
    ranking = fitted()

    assert Ranking.from_json(ranking.to_json()) == ranking
    with pytest.raises(ModelError):
        Ranking.from_json(ranking.to_json().replace('"works"', '"unheard_of"'))


def test_confidence_rises_with_the_chance_and_stays_between_0_and_1() -> None:
    confidences = [fitted().confidence(chance) for chance in (0.0, 0.01, 0.2, 0.5, 0.9, 1.0)]

    assert confidences == sorted(confidences)
    assert 0 < confidences[0] < confidences[-1] < 1


def test_chances_are_a_softmax() -> None:
    assert chances([1000.0, 1000.0]) == [0.5, 0.5]
    assert chances([]) == []


def test_a_step_that_nothing_sets_apart_says_so() -> None:
    found = attribute_failure([step(0, "a", "hm"), step(1, "a", "hm?", kind="user"), step(2, "a", "hm")])

    assert all(candidate.reasons for candidate in found.candidates)


@pytest.mark.parametrize("sign", ["select ", "a.b@", "error", "Error:", "/a", "'", "x1-", "sorry ", " ", "1:"])
def test_hostile_texts_are_answered_at_once(sign: str) -> None:
    text = sign * TEXT_CHARACTERS_MAX
    begin = time.thread_time()

    attribute_failure([step(0, "a", text), step(1, "b", text)])
    signature([step(0, "a", text, kind="tool", failed=True, message=text)])

    assert time.thread_time() - begin < 2


def test_long_runs_and_texts_are_bounded() -> None:
    steps = [step(n, "a", "x" * (TEXT_CHARACTERS_MAX + n)) for n in range(STEPS_MAX + 10)]

    found = bounded(steps)

    assert len(found) == STEPS_MAX
    assert (found[0].index, found[-1].index) == (0, STEPS_MAX + 9)
    assert max(len(one.output) for one in found) <= TEXT_CHARACTERS_MAX + 1


_TEXTS = st.one_of(st.text(max_size=60), st.sampled_from(["Error: no", "```x```", "sorry", "TERMINATE", "No, wrong"]))
_STEPS = st.lists(
    st.builds(
        Step,
        st.just(0),
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from(["", "human", "orchestrator", "w1", "w2"]),
        st.sampled_from(["agent", "llm", "tool", "user", "other"]),
        parent=st.sampled_from(["", "s1", "s2", "s3"]),
        tool_name=st.sampled_from(["", "get_x", "delete_x"]),
        input=_TEXTS,
        output=_TEXTS,
        failed=st.booleans(),
    ),
    max_size=12,
).map(lambda steps: [replace(one, index=index) for index, one in enumerate(steps)])


@settings(max_examples=60, deadline=None)
@given(_STEPS, st.integers())
def test_any_run_is_answered_whatever_the_order_it_comes_in(steps: list[Step], seed: int) -> None:
    found = attribute_failure(steps)
    mixed = list(steps)
    Random(seed).shuffle(mixed)

    assert attribute_failure(mixed) == found
    assert len(found.candidates) <= CANDIDATES_MAX
    assert all(0 <= candidate.confidence <= 1 for candidate in found.candidates)
    assert [one.confidence for one in found.candidates] == sorted(
        (one.confidence for one in found.candidates), reverse=True
    )
    assert found.culprit == (found.candidates[0] if found.candidates else None)


@settings(max_examples=40, deadline=None)
@given(_STEPS)
def test_every_feature_is_finite_on_any_run(steps: list[Step]) -> None:
    run = Run.of(steps)

    for at in run.candidates:
        for feature in FEATURES.values():
            assert 0 <= float(feature.value(run, at)) < 10
            assert isinstance(feature.reason(run, at), str)
