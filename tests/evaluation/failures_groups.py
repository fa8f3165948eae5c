"""Planted repeats: the same failure in other runs, with other numbers, ids, paths and times.

`python -m tests.evaluation.failures_groups` prints how well the groups are those that were planted.
"""

import random
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from agent_tracer.server.domain.failures.signatures import Signature, signature
from agent_tracer.server.domain.failures.steps import Step
from tests.evaluation.failures_runs import all_runs, tracebench
from tests.fixtures.recorded import recorded

REPEATS: Final = 6

MESSAGES: Final = (
    "ConnectionError: HTTPSConnectionPool(host='{word}.example', port={number}): Max retries exceeded with url: /{id}",
    "TimeoutError: request {uuid} to {url} timed out after {decimal} seconds at {time}",
    "Rate limit reached for model in organization org-{id} on tokens per min: Limit {number}, Used {number}.",
    "This model's maximum context length is {number} tokens. However, your messages resulted in {number} tokens.",
    'FileNotFoundError: [Errno 2] No such file or directory: "{path}"',
    "psycopg.OperationalError: connection to server at {address} failed: server closed the connection at {time}",
    "Error: order #W{number} cannot be modified, items {number}, {number}, {number}",
    "Error: user {id} not found",
    "PermissionError: [Errno 13] Permission denied: '{path}'",
    "KeyError: '{word}'",
    "json.decoder.JSONDecodeError: Expecting value: line {number} column {number} (char {number})",
    "exitcode: 1 (execution failed), {number} lines of output at {time}",
    "mail to {email} was refused by {address} on {date}: mailbox full",
    "ошибка: файл {path} не найден, попытка {number}",
    "工具调用失败: 订单{number}不存在",
    "tool returned status 503 for {url} after {number} attempts",
)

_CHANGED: Final = re.compile(r"\b[0-9a-f]{8,}\b|(?<![\d.])\d{2,}")
"""Single digits stay: an exit code of 0 is no failure, one of 1 is."""


def planted(seed: int) -> Iterator[tuple[str, list[Step]]]:
    """Recorded runs that end in one of the failures, with the number of the failure; REPEATS runs each."""
    draw = random.Random(seed)
    bases = [list(run.steps) for run in all_runs()] + [steps for _, steps in tracebench(recorded("tracebench"))]
    tools = [f"tool_{word}" for word in string.ascii_lowercase]
    for number, message in enumerate(MESSAGES):
        for _ in range(REPEATS):
            yield f"{tools[number % 5]}-{number}", _failing(draw.choice(bases), tools[number % 5], message, draw)


def changed(steps: Sequence[Step], seed: int) -> list[Step]:
    """The same run with other digits and ids in all that was said, as it would be on another day."""
    draw = random.Random(seed)

    def other(found: re.Match[str]) -> str:
        text = found.group()
        signs = string.digits if text.isdigit() else "0123456789abcdef"
        return draw.choice("123456789") + "".join(draw.choice(signs) for _ in text[1:])

    return [
        replace(
            step,
            span_id=f"{draw.getrandbits(64):016x}",
            output=_CHANGED.sub(other, step.output),
            message=_CHANGED.sub(other, step.message),
        )
        for step in steps
    ]


def recorded_failures() -> Iterator[tuple[str, list[Step]]]:
    """Each recorded run and changed ones, with the run's signature's words: the same words are the same failure."""
    runs = [list(run.steps) for run in all_runs()] + [steps for _, steps in tracebench(recorded("tracebench"))]
    for number, steps in enumerate(runs):
        found = signature(steps)
        kept = re.sub(r"[^a-z]+", " ", f"{found.step_name} {found.error_type} {found.message_template}".lower())
        for repeat in range(REPEATS):
            yield kept, changed(steps, number * REPEATS + repeat)


def rand_index(one: Sequence[str], other: Sequence[str]) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985) by scikit-learn."""
    from sklearn.metrics import adjusted_rand_score  # noqa: PLC0415 - slow to import

    return float(adjusted_rand_score(one, other))


def _failing(base: Sequence[Step], tool: str, message: str, draw: random.Random) -> list[Step]:
    """The beginning of a run, then the tool's failure, tried again once."""
    kept = [replace(step, failed=False) for step in base[: draw.randint(1, len(base))]]
    for _ in range(2):
        at = len(kept)
        filled = message.format_map(_Fills(draw))
        span_id = f"{draw.getrandbits(64):016x}"
        kept.append(Step(at, span_id, "agent", "tool", tool, tool_name=tool, message=filled, failed=True))
    return kept


class _Fills(dict[str, str]):
    """A new value at each use of a name."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__()
        self._draw = draw

    def __missing__(self, name: str) -> str:
        draw = self._draw
        digits = str(draw.randint(10, 10 ** draw.randint(2, 9)))
        words = "".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 9)))
        token = f"{draw.getrandbits(64):x}"
        made: Mapping[str, str] = {
            "number": digits,
            "decimal": f"{draw.uniform(0, 90):.2f}",
            "word": words,
            "id": f"{words[:3]}{draw.randint(10**5, 10**8)}",
            "uuid": f"{token[:8]:0>8}-1a2b-4c3d-8e4f-{draw.getrandbits(48):012x}",
            "url": f"https://{words}.example/{token}?page={digits}",
            "path": f"/srv/{words}/run-{digits}/{words}.csv",
            "address": f"10.{draw.randint(0, 255)}.0.{draw.randint(0, 255)}:{draw.randint(1024, 65535)}",
            "email": f"{words}.{digits}@mail.example",
            "time": f"2026-0{draw.randint(1, 9)}-1{draw.randint(0, 9)}T0{draw.randint(0, 9)}:{draw.randint(10, 59)}:12Z",
            "date": f"1{draw.randint(0, 9)}/0{draw.randint(1, 9)}/2026",
        }
        return made[name]


def groups(found: Sequence[tuple[str, list[Step]]]) -> tuple[list[str], list[Signature]]:
    """What was planted, and the signatures."""
    return [label for label, _ in found], [signature(steps) for _, steps in found]


def main() -> None:
    """Print the figures."""
    for title, found in (("planted", list(planted(0))), ("recorded, changed", list(recorded_failures()))):
        labels, signed = groups(found)
        index = rand_index(labels, [one.group_id for one in signed])
        print(f"{title}: {len(labels)} runs, {len(set(labels))} failures, adjusted Rand index {index:.3f}")


if __name__ == "__main__":
    main()
