"""Calls of models and tasks of agents for Prometheus, added up in bulk."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from agent_tracer.server.limits import LABEL_LENGTH_MAX, LABELLED_AGENT_TYPES_MAX, LABELLED_MODELS_MAX
from agent_tracer.server.ports.work_counts import CALL_SECONDS, TASK_SECONDS, CallGroup, Durations, TaskGroup

UNKNOWN: Final = "unknown"
"""What telemetry leaves out."""
OTHER: Final = "other"
"""What there are too many names of."""

_REQUESTS: Final = "agent_tracer_llm_requests"
_TASKS: Final = "agent_tracer_agent_tasks"

Labels = tuple[str, ...]


@dataclass(slots=True)
class _Work:
    """What is added up of one set of labels."""

    bounds: Sequence[float]
    by_status: dict[str, int] = field(default_factory=dict)
    within: list[int] = field(default_factory=list)
    count: int = 0
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None

    def add(self, status: str, more: Durations) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + more.count
        self.within = [a + b for a, b in zip(self.within or [0] * len(self.bounds), more.within, strict=True)]
        self.count += more.count
        self.seconds += more.seconds

    def buckets(self) -> list[tuple[str, float]]:
        """By upper bound, as prometheus-client takes them."""
        named = [(str(bound), float(n)) for bound, n in zip(self.bounds, self.within, strict=True)]
        return [*named, ("+Inf", float(self.count))]


class PrometheusWork(Collector):
    """ports.work_counts.WorkMetrics. Register it in the server's registry.

    Counters start at zero with the process. The first LABELLED_MODELS_MAX pairs of provider and model, and the first
    LABELLED_AGENT_TYPES_MAX types, have series; all further ones are `other`, and `agent_tracer_label_overflow_total`
    counts what went there.
    """

    def __init__(self) -> None:
        self._models: dict[Labels, _Work] = {}
        self._agent_types: dict[Labels, _Work] = {}
        self._overflow = {_REQUESTS: 0, _TASKS: 0}
        self._turn = threading.Lock()
        self.before_collect: Callable[[], None] | None = None
        """Called before each scrape: brings up to date what only time changes."""

    def called(self, calls: CallGroup) -> None:
        """See the port."""
        with self._turn:
            labels = self._place(_REQUESTS, self._models, (calls.provider, calls.model), LABELLED_MODELS_MAX, calls)
            work = self._models.setdefault(labels, _Work(CALL_SECONDS))
            work.add(_label(calls.status), calls.durations)
            work.input_tokens += calls.input_tokens
            work.output_tokens += calls.output_tokens
            if calls.cost is not None:
                work.cost = (work.cost or 0.0) + calls.cost

    def worked(self, tasks: TaskGroup) -> None:
        """See the port."""
        with self._turn:
            labels = self._place(_TASKS, self._agent_types, (tasks.agent_type,), LABELLED_AGENT_TYPES_MAX, tasks)
            self._agent_types.setdefault(labels, _Work(TASK_SECONDS)).add(_label(tasks.status), tasks.durations)

    def _place(
        self, metric: str, known: Mapping[Labels, _Work], names: Labels, most: int, group: CallGroup | TaskGroup
    ) -> Labels:
        labels = tuple(map(_label, names))
        if labels in known or len(known) < most:
            return labels
        self._overflow[metric] += group.durations.count
        return (OTHER,) * len(labels)

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus-client asks for them."""
        if self.before_collect is not None:
            self.before_collect()
        with self._turn:
            families = (*_of_calls(self._models), *_of_tasks(self._agent_types), _of_overflow(self._overflow))
        yield from families


def _of_calls(models: Mapping[Labels, _Work]) -> Sequence[Metric]:
    by = ("provider", "model")
    requests = CounterMetricFamily(_REQUESTS, "Calls of models, by how they ended.", labels=(*by, "status"))
    durations = HistogramMetricFamily("agent_tracer_llm_duration_seconds", "What calls of models took.", labels=by)
    cost = GaugeMetricFamily(
        "agent_tracer_llm_cost_dollars",
        "What calls of models have cost since the start, in US dollars; absent where none has a price.",
        labels=by,
    )
    tokens = CounterMetricFamily(
        "agent_tracer_llm_tokens",
        "Tokens of calls of models: input with cached ones, output with reasoning.",
        labels=(*by, "direction"),
    )
    for labels, work in models.items():
        for status, count in work.by_status.items():
            requests.add_metric((*labels, status), count)
        durations.add_metric(labels, work.buckets(), work.seconds)
        if work.cost is not None:
            cost.add_metric(labels, work.cost)
        tokens.add_metric((*labels, "input"), work.input_tokens)
        tokens.add_metric((*labels, "output"), work.output_tokens)
    return requests, durations, cost, tokens


def _of_tasks(agent_types: Mapping[Labels, _Work]) -> Sequence[Metric]:
    tasks = CounterMetricFamily(_TASKS, "Tasks of agents, by how they ended.", labels=("agent_type", "status"))
    durations = HistogramMetricFamily(
        "agent_tracer_agent_duration_seconds", "What tasks of agents took.", labels=("agent_type",)
    )
    for labels, work in agent_types.items():
        for status, count in work.by_status.items():
            tasks.add_metric((*labels, status), count)
        durations.add_metric(labels, work.buckets(), work.seconds)
    return tasks, durations


def _of_overflow(overflow: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(
        "agent_tracer_label_overflow",
        "What was counted as `other`, because there are too many names for a series each.",
        labels=("metric",),
    )
    for metric, count in overflow.items():
        family.add_metric((f"{metric}_total",), count)
    return family


def _label(text: str) -> str:
    """Printable, not empty, and of bounded length: names come from whoever sends telemetry."""
    name = text.strip()
    cut = name if len(name) <= LABEL_LENGTH_MAX else f"{name[: LABEL_LENGTH_MAX - 1]}…"
    return "".join(c if c.isprintable() else "\ufffd" for c in cut) or UNKNOWN
