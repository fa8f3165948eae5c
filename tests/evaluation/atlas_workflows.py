"""Workflows made by a small simulator of their own, with and without one change: the truth that replays must find.

The simulator steps through a program (what an agent would do next) on a clock; it knows nothing of replays, trees or
critical paths. Both runs of a pair draw from the same seed, so that they differ by the change alone. `first` is the
number of the first run, and so its seed: other runs of the same workflow.
"""

import heapq
import random
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent_tracer.server.domain.atlas.workflow import NS_PER_MS, WorkSpan
from agent_tracer.server.domain.ids import SpanId


@dataclass
class Recorder:
    """One run: a clock in milliseconds and the spans so far. Its root is the span 0."""

    begin: float
    clock: float = 0.0
    spans: list[WorkSpan] = field(default_factory=list)

    def call(self, name: str, took: float, *, at: float | None = None, **more: Any) -> float:
        """A call under the root; its end, in milliseconds of the run."""
        start = self.clock if at is None else at
        self.spans.append(
            WorkSpan(
                span_id=_id(len(self.spans) + 1),
                parent_id=_id(0),
                start_ns=_ns(self.begin + start),
                end_ns=_ns(self.begin + (start + took)),  # as the next call's start, or they would overlap by rounding
                name=name,
                **more,
            )
        )
        return start + took

    def then(self, name: str, took: float, **more: Any) -> None:
        """A call that the run waits for."""
        self.clock = self.call(name, took, **more)

    def work(self, took: float) -> None:
        """The run's own work."""
        self.clock += took

    def done(self) -> list[WorkSpan]:
        """All spans, the root included."""
        root = WorkSpan(_id(0), None, _ns(self.begin), _ns(self.begin + self.clock), "trip", kind="agent")
        return [root, *self.spans]


Run = list[WorkSpan]


class Scenario(Protocol):
    """Makes so many runs, with or without the change."""

    def __call__(self, count: int, changed: bool, first: int = 0) -> list[Run]: ...


def mean_ms(runs: list[Run]) -> float:
    """The mean duration of the runs, read from their roots."""
    return sum(run[0].duration_ns for run in runs) / len(runs) / NS_PER_MS


def true_gain(scenario: Scenario, count: int, first: int = 0) -> float:
    """The share of the mean duration that the change saves in fact."""
    return 1 - mean_ms(scenario(count, True, first)) / mean_ms(scenario(count, False, first))


def fan_out(count: int, changed: bool, first: int = 0) -> list[Run]:
    """Plan, three lookups that need only the plan, an answer from all three. Changed: the lookups side by side."""
    runs = []
    for number in range(first, first + count):
        draw = random.Random(number)
        run = Recorder(number * 60_000.0)
        city = f"city{number}"
        run.then("chat", draw.lognormvariate(6, 0.3), kind="llm", input=f"a trip to {city}", output=f"look at {city}")
        run.work(draw.uniform(1, 5))
        lookups, ends = [], []
        for tool in ("flights", "hotels", "weather"):
            pause, took = draw.uniform(1, 3), draw.lognormvariate(6.5, 0.4)
            found = f"{tool}-{draw.randrange(10**9)}"
            lookups.append(found)
            run.work(0.0 if changed else pause)
            start = run.clock + (pause if changed else 0.0)
            ends.append(run.call(tool, took, at=start, kind="tool", input=f"place {city}", output=found))
            run.clock = run.clock if changed else ends[-1]
        run.clock = max(ends)
        run.work(draw.uniform(1, 5))
        run.then("answer", draw.lognormvariate(6.2, 0.3), kind="llm", input=" ".join(lookups), output=f"go {city}")
        runs.append(run.done())
    return runs


def retrying(count: int, changed: bool, first: int = 0) -> list[Run]:
    """A tool that fails 40 % of the times, with pauses that double. Changed: it never fails."""
    runs = []
    for number in range(first, first + count):
        draw = random.Random(number)
        run = Recorder(number * 60_000.0)
        run.then("chat", draw.lognormvariate(6, 0.3), kind="llm", input=f"q{number}", output=f"use {number}")
        run.work(draw.uniform(2, 8))
        pause = 200.0
        while draw.random() < 0.4 and pause < 5_000:
            failed, again = draw.lognormvariate(5.5, 0.3), draw.uniform(0.8, 1.2)
            if not changed:
                run.then("crm", failed, kind="tool", status="error", input=f"{number}", output="", cost=0.001)
                run.work(pause * again)
            pause *= 2
        run.then("crm", draw.lognormvariate(6, 0.3), kind="tool", input=f"{number}", output=f"row{number}", cost=0.001)
        run.then("answer", draw.lognormvariate(6.4, 0.3), kind="llm", input=f"row{number}", output="done")
        runs.append(run.done())
    return runs


