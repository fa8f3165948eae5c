"""How good an answer is, by evaluators that the caller brings: functions, models, people."""

import asyncio
import inspect
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Evaluation", "Evaluator", "Quality", "evaluate"]

_logger: Final = logging.getLogger("agent_tracer.client")
_BOTH: Final = 2

Evaluator = Callable[..., Any]
"""Takes the prompt's and the answer's text, or the answer's alone; gives a score, `(score, explanation)`, a mapping of
score, label and explanation, or an awaitable of one of these. None is no judgement."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One judgement."""

    score: float | None
    label: str | None = None
    explanation: str | None = None
    kind: str = "CODE"
    """Who judged: CODE, LLM or HUMAN."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Scores by name; those without an evaluator are None. Also read by key: `quality["coherence"]`."""

    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def coherence(self) -> float | None:
        """Whether the answer hangs together."""
        return self.scores.get("coherence")

    @property
    def relevance(self) -> float | None:
        """Whether the answer is one to the question."""
        return self.scores.get("relevance")

    def __getitem__(self, name: str) -> float | None:
        """By name; None without an evaluator."""
        return self.scores.get(name)

    def get(self, name: str, default: float | None = None) -> float | None:
        """By name."""
        return self.scores.get(name, default)


def evaluate(evaluators: Mapping[str, object], prompt: str, answer: str) -> dict[str, Evaluation]:
    """Every evaluator's judgement. One that raises or gives no number judges nothing, and is logged."""
    found = {}
    for name, evaluator in evaluators.items():
        try:
            given = evaluator if not callable(evaluator) else _asked(evaluator, prompt, answer)
            judged = _judged(given)
        except Exception as error:  # noqa: BLE001 - an evaluator is somebody else's code
            _logger.warning("the evaluator of %s failed: %s", name, error)
            continue
        if judged is not None:
            found[name] = judged
    return found


def _asked(evaluator: Evaluator, prompt: str, answer: str) -> object:
    given = evaluator(prompt, answer) if _takes_both(evaluator) else evaluator(answer)
    return _awaited(given) if inspect.isawaitable(given) else given


def _takes_both(evaluator: Evaluator) -> bool:
    try:
        parameters = list(inspect.signature(evaluator).parameters.values())
    except (TypeError, ValueError):
        return True
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return True
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional for parameter in parameters) >= _BOTH


def _awaited(given: Awaitable[Any]) -> object:
    """An awaitable's value, on an event loop of its own: the caller's, if there is one, is running."""
    found: list[Any] = []

    async def wait() -> None:
        found.append(await given)

    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(wait())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, name="agent-tracer evaluator", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def _judged(given: Any) -> Evaluation | None:  # noqa: ANN401 - what an evaluator gives
    if given is None or isinstance(given, Evaluation):
        return given
    if isinstance(given, bool | int | float):
        return Evaluation(_score(given))
    if isinstance(given, tuple):
        score, *others = given
        return Evaluation(_score(score), explanation=str(others[0]) if others else None)
    score, label, explanation = (_read(given, name) for name in ("score", "label", "explanation"))
    if score is None and label is None:
        raise TypeError(f"a score was expected, not {type(given).__name__}")
    kind = str(_read(given, "kind") or _read(given, "annotator_kind") or "CODE").upper()
    return Evaluation(
        None if score is None else _score(score),
        None if label is None else str(label),
        None if explanation is None else str(explanation),
        kind if kind in {"CODE", "LLM", "HUMAN"} else "CODE",
    )


def _read(given: object, name: str) -> Any:  # noqa: ANN401 - of any object
    return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)


def _score(given: Any) -> float:  # noqa: ANN401 - numbers of any library
    score = float(given)
    if not math.isfinite(score):
        raise ValueError(f"{score} is no score")
    return score
