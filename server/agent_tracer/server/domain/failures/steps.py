"""A run as a sequence of steps, as its spans give them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

STEPS_MAX: Final = 2_000
"""Of a run: what a longer one did in between, its first and last thousand steps have done before or after."""

TEXT_CHARACTERS_MAX: Final = 20_000
"""Of a step's text: the first and the last half of it. Whole web pages and logs would drown what was said of them."""

TOOL_KINDS: Final = frozenset({"tool", "retriever", "embedding", "reranker", "guardrail"})
"""Kinds of spans that do what they are told."""

_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run. `index` counts the run's steps in time order from 0; `parent` is a span id, "" at a root.

    kind: "agent", "llm", "tool" and the like, "user" for what a person or a prompt put in. Texts may be empty.
    """

    index: int
    span_id: str
    agent_id: str = ""
    kind: str = "agent"
    name: str = ""
    parent: str = ""
    tool_name: str = ""
    input: str = ""
    output: str = ""
    failed: bool = False
    error_type: str = ""
    message: str = ""

    @property
    def text(self) -> str:
        """What the step put into the run: its output, or its error where it has none."""
        return self.output or self.message

    @property
    def actor(self) -> str:
        """Who acted: the agent, else what the step is called by. What stands in brackets is said of the turn."""
        name = self.agent_id or self.tool_name or self.name
        return name.partition(" (")[0] or name


def bounded(steps: Sequence[Step]) -> list[Step]:
    """The steps by index, at most STEPS_MAX of them (first and last half), each text cut to TEXT_CHARACTERS_MAX."""
    ordered = sorted(steps, key=lambda step: (step.index, step.span_id))
    if len(ordered) > STEPS_MAX:
        ordered = ordered[: STEPS_MAX // 2] + ordered[-STEPS_MAX // 2 :]
    return [
        step
        if max(map(len, (step.input, step.output, step.message))) <= TEXT_CHARACTERS_MAX
        else replace(step, input=_cut(step.input), output=_cut(step.output), message=_cut(step.message))
        for step in ordered
    ]


def name_words(name: str) -> frozenset[str]:
    """The words of a name in lower case, whichever way they are joined; what stands in brackets left out."""
    return frozenset(word.lower() for word in _WORDS.findall(name.partition("(")[0]))


def _cut(text: str) -> str:
    half = TEXT_CHARACTERS_MAX // 2
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:half]}\n{text[-half:]}"
