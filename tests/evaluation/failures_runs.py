"""Recorded failed runs with the step that people held to be the cause, as steps of a run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.domain.failures.steps import Step
from tests.fixtures.recorded import recorded

_WHO_AND_WHEN: Final = {"generated": "Algorithm-Generated", "hand-made": "Hand-Crafted"}


@dataclass(frozen=True, slots=True)
class LabelledRun:
    """`group` is the task: runs of one task in two sets are one group. `step` is the index of the culprit's step."""

    kind: str
    group: str
    steps: Sequence[Step]
    agent: str
    step: int


def all_runs() -> list[LabelledRun]:
    """Every labelled run that is recorded; skips where the data are not there."""
    agentrx = recorded("agentrx")
    return who_and_when(recorded("who-and-when")) + agentrx_magentic(agentrx) + agentrx_tau(agentrx)


def who_and_when(folder: Path) -> list[LabelledRun]:
    """The runs of Who&When under `folder`, one step a message."""
    return [
        _dialogue(kind, run["question_ID"], run["history"], run["mistake_agent"], int(run["mistake_step"]))
        for kind, name in _WHO_AND_WHEN.items()
        for run in _files(folder / "dev" / name)
    ]


def agentrx_magentic(folder: Path) -> list[LabelledRun]:
    """The group chats of AgentRx; its steps count from 1."""
    found = []
    for truth in _read(folder / "dev" / "magentic_ground_truth.json"):
        failure = _root_cause(truth)
        history = _read(folder / "dev" / "magentic" / f"{truth['trajectory_id']}.json")
        step = int(failure["step_number"]) - 1
        found.append(_dialogue("magentic", truth["trajectory_id"], history, failure["failed_agent"], step))
    return found


def agentrx_tau(folder: Path) -> list[LabelledRun]:
    """The conversations with a shop's customers of AgentRx; its steps count from 1, the system's prompt among them."""
    truths = {truth["trajectory_id"]: truth for truth in _read(folder / "dev" / "tau_retail_ground_truth.json")}
    found = []
    for run in _read(folder / "dev" / "tau_retail_failed.json"):
        failure = _root_cause(truths[run["task_id"]])
        step = int(failure["step_number"]) - 1
        steps = messages(run["traj"])
        found.append(LabelledRun("tau", f"tau-{run['task_id']}", steps, failure["failed_agent"].lower(), step))
    return found


def tracebench(folder: Path) -> Iterator[tuple[str, list[Step]]]:
    """Long runs without a label of a step, each with its name."""
    for path in sorted((folder / "dev").glob("TraceBench-*/*.json")):
        yield path.stem, messages(_read(path)["messages"])


def messages(history: Sequence[Mapping[str, Any]]) -> list[Step]:
    """One step a message of a chat with tools; a tool's step has the arguments of the call that it answers."""
    calls: dict[str, tuple[str, str]] = {}
    found = []
    for index, message in enumerate(history):
        role, text = message["role"], message.get("content") or ""
        span_id = f"{index:016x}"
        if role == "tool":
            name, arguments = calls.get(message.get("tool_call_id", ""), (message.get("name") or "tool", ""))
            found.append(Step(index, span_id, role, "tool", name, "", name, arguments, str(text)))
            continue
        asked = [_call(call) for call in message.get("tool_calls") or ()]
        calls |= {call_id: (name, arguments) for call_id, name, arguments in asked}
        said = "\n".join([str(text), *(f"{name}({arguments})" for _, name, arguments in asked)]).strip()
        kind = "llm" if role == "assistant" else "user"
        found.append(Step(index, span_id, role, kind, role, output=said))
    return found


def _call(call: Mapping[str, Any]) -> tuple[str, str, str]:
    function = call.get("function") or call
    arguments = function.get("arguments") or ""
    return call.get("id") or "", function["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)


def _dialogue(kind: str, group: str, history: Sequence[Mapping[str, Any]], agent: str, step: int) -> LabelledRun:
    """A step a message, by whoever spoke; what an orchestrator says to itself or to others is the orchestrator's."""
    steps = [
        Step(at, f"{at:016x}", speaker.partition(" (")[0], "agent", speaker, output=str(message["content"] or ""))
        for at, message in enumerate(history)
        for speaker in [message.get("name") or message["role"]]
    ]
    return LabelledRun(kind, group, steps, agent, step)


def _root_cause(truth: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = truth["root_cause"]["failure_id"]
    return next(failure for failure in truth["failures"] if failure["failure_id"] == wanted)


def _files(folder: Path) -> list[Any]:
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
