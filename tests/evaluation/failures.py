"""Which agent at which step failed, and which runs failed alike, asked of a started server."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from agent_tracer.server.domain.failures.steps import Step
from agent_tracer.v1 import correlation_pb2
from tests.evaluation.failures_attribution import NEAR_STEPS, Answer, by_kind, calibration_error, cross_validated
from tests.evaluation.failures_groups import planted, rand_index
from tests.evaluation.failures_otlp import SECOND_NS, run_spans, span_key, trace_key
from tests.evaluation.failures_runs import LabelledRun, all_runs
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, SETTLE_SECONDS_MAX, Product, product
from tests.evaluation.rows import Row, at_least, equal, share

AGENT_LEAST: Final = {"generated": 0.58, "hand-made": 0.64}
STEP_LEAST: Final = {"generated": 0.32, "hand-made": 0.22, "tau": 0.32}
NEAR_LEAST: Final = {"tau": 0.55}
CALIBRATION_MOST: Final = 0.1
RAND_LEAST: Final = 0.9
_APART_NS: Final = 600 * SECOND_NS
"""Between the starts of two runs."""


def attribution(options: Options) -> Iterator[Row]:
    """The labelled runs as traces. No targets but one: the server's coefficients were fitted to these very runs."""
    runs = all_runs()
    with product(options.folder) as server:
        _send(server, [(_name(number, run), run.steps) for number, run in enumerate(runs)])
        asked = list(enumerate(runs))
        answers = server.ask(lambda one: _answer(server, _name(*one), one[1]), asked)
    yield equal(
        "attribution: culprits that are spans of the run at the step named",
        sum(a is not None for a in answers),
        len(runs),
        len(runs),
    )
    known = [answer for answer in answers if answer is not None]
    yield from _rows("attribution (fitted to these runs)", known, told_only=True)


def attribution_left_out(_: Options) -> Iterator[Row]:
    """In process, each run by coefficients that know nothing of its task: refits for every task."""
    yield from _rows("attribution (task left out)", list(cross_validated(all_runs())), told_only=False)


def groups(options: Options) -> Iterator[Row]:
    """Runs of all the sets that end in one of the planted failures, six runs each; then the same after a restart."""
    found = list(planted(0))
    names = [f"planted-{number}" for number in range(len(found))]
    labels = dict(zip((trace_key(name).hex() for name in names), (label for label, _ in found), strict=True))
    half = len(found) // 2
    with product(options.folder) as server:
        _send(server, list(zip(names[:half], (steps for _, steps in found[:half]), strict=True)))
        before = _groups(server)
        _send(server, list(zip(names[half:], (steps for _, steps in found[half:]), strict=True)))
        after = _groups(server)
    kept = sum(after.get(trace) == group for trace, group in before.items())
    yield equal("failure groups: ids that stay when more runs come", kept, len(before), len(before))
    index = rand_index([labels[trace] for trace in after], list(after.values()))
    yield equal("failure groups: runs in a group", len(after), len(found), len(found))
    yield at_least("failure groups: adjusted Rand index of planted failures", index, RAND_LEAST, len(after))


def _name(number: int, run: LabelledRun) -> str:
    return f"{run.kind}-{number}"


def _send(server: Product, runs: Sequence[tuple[str, Sequence[Step]]]) -> None:
    now_ns = time.time_ns()
    starts = (now_ns - (number + 2) * _APART_NS for number in range(len(runs)))
    server.send(
        span for (name, steps), start_ns in zip(runs, starts, strict=False) for span in run_spans(name, steps, start_ns)
    )


def _answer(server: Product, name: str, run: LabelledRun) -> Answer | None:
    """None where the culprit is no step of the run, or not the one whose number is told."""
    request = correlation_pb2.AttributeFailureRequest(trace_id=trace_key(name).hex())
    culprit = server.correlation.AttributeFailure(request, timeout=CALL_SECONDS).culprit
    if culprit.span_id != span_key(name, culprit.step).hex():
        return None
    return Answer(
        run.kind,
        culprit.agent_id.lower() == run.agent.lower(),
        culprit.step == run.step,
        abs(culprit.step - run.step) <= NEAR_STEPS,
        culprit.confidence,
    )


def _groups(server: Product) -> dict[str, str]:
    """Group by trace id, once nothing is missing any more."""
    request = correlation_pb2.ListFailureGroupsRequest(period="30d", page_size=1000)
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while (answer := server.correlation.ListFailureGroups(request, timeout=CALL_SECONDS)).caveats:
        if time.monotonic() > deadline:
            raise TimeoutError(answer.caveats[0])
    return {trace: group.group_id for group in answer.groups for trace in group.sample_trace_ids}


def _rows(title: str, answers: Sequence[Answer], *, told_only: bool) -> Iterator[Row]:
    for kind, found in by_kind(answers).items():
        for name, least, hits in (
            ("agent", AGENT_LEAST, sum(a.agent for a in found)),
            ("step", STEP_LEAST, sum(a.step for a in found)),
            (f"step within {NEAR_STEPS}", NEAR_LEAST, sum(a.near for a in found)),
        ):
            yield share(f"{title}: {kind}, {name}", hits, len(found), least=None if told_only else least.get(kind))
    error = calibration_error(answers)
    target = {} if told_only else {"target": f"<= {CALIBRATION_MOST}", "reached": error <= CALIBRATION_MOST}
    yield Row(f"{title}: calibration error", f"{error:.3f}", n=len(answers), **target)  # type: ignore[arg-type]
