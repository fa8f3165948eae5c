"""Metrics that left their usual range (robust z: median and interquartile range, as BARO has it)."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from agent_tracer.server.domain.rca.evidence import SCORE_MAX, Evidence, known, onset, robust
from agent_tracer.server.domain.rca.view import IncidentView, MetricSeries, Series

KINDS: Final = (
    ("error", r"err|fail|avail|success|exception|[45]xx|40\d|fault|reject|timeout"),
    ("latency", r"laten|duration|response_?time|elapsed|_p?[59][059]\b|_ms\b|rrt"),
    ("traffic", r"qps|rps|request|\bops\b|_ops_|workload|throughput|traffic|calls"),
    ("memory", r"mem|rss|heap|swap|oom|gc_|garbage"),
    ("disk", r"disk|blkio|fs_|_io\b|\bio_|iops|inode|volume"),
    ("network", r"net|tcp|packet|retrans|receive|transmit|bytes"),
    ("pool", r"pool|queue|backlog|thread|handle|connection|saturat"),
    ("cpu", r"cpu|load|throttl"),
)
"""What a metric's name says that it measures; the first that fits."""

OTHER: Final = "other"
"""What no kind fits."""

FAVOURABLE_WHEN_LOW: Final = frozenset({"error", "latency", "memory", "disk", "pool", "cpu"})
FAVOURABLE_WHEN_HIGH: Final = re.compile(r"avail|success|free|idle")

_PATTERNS: Final = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in KINDS)
_WORD_EDGE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def family(name: str) -> str:
    """The metric's own name, without the attributes in braces that tell its series apart."""
    return name.partition("{")[0]


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str:
    """What the metric measures, by its name: a kind of `KINDS`, else `OTHER`."""
    spaced = _WORD_EDGE.sub("_", family(name)).lower()
    return next((kind for kind, pattern in _PATTERNS if pattern.search(spaced)), OTHER)


def metric_evidence(view: IncidentView) -> Iterator[Evidence]:
    """One piece for each metric that moved against its own past, in its bad direction more than in the other."""
    floors = _floors(view.metrics)
    for metric in view.metrics:
        shown = inverted(metric)
        before, during = known(shown.before), known(shown.during)
        if not before or not during:
            continue
        middle, scale = robust(before, floors[family(metric.name)])
        if scale <= 0:
            continue
        kind = kind_of(metric.name)
        extreme = max(during, key=lambda value: _badness(kind, (value - middle) / scale))
        score = _badness(kind, (extreme - middle) / scale)
        if score < 1:
            continue
        cut = min(score, SCORE_MAX)
        yield Evidence(
            metric.component, "metric", f"metric_{kind}", math.log1p(cut), metric.name,
            f"{_shown(metric)} went from {middle:.4g} to {extreme:.4g}, {cut:.0f} times its usual spread",
            onset(shown.during, middle, scale, view.during), middle, extreme,
        )  # fmt: skip


def _shown(metric: MetricSeries) -> str:
    return f"what {metric.name} lacks" if FAVOURABLE_WHEN_HIGH.search(metric.name.lower()) else metric.name


def inverted(metric: MetricSeries) -> Series:
    """A success share as what is missing to all: its usual 100 % has no scale, its usual nought of failures has."""
    if not FAVOURABLE_WHEN_HIGH.search(metric.name.lower()):
        return metric.values
    whole = max(known([*metric.values.before, *metric.values.during]), default=0.0)
    whole = next((share for share in (1.0, 100.0) if whole <= share), whole)
    return Series([whole - value for value in metric.values.before], [whole - value for value in metric.values.during])


def _badness(kind: str, score: float) -> float:
    """A fall of latency is no fault's sign, but a fall of traffic may be one."""
    return max(score, 0.0) if kind in FAVOURABLE_WHEN_LOW else abs(score)


def _floors(metrics: Sequence[MetricSeries]) -> dict[str, float]:
    """A hundredth of the metric's size over all components, so that a value that was always nought has a scale."""
    sizes: dict[str, list[float]] = defaultdict(list)
    for metric in metrics:
        values = inverted(metric)
        sizes[family(metric.name)] += [abs(value) for value in known([*values.before, *values.during])]
    return {name: 0.1 * sum(values) / len(values) if values else 0.0 for name, values in sizes.items()}
