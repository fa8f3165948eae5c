"""FindCorrelations over a started server: quiet hours must yield nothing, planted faults must be found."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import httpx
from google.protobuf.message import Message

from agent_tracer.v1 import correlation_pb2 as pb
from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.correlation_pb2_grpc import CorrelationServiceStub
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, SETTLE_SECONDS_MAX, Product, product
from tests.evaluation.rows import Row, share
from tests.fixtures.shop import MINUTE_NS, REFUSED, Shop

HOURS: Final = 20
"""Stretches of telemetry, each with services of its own, for each number of `--seeds`."""

APART_NS: Final = 180 * MINUTE_NS
PLANTED: Final = ("process.cpu.utilization", "db.pool.in_use")
LISTS: Final = ("related_traces", "metrics", "logs", "events")
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answered:
    """Stretches with what was said of one trace of each, and the longest that it took."""

    shops: Sequence[Shop]
    answers: Sequence[pb.Correlations]
    seconds: float


def quiet(options: Options) -> Iterator[Row]:
    """Of traces that went well at times when nothing depends on anything, and of failed ones at such times."""
    with product(options.folder) as it:
        shops = _sent(it, options, fault=False)
        asked = _asked(it, shops, [shop.passed[len(shop.passed) // 2] for shop in shops])
        filled = sum(_is_filled(answer) for answer in asked.answers)
        yield share("correlations: quiet hours with any list", filled, len(shops), most=0.05)
        failing = [shop for shop in shops if shop.failed]
        if failing:
            answers = _asked(it, failing, [shop.failed[0] for shop in failing]).answers
            lists = sum(bool(getattr(answer, name)) for answer in answers for name in LISTS)
            yield share("correlations: lists of lone failures that are filled", lists, 4 * len(failing), most=0.05)


def planted(options: Options) -> Iterator[Row]:
    """Of a failed trace each at times of a fault."""
    with product(options.folder) as it:
        shops = _sent(it, options, fault=True)
        asked = _asked(it, shops, [shop.failed[len(shop.failed) // 2] for shop in shops])
        n = len(shops)
        named = [{metric.name for metric in answer.metrics} for answer in asked.answers]
        for name in PLANTED:
            yield share(f"correlations: planted {name} found", sum(name in of for of in named), n, least=0.9)
        logs = sum(any(log.message == REFUSED for log in answer.logs) for answer in asked.answers)
        yield share("correlations: planted log burst found", logs, n, least=0.9)
        yield share("correlations: planted deploy found", sum(bool(of.events) for of in asked.answers), n, least=0.9)
        told = [{trace.id for trace in answer.related_traces} for answer in asked.answers]
        failed = sum(bool(set(shop.failed) & of) for shop, of in zip(shops, told, strict=True))
        yield share("correlations: traces that failed alike found", failed, n, least=0.9)
        metrics = [name for of in named for name in of]
        wrong = sum(name not in PLANTED for name in metrics)
        yield share("correlations: false among metrics found", wrong, max(1, len(metrics)), most=0.05)
        right = sum(of.root_cause.component.startswith("payment") for of in asked.answers)
        yield share("correlations: hint at the right component", right, n, least=0.9)
        told_in = f"{asked.seconds:.2f} s"
        yield Row(
            "correlations: longest answer", told_in, f"<= {ANSWER_SECONDS:g} s", asked.seconds <= ANSWER_SECONDS, n
        )


def _sent(it: Product, options: Options, *, fault: bool) -> list[Shop]:
    now_ns = time.time_ns()
    count = HOURS * options.seeds
    shops = [
        Shop(now_ns - (number + 1) * APART_NS, seed=number, fault=fault, suffix=f"-{number}") for number in range(count)
    ]
    with httpx.Client(trust_env=False, timeout=CALL_SECONDS) as client:
        for shop in shops:
            for request in shop.spans():
                _post(it, client, "traces", request)
            _post(it, client, "metrics", shop.metrics())
            _post(it, client, "logs", shop.logs())
    _settled(it, sum(shop.minutes * shop.traces_a_minute for shop in shops))
    return shops


def _settled(it: Product, traces: int) -> None:
    """Return once all is counted, so that answers are timed by themselves."""
    request = trace_pb2.AggregateTracesRequest(period="30d")
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while sum(row.count for row in it.traces.AggregateTraces(request, timeout=CALL_SECONDS).rows) < traces:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {traces} traces are counted after {SETTLE_SECONDS_MAX} s")


def _post(it: Product, client: httpx.Client, signal: str, request: Message) -> None:
    url = f"http://127.0.0.1:{it.program.otlp_http}/v1/{signal}"
    headers = {"content-type": "application/x-protobuf"}
    client.post(url, content=request.SerializeToString(), headers=headers).raise_for_status()


def _asked(it: Product, shops: Sequence[Shop], trace_ids: Sequence[str]) -> Answered:
    answers, longest = [], 0.0
    with grpc.insecure_channel(it.program.target) as channel:
        service = CorrelationServiceStub(channel)
        for trace_id in trace_ids:
            request = pb.FindCorrelationsRequest(
                trace_id=trace_id, include_metrics=True, include_logs=True, include_events=True, time_window="5m"
            )
            started = time.monotonic()
            answers.append(service.FindCorrelations(request, timeout=CALL_SECONDS))
            longest = max(longest, time.monotonic() - started)
    return Answered(shops, answers, longest)


def _is_filled(answer: pb.Correlations) -> bool:
    return any(getattr(answer, name) for name in LISTS)
