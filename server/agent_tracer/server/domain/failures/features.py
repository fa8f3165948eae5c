"""What speaks for a step being the one that made the run fail: figures relative to the run, and each as a sentence.

The families are those of the literature on failed agent runs (Zhang and others: "Which agent causes task failures and
when?", 2025; Cemri and others: "Why do multi-agent LLM systems fail?", 2025). Which of them count, and how much, is
fitted; the rest are told as observations.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from agent_tracer.server.domain.failures.roles import Role
from agent_tracer.server.domain.failures.run import Run
from agent_tracer.server.domain.failures.wording import assumptions, concludes, doubts, error_line, works

REPETITION_MIN: Final = 0.7
_QUOTE_CHARACTERS: Final = 160
_NOTE_CHARACTERS: Final = 60
"""Shorter texts name who is next, or that all is done: they decide nothing by themselves."""

_LENGTH_SCALE: Final = 10.0
"""Keeps the logarithm of a text's length between 0 and 1, as all other figures are."""


@dataclass(frozen=True, slots=True)
class Feature:
    """`value(run, at)` is 0 to about 1 (counts in logarithms above); `reason(run, at)` a sentence, "" for none.

    `falling`: also a small value is something to tell, where the model weighs it the less the larger it is.
    """

    value: Callable[[Run, int], float]
    reason: Callable[[Run, int], str] = lambda _run, _at: ""
    falling: bool = False


def _cut_short(run: Run, at: int) -> float:
    """1 for an error that ended the run after a single turn of work: there was no time for another mistake."""
    return (at == run.candidates[-1] and run.failed(at)) / max(1, len(run.worker_rank))


def _follows_tool(run: Run, at: int) -> bool:
    return at > 0 and run.roles[at - 1] is Role.TOOL


def _users(run: Run, at: int) -> float:
    return len(run.graph.users[at]) / max(1, len(run.steps) - 1 - at)


def _quoted_error(run: Run, at: int) -> str:
    step = run.steps[at]
    text = step.message or error_line(step.text) or step.error_type or "no text"
    return text if len(text) <= _QUOTE_CHARACTERS else f"{text[:_QUOTE_CHARACTERS]}..."


def _error_reason(run: Run, at: int) -> str:
    answer = run.answer(at)
    if answer is None:
        return ""
    return f"What it asked for failed in step {run.steps[answer].index}: {_quoted_error(run, answer)}"


def _objection_reason(run: Run, at: int) -> str:
    objection = run.objection(at)
    return "" if objection is None else f"The person objected in step {run.steps[objection].index}."


def _later_failure_reason(run: Run, at: int) -> str:
    failed = run.later_failure(at)
    if failed is None:
        return ""
    return (
        f"After it, {run.tool(failed)} failed in step {run.steps[failed + 1].index}: {_quoted_error(run, failed + 1)}"
    )


def _users_reason(run: Run, at: int) -> str:
    found, after = len(run.graph.users[at]), len(run.steps) - 1 - at
    return f"{found or 'None'} of the {after} later steps used what it put out." if after else ""


FEATURES: Final[Mapping[str, Feature]] = {
    "first_reply": Feature(
        lambda run, at: run.candidates[1:2] == [at], lambda _run, _at: "It was the first to act on the task."
    ),
    "works": Feature(
        lambda run, at: works(run.steps[at].text),
        lambda _run, _at: "It acted (code, a query or an address) where other steps only talked.",
    ),
    "after_tool": Feature(
        _follows_tool, lambda run, at: f"It drew its conclusion from the answer in step {run.steps[at - 1].index}."
    ),
    "length": Feature(
        lambda run, at: math.log1p(len(run.steps[at].text)) / _LENGTH_SCALE,
        lambda run, at: f"It put {len(run.steps[at].text)} characters into the run.",
    ),
    "last_error": Feature(lambda run, at: run.failed_calls[-1:] == [at], _error_reason),
    "orchestrates": Feature(
        lambda run, at: run.roles[at] is Role.ORCHESTRATOR, lambda _run, _at: "It decided who does what next."
    ),
    "late": Feature(
        lambda run, at: run.rank[at] / max(1, len(run.candidates) - 1),
        lambda run, at: f"It was decision {run.rank[at] + 1} of {len(run.candidates)}.",
        falling=True,
    ),
    "cut_short": Feature(_cut_short, lambda run, at: f"The run ended with it in an error: {_quoted_error(run, at)}"),
    "worker_concludes": Feature(
        lambda run, at: run.roles[at] is not Role.ORCHESTRATOR and concludes(run.steps[at].text),
        lambda _run, _at: "It reported a result as final.",
    ),
    "says_little": Feature(lambda run, at: len(run.steps[at].text) < _NOTE_CHARACTERS),
    "used": Feature(_users, _users_reason, falling=True),
    "writes": Feature(
        lambda run, at: at in run.write_rank, lambda run, at: f"It called {run.tool(at)}, which changes something."
    ),
    "first_write": Feature(
        lambda run, at: run.write_rank.get(at) == 0, lambda _run, _at: "It was the first to change something."
    ),
    "write_objected": Feature(
        lambda run, at: at in run.write_rank and run.objection(at) is not None, _objection_reason
    ),
    "write_before_failure": Feature(lambda run, at: run.later_failure(at) is not None, _later_failure_reason),
}
"""Every figure that a fitted model may weigh."""


def observations(run: Run, at: int) -> list[str]:
    """What else is to be seen at a step: no evidence by the fitted model, but what a reader looks for."""
    step, found = run.steps[at], []
    if at in run.failed_calls:
        found.append(_error_reason(run, at))
    overlap, earlier = run.repeated(at)
    if overlap >= REPETITION_MIN:
        found.append(f"It repeats step {run.steps[earlier].index} ({100 * overlap:.0f} % of the words).")
    if assumed := assumptions(step.text):
        found.append(f"It has {assumed} words of assumption or example in place of data.")
    if doubted := doubts(step.text):
        found.append(f"It has {doubted} words of doubt or apology.")
    if _follows_tool(run, at) and run.failed(at - 1) and concludes(step.text):
        found.append(f"It reports a result although step {run.steps[at - 1].index} had failed.")
    if run.graph.weight[at] > 0 and at != run.candidates[-1]:
        found.append(f"{100 * run.graph.weight[at]:.0f} % of what the run ended with goes back to it.")
    return found