def repeating(count: int, changed: bool, first: int = 0) -> list[Run]:
    """A loop that looks up one of three documents at each turn. Changed: a document is read once a run."""
    runs = []
    for number in range(first, first + count):
        draw = random.Random(number)
        run = Recorder(number * 60_000.0)
        held: set[str] = set()
        history = f"question{number}"
        for turn in range(6):
            document = f"doc{number}x{draw.randrange(3)}"
            asked = f"{document} turn{turn}"
            run.then("chat", draw.lognormvariate(5.5, 0.3), kind="llm", input=history, output=asked)
            took = draw.lognormvariate(6.5, 0.4)
            if document not in held or not changed:
                run.then("read_document", took, kind="tool", input=document, output=f"text of {document}")
            held.add(document)
            history += f" {asked} text of {document}"
            run.work(draw.uniform(5, 20))
        runs.append(run.done())
    return runs


def queueing(workers: int, changed_workers: int) -> Scenario:
    """Runs that arrive at random and share the workers of one stage. Changed: there are more of them."""

    def scenario(count: int, changed: bool, first: int = 0) -> list[Run]:
        draw = random.Random(first + 7)
        runs, arrival = [], 0.0
        arrivals = []
        for number in range(first, first + count):
            arrival += draw.expovariate(1 / 500)
            own = random.Random(number)
            plan, work, answer = (
                own.lognormvariate(5, 0.3),
                own.expovariate(1 / (425 * workers)),
                own.lognormvariate(5, 0.3),
            )
            arrivals.append((arrival + plan + 2, number, arrival, plan, work, answer))
        free = [0.0] * (changed_workers if changed else workers)
        for ready, _, begin, plan, work, answer in sorted(arrivals):
            start = max(ready, heapq.heappop(free))
            heapq.heappush(free, start + work)
            run = Recorder(begin)
            run.then("chat", plan, kind="llm")
            run.clock = run.call("render", work, at=start - begin, kind="tool")
            run.work(1)
            run.then("answer", answer, kind="llm")
            runs.append(run.done())
        return runs

    return scenario


def two_models(count: int, changed: bool, first: int = 0) -> list[Run]:
    """A third of the runs ask a model of half the latency. Changed: all do."""
    runs = []
    for number in range(first, first + count):
        draw = random.Random(number)
        run = Recorder(number * 60_000.0)
        small = draw.random() < 1 / 3 or changed
        took = draw.lognormvariate(7, 0.3) * (0.5 if small else 1)
        model = "small-1" if small else "large-1"
        run.then(f"chat {model}", took, kind="llm", model=model, cost=0.001 if small else 0.01)
        run.then("save", draw.lognormvariate(5, 0.3), kind="tool")
        runs.append(run.done())
    return runs


def growing_prompts_to(kept: int) -> Scenario:
    """Prompts from 1,000 to 21,000 tokens, 0.1 ms each. Changed: none is longer than `kept`."""

    def scenario(count: int, changed: bool, first: int = 0) -> list[Run]:
        runs = []
        for number in range(first, first + count):
            draw = random.Random(number)
            run = Recorder(number * 60_000.0)
            tokens, answer = draw.randrange(1_000, 21_001), draw.randrange(20, 200)
            read = min(tokens, kept) if changed else tokens
            took = 300 + 0.1 * read + 5 * answer + draw.gauss(0, 40)
            run.then("chat", max(1.0, took), kind="llm", input_tokens=read, output_tokens=answer)
            runs.append(run.done())
        return runs

    return scenario


growing_prompts = growing_prompts_to(11_000)
"""To their median."""


def _id(number: int) -> SpanId:
    return SpanId((number + 1).to_bytes(8, "big"))


def _ns(milliseconds: float) -> int:
    return round(milliseconds * NS_PER_MS)
