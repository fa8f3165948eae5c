"""Ingest at full speed: ours and the peers', in turn, each round on an empty data directory."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import contenders
from tests.benchmarks.contenders import Contender
from tests.benchmarks.generator import Sent
from tests.benchmarks.options import Options
from tests.benchmarks.processes import cpu_by_thread, cpu_seconds, rss_bytes, settle, wait_until, watched_memory
from tests.benchmarks.report import Report, Target
from tests.benchmarks.sending import prepared

OURS: Final = contenders.AgentTracer.name
_PART_OF_SPANS: Final[Mapping[str, float]] = {OURS: 1.0, "jaeger": 0.25, "phoenix": 0.01}
"""How much of the load each gets, so that a round takes about as long with each of them."""
_SPANS_MIN: Final = 1_992
_SHOWN_SECONDS_MAX: Final = 120.0
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Run:
    """One load on one server. CPU in seconds, memory in bytes."""

    sent: Sent
    shown_at: float
    cpu_shown: float
    cpu_settled: float
    rss_peak: int
    rss_end: int
    start_seconds: float
    threads: Mapping[str, float]
    stored: tuple[int, int] = (0, 0)

    @property
    def queryable_rate(self) -> float:
        return self.sent.acknowledged / (self.shown_at - self.sent.began)

    @property
    def accepted_rate(self) -> float:
        return self.sent.acknowledged / (self.sent.ended - self.sent.began)

    def per_span(self, seconds: float) -> float:
        """Microseconds a span."""
        return seconds / self.sent.acknowledged * 1e6


def load(contender: Contender, start_seconds: float, **options: object) -> Run:
    """Send at full speed to a running server, wait until it shows the last span, and then until it is quiet."""
    with prepared(contender.target, **options) as sender, watched_memory(contender.pid) as memory:  # type: ignore[arg-type]
        before, threads = cpu_seconds(contender.pid), cpu_by_thread(contender.pid)
        sender.go()
        sent = sender.result()
        if not sent.acknowledged:
            raise RuntimeError(f"{contender.name} took nothing: {sent.error}")
        if not wait_until(lambda: contender.shows(sent), _SHOWN_SECONDS_MAX):
            raise RuntimeError(f"{contender.name} does not show the last span after {_SHOWN_SECONDS_MAX:.0f} s")
        shown_at, shown_cpu = time.time(), cpu_seconds(contender.pid) - before
        settle(contender.pid)
        after = cpu_by_thread(contender.pid)
    return Run(
        sent=sent,
        shown_at=shown_at,
        cpu_shown=shown_cpu,
        cpu_settled=cpu_seconds(contender.pid) - before,
        rss_peak=memory.peak,
        rss_end=rss_bytes(contender.pid),
        start_seconds=start_seconds,
        threads=_by_name(threads, after),
    )


def _by_name(before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]]) -> Mapping[str, float]:
    used: dict[str, float] = defaultdict(float)
    for thread, (name, seconds) in after.items():
        used[name] += seconds - before.get(thread, ("", 0.0))[1]
    return used


def one_round(name: str, options: Options, spans: int, seed: int, **sending: object) -> Run:
    """A fresh server, one load, and what the disk holds of it afterwards."""
    with contenders.fresh_folder(options.folder, name) as folder:
        contender = contenders.make(name, folder)
        with contenders.started(contender) as start_seconds:
            run = load(contender, start_seconds, spans=spans, seed=seed, **sending)
        stored = contender.stored()
    return Run(**{field: getattr(run, field) for field in Run.__slots__ if field != "stored"}, stored=stored)


def measure(options: Options, report: Report) -> None:
    """Rounds in turn, then the figures and our ratios to each peer."""
    names = [OURS, *contenders.installed_peers(options.peers)]
    runs: dict[str, list[Run]] = defaultdict(list)
    for number in range(options.rounds):
        for name in names:
            spans = max(_SPANS_MIN, int(options.spans * _PART_OF_SPANS[name]))
            try:
                runs[name].append(one_round(name, options, spans, seed=number + 1))
            except RuntimeError as error:
                report.note(f"{name}, round {number + 1}: {error}")
                continue
            run = runs[name][-1]
            report.progress(f"{name}: {run.queryable_rate:,.0f} spans/s, {run.per_span(run.cpu_settled):.1f} us a span")
    for name in names:
        _add(report, name, runs[name], options)
    for peer in names[1:]:
        ours, theirs = _rates(runs[OURS]), _rates(runs[peer])
        report.ratio(f"spans/s queryable, {OURS} over {peer}", ours, theirs, Target(1, at_least=True))


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.queryable_rate for run in runs]


def _add(report: Report, name: str, runs: Sequence[Run], options: Options) -> None:
    ours = name == OURS

    def add(figure: str, unit: str, values: Sequence[float], target: Target | None = None) -> None:
        report.add(figure, unit, values, target if ours else None, of=name)

    add("spans acknowledged and queryable", "/s", _rates(runs), Target(30_000, at_least=True))
    add("spans acknowledged", "/s", [r.accepted_rate for r in runs])
    add("server CPU a span, until queryable", "us", [r.per_span(r.cpu_shown) for r in runs])
    add("server CPU a span, merges settled", "us", [r.per_span(r.cpu_settled) for r in runs], Target(35))
    add("load generator CPU a span", "us", [r.per_span(r.sent.cpu_seconds) for r in runs])
    add("memory at its peak", "MiB", [r.rss_peak / _MIB for r in runs], Target(2048))
    add("memory at the end", "MiB", [r.rss_end / _MIB for r in runs])
    add("start to ready, empty data directory", "s", [r.start_seconds for r in runs], Target(4))
    if options.threads:
        for thread in sorted({thread for run in runs for thread in run.threads}):
            values = [run.per_span(run.threads.get(thread, 0.0)) for run in runs]
            if max(values) >= 0.1:
                report.add(f"CPU a span of thread {thread}", "us", values, of=name)
    for run in runs:
        _check(report, name, run)


def _check(report: Report, name: str, run: Run) -> None:
    """A benchmark of a server that loses spans is worth nothing."""
    if run.sent.failed or run.sent.retried:
        report.note(f"{name}: {run.sent.failed} spans refused, {run.sent.retried} retries; {run.sent.error}")
    if run.stored[0] and run.stored[0] != run.sent.acknowledged:
        report.note(f"{name}: {run.sent.acknowledged} spans acknowledged, {run.stored[0]} stored")
