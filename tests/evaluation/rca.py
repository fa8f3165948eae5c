"""AnalyzeRootCause on recorded incidents: telemetry in by OTLP, CreateIncident, the answer by gRPC."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from agent_tracer.v1 import correlation_pb2 as pb
from scripts.train_fault_types import f1
from scripts.train_scores import calibration_error
from tests.evaluation import rca_left_out, rca_otlp_nezha, rca_otlp_petshop, rca_otlp_rootcausebench, rca_tvdiag
from tests.evaluation.options import Options
from tests.evaluation.product import CALL_SECONDS, Product, product, timestamp
from tests.evaluation.rca_otlp import NS, Asked
from tests.evaluation.rows import Row, share
from tests.fixtures.recorded import recorded

CALIBRATION_MOST: Final = 0.1
FITTED: Final = "(fitted to these incidents)"
SHIFT_NS: Final = 400 * 86_400 * NS
"""Between two cases that must not see each other: further than is looked for what is usual."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An incident with its answer. `rank`: of the truth among the candidates, 0 where it is none of them."""

    asked: Asked
    analysis: pb.RootCauseAnalysis
    seconds: float

    @property
    def rank(self) -> int:
        found = [at for at, of in enumerate(self.analysis.candidates, 1) if of.component == self.asked.truth]
        return found[0] if found else 0

    @property
    def abstained(self) -> bool:
        return not self.analysis.HasField("root_cause")

    @property
    def confidence(self) -> float:
        return self.analysis.candidates[0].confidence if self.analysis.candidates else 0.0


def create(server: Product, asked: Iterable[Asked]) -> None:
    """The incidents, as someone would who has only the alert."""
    for one in asked:
        request = pb.CreateIncidentRequest(
            incident_id=one.name,
            title=one.title,
            service=one.service,
            start_time=timestamp(one.start_ns),
            labels=one.labels,
            annotations=one.annotations,
        )
        if one.end_ns is not None:
            request.end_time.CopyFrom(timestamp(one.end_ns))
        server.correlation.CreateIncident(request, timeout=CALL_SECONDS)


def answers(server: Product, asked: Sequence[Asked]) -> list[Answered]:
    """One after the other; the first call, which waits for what was just sent, is repeated for its time."""
    server.correlation.AnalyzeRootCause(pb.AnalyzeRootCauseRequest(incident_id=asked[0].name), timeout=CALL_SECONDS)
    return [_answer(server, one) for one in asked]


def _answer(server: Product, asked: Asked) -> Answered:
    begun = time.monotonic()
    request = pb.AnalyzeRootCauseRequest(incident_id=asked.name)
    found = server.correlation.AnalyzeRootCause(request, timeout=CALL_SECONDS)
    return Answered(asked, found, time.monotonic() - begun)


