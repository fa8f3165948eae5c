"""Usage, model and text of answers, whichever SDK made them."""

from types import SimpleNamespace as Made
from typing import Any

import pytest

from agent_tracer.client.telemetry.model_answers import Usage, model_of, text_of, usage_of
from agent_tracer.client.telemetry.quality import evaluate

OPENAI = Made(
    model="gpt-4.1-mini-2025-04-14",
    choices=[Made(message=Made(content="Paris", role="assistant"))],
    usage=Made(
        prompt_tokens=100, completion_tokens=20, total_tokens=120,
        prompt_tokens_details=Made(cached_tokens=60), completion_tokens_details=Made(reasoning_tokens=8),
    ),
)  # fmt: skip
RESPONSES = Made(
    model="gpt-5", output_text="Paris",
    usage=Made(input_tokens=100, output_tokens=20, input_tokens_details=Made(cached_tokens=60),
               output_tokens_details=Made(reasoning_tokens=8)),
)  # fmt: skip
ANTHROPIC = Made(
    model="claude-haiku-4-5", content=[Made(type="text", text="Par"), Made(type="text", text="is")],
    usage=Made(input_tokens=40, output_tokens=20, cache_read_input_tokens=50, cache_creation_input_tokens=10),
)  # fmt: skip
DICT = {
    "model": "m",
    "choices": [{"message": {"content": "Paris"}}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 20},
}


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        (OPENAI, Usage(100, 20, 60, 0, 8)),
        (RESPONSES, Usage(100, 20, 60, 0, 8)),
        (ANTHROPIC, Usage(100, 20, 50, 10, 0)),
        (DICT, Usage(100, 20)),
        ({"prompt": 100, "completion": 20, "total": 120}, Usage(100, 20)),
        ({"total_tokens": 120}, Usage(120, 0)),
        (Usage(1, 2), Usage(1, 2)),
        ({"input_tokens": 5}, Usage(5, 0)),
    ],
)
def test_usage(answer: Any, usage: Usage) -> None:
    assert usage_of(answer) == usage


@pytest.mark.parametrize("answer", [None, "text", {}, {"usage": {}}, {"usage": {"prompt_tokens": "many"}}, object()])
def test_no_usage_is_made_up(answer: Any) -> None:
    assert usage_of(answer) is None


@pytest.mark.parametrize("answer", [OPENAI, RESPONSES, ANTHROPIC, DICT, "Paris", {"content": [{"text": "Paris"}]}])
def test_text(answer: Any) -> None:
    assert text_of(answer) == "Paris"


def test_model_and_answers_that_say_nothing() -> None:
    assert (model_of(OPENAI), model_of(DICT), model_of("x")) == ("gpt-4.1-mini-2025-04-14", "m", "")
    assert text_of({"choices": [{"message": {"content": None, "tool_calls": []}}]}) == ""


async def _judge(prompt: str, answer: str) -> dict[str, Any]:
    return {"score": 0.5, "label": "so so", "explanation": f"{prompt}/{answer}", "kind": "LLM"}


async def test_evaluators_of_every_shape() -> None:
    found = evaluate(
        {
            "both": lambda prompt, answer: len(prompt) + len(answer),
            "answer": lambda _: (1.0, "because"),
            "async": _judge,
            "given": 0.25,
            "nothing": lambda _: None,
            "raises": lambda _: 1 / 0,
            "no number": lambda _: float("nan"),
            "text": lambda _: "good",
        },
        "ab",
        "c",
    )
    assert {name: one.score for name, one in found.items()} == {"both": 3.0, "answer": 1.0, "async": 0.5, "given": 0.25}
    assert (found["async"].label, found["async"].explanation, found["async"].kind) == ("so so", "ab/c", "LLM")