def nezha(options: Options) -> Iterator[Row]:
    """The recording of two days in one server."""
    root = recorded("nezha-trainticket")
    with product(options.folder) as server:
        asked = rca_otlp_nezha.incidents(root)
        server.export(rca_otlp_nezha.whole(root))
        create(server, asked)
        found = answers(server, asked)
        yield from _ranks(f"root cause {FITTED}, Nezha Train-Ticket, both days at once", found, {1: 0.80, 5: 0.95})
        slowest = max(one.seconds for one in found)
        middle = sorted(one.seconds for one in found)[len(found) // 2]
        yield Row(
            "root cause, Nezha: seconds a case, median (slowest)",
            f"{middle:.2f} ({slowest:.2f})",
            "< 1",
            middle < 1,
            len(found),
        )
    yield calibration(f"root cause {FITTED}, Nezha: calibration error of the confidence", found)


def nezha_alone(options: Options) -> Iterator[Row]:
    """Each fault by itself, with the sound minute and the metrics of its day: far from the others in time."""
    root = recorded("nezha-trainticket")
    with product(options.folder) as server:
        alone = []
        for at, one in enumerate(rca_otlp_nezha.incidents(root), 1):
            moved, requests = rca_otlp_nezha.alone(root, one, -at * SHIFT_NS // 2)
            server.export(requests)
            alone.append(moved)
        create(server, alone)
        found = answers(server, alone)
        yield from _ranks(f"root cause {FITTED}, Nezha, each fault by itself", found, {1: 0.80, 5: 0.95})


def petshop(options: Options) -> Iterator[Row]:
    """Every issue after a copy of its traffic without faults, and windows of that traffic in which nothing is wrong."""
    root = recorded("petshop")
    with product(options.folder) as server:
        sent = [*rca_otlp_petshop.issues(root), *rca_otlp_petshop.quiet(root)]
        for stretch in sent:
            server.export(stretch.requests())
            create(server, stretch.asked)
        found = answers(server, [asked for stretch in sent for asked in stretch.asked])
    issues = [one for one in found if one.asked.truth]
    quiet = [one for one in found if not one.asked.truth]
    yield from _ranks(f"root cause {FITTED}, PetShop", issues, {1: 0.70, 3: 0.87})
    yield share(
        f"root cause {FITTED}, PetShop, nothing wrong: abstained",
        sum(one.abstained for one in quiet),
        len(quiet),
        least=0.8,
    )
    yield calibration(f"root cause {FITTED}, PetShop: calibration error of the confidence", issues)


def rootcausebench(options: Options) -> Iterator[Row]:
    """Which change brought the incident about, and whether one is named that did not."""
    with product(options.folder) as server:
        asked = []
        for one, requests in rca_otlp_rootcausebench.cases(recorded("rootcausebench")):
            server.export(requests)
            asked.append(one)
        create(server, asked)
        found = answers(server, asked)
    named = [(one.analysis.root_cause.change or rca_otlp_rootcausebench.NO_CHANGE, one.asked) for one in found]
    right = sum(change == of.change for change, of in named)
    decoys = sum(change in of.decoys for change, of in named)
    yield share("root cause, RootCauseBench: the change named (or rightly none)", right, len(named), least=7 / 24)
    yield share("root cause, RootCauseBench: a decoy named", decoys, len(named), most=0.2)
    first = sum(one.rank == 1 for one in found)
    yield share("root cause, RootCauseBench: the service that failed first", first, len(found))


def tvdiag(_: Options) -> Iterator[Row]:
    """Alarms that others extracted, through the same fusion within this process: there is no telemetry to send.

    No targets: these very incidents were fitted to. They are at the answers of rca_left_out.
    """
    cases = list(rca_tvdiag.cases(recorded("tvdiag")))
    for system, title in rca_left_out.ALARMS.items():
        own = [case for case in cases if case.system == system]
        found = [rca_tvdiag.answer(case) for case in own]
        right = [one.component == case.truth for one, case in zip(found, own, strict=True)]
        name = f"root cause {FITTED}, {title}, in process"
        yield share(f"{name}: {rca_left_out.among(1)}", sum(right), len(own))
        kinds = f1([case.kind for case in own], [one.kind for one in found])
        yield Row(f"{name}: F1 of the kind of fault, weighted / macro", str(kinds), n=len(own))
        yield share(f"{name}: abstained", sum(one.abstained for one in found), len(own))
        error = calibration_error(np.array([one.confidence for one in found]), np.array(right))
        yield Row(f"{name}: calibration error of the confidence", f"{error:.3f}", n=len(own))


def _ranks(name: str, found: Sequence[Answered], wanted: Mapping[int, float]) -> Iterator[Row]:
    for most, least in wanted.items():
        hits = sum(0 < one.rank <= most for one in found)
        yield share(f"{name}: {rca_left_out.among(most)}", hits, len(found), least=least)
    yield share(f"{name}: abstained", sum(one.abstained for one in found), len(found))


def calibration(name: str, found: Sequence[Answered]) -> Row:
    """What the confidence says against how often it is right."""
    error = calibration_error(np.array([one.confidence for one in found]), np.array([one.rank == 1 for one in found]))
    return Row(name, f"{error:.3f}", "< 0.1", error < CALIBRATION_MOST, len(found))
