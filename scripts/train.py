"""Fits the coefficients of root cause analysis to recorded incidents, and reports how well they do elsewhere.

    python scripts/train.py [--check] [DATA]

DATA: the folder of the recorded data sets; else as the tests look for them. `--check` reports and writes nothing.
Every figure is cross-validated: by fault target, traffic scenario or fold within a system (each as its recording
has them), and by leaving out one whole system after the other.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent_tracer.server.domain.rca.analysis import analyze  # noqa: E402
from agent_tracer.server.domain.rca.features import SYMPTOM, UNREACHED, gather  # noqa: E402 - the path comes first
from tests.evaluation import rca_nezha, rca_petshop, rca_rootcausebench, rca_tvdiag  # noqa: E402
from tests.evaluation.rca_nezha import Case  # noqa: E402
from tests.fixtures.recorded import LOCATION_VARIABLE, recorded  # noqa: E402

TARGET: Final = ROOT / "server/agent_tracer/server/domain/rca/coefficients.py"
DEPTH: Final = 3
RIDGE: Final = 2.0
RIDGE_ALARMS: Final = 0.3
"""Of features that hundreds of cases speak to, where the few of the others need their prior."""
SYSTEM_WEIGHT: Final = 100.0
"""Of a small system's cases together, so that one with hundreds of cases does not decide alone."""
SMALL: Final = 60
WEIGHT_MIN: Final = 0.04
"""Smaller weights are left out of the file: they decide nothing."""
ALARMS: Final = ("gaia", "sockshop", "hotel")
TELLING: Final = frozenset(
    {"own_symptom", "own_excess", "self_time", "own_error", "edge_in", "log_error", "log_less",
     "metric_cpu", "metric_memory", "metric_disk"}
)  # fmt: skip

Matrix = NDArray[np.float64]
Incident = tuple[Matrix, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rank of the truth (0: nothing was to be found), shares of the first component and of none."""

    rank: int
    share: float
    none: float


def prior(name: str) -> float:
    """What a weight is drawn to where the data say little: evidence speaks against its component."""
    fixed = {UNREACHED: -1.0, SYMPTOM: -3.0, "none": 3.0, "observed": 0.0}
    if name in fixed:
        return fixed[name]
    if name.startswith("alarm"):
        return 0.1 if "." in name else 0.2
    if name.split(".", maxsplit=1)[0] in TELLING:
        return 0.6 if "." in name else 1.5
    return 0.2


def bounds(name: str) -> tuple[float | None, float | None]:
    """The sign that a weight cannot leave."""
    if name in {UNREACHED, SYMPTOM}:
        return (None, 0.0)
    return (None, None) if name in {"none", "observed"} or name.startswith("alarm") else (0.0, None)


def incident(case: Case, names: Sequence[str]) -> Incident:
    """A row of features a component, the last row for none; and which row is the truth, -1 if not among them."""
    findings = gather(case.view, DEPTH)
    place = {name: at for at, name in enumerate(names)}
    rows = [*findings.features.values(), findings.nothing]
    matrix = np.zeros((len(rows), len(names)))
    for row, features in zip(matrix, rows, strict=True):
        for name, value in features.items():
            row[place[name]] = value
    components = list(findings.features)
    if case.truth == rca_petshop.QUIET:
        return matrix, len(components)
    return matrix, components.index(case.truth) if case.truth in components else -1


def fit(incidents: Sequence[Incident], weights: Sequence[float], names: Sequence[str]) -> Matrix:
    """Conditional logit, ridge towards `prior`, signs held."""
    used = [(matrix, truth, weight) for (matrix, truth), weight in zip(incidents, weights, strict=True) if truth >= 0]
    rows = np.vstack([matrix for matrix, _, _ in used])
    starts = np.cumsum([0] + [len(matrix) for matrix, _, _ in used])
    truths = np.array([start + truth for start, (_, truth, _) in zip(starts, used, strict=False)])
    weight = np.array([weight for _, _, weight in used])
    owner = np.repeat(np.arange(len(used)), np.diff(starts))
    centre = np.array([prior(name) for name in names])
    ridge = np.array([RIDGE_ALARMS if name.startswith("alarm") else RIDGE for name in names])

    def loss(point: Matrix) -> tuple[float, Matrix]:
        scores = rows @ point
        highest = np.maximum.reduceat(scores, starts[:-1])
        parts = np.exp(scores - highest[owner])
        whole = np.add.reduceat(parts, starts[:-1])
        value = -(weight * (scores[truths] - highest - np.log(whole))).sum()
        slope = rows.T @ (parts / whole[owner] * weight[owner]) - rows[truths].T @ weight
        away = point - centre
        return float(value + (ridge * away) @ away / 2), slope + ridge * away

    found: Any = minimize(
        loss, centre, jac=True, method="L-BFGS-B", bounds=[bounds(name) for name in names], options={"maxiter": 300}
    )
    return np.asarray(found.x)


def judge(one: Incident, weights: Matrix) -> Outcome:
    """How the weights do on one incident."""
    matrix, truth = one
    scores = matrix @ weights
    parts = np.exp(scores - scores.max())
    parts /= parts.sum()
    components = parts[:-1]
    rank = 0 if truth == len(components) else 1 + int((components > components[truth]).sum()) if truth >= 0 else 99
    return Outcome(rank, float(components.max()), float(parts[-1]))


def validated(
    incidents: Sequence[Incident], weights: Sequence[float], groups: Sequence[str], names: Sequence[str]
) -> list[Outcome]:
    """Each incident judged by weights fitted without its group."""
    outcomes: dict[int, Outcome] = {}
    for group in sorted(set(groups)):
        rest = [at for at, other in enumerate(groups) if other != group]
        fitted = fit([incidents[at] for at in rest], [weights[at] for at in rest], names)
        outcomes |= {at: judge(incidents[at], fitted) for at, other in enumerate(groups) if other == group}
    return [outcomes[at] for at in range(len(incidents))]


def platt(outcomes: Sequence[Outcome], weights: Sequence[float]) -> tuple[float, float]:
    """Slope and offset that make shares of cross-validated first answers probabilities."""
    shares = np.clip([outcome.share for outcome in outcomes], 1e-6, 1 - 1e-6)
    odds, right = np.log(shares / (1 - shares)), np.array([outcome.rank == 1 for outcome in outcomes], dtype=float)
    weight = np.array(weights)

    def loss(point: Matrix) -> float:
        scores = point[0] * odds + point[1]
        return float((weight * (np.logaddexp(0, scores) - right * scores)).sum())

    found: Any = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.1, 5.0), (-5.0, 5.0)])
    return float(found.x[0]), float(found.x[1])


def calibration_error(confidences: Matrix, right: Matrix) -> float:
    """Expected calibration error over five equal bins (Naeini et al. 2015)."""
    bins = np.minimum((confidences * 5).astype(int), 4)
    return float(
        sum(
            abs(confidences[bins == at].mean() - right[bins == at].mean()) * (bins == at).mean()
            for at in set(bins.tolist())
        )
    )


def report(cases: Sequence[Case], outcomes: Sequence[Outcome], slope: float, offset: float) -> None:
    """A line a system."""
    for system in dict.fromkeys(_system(case) for case in cases):
        chosen = [outcome for case, outcome in zip(cases, outcomes, strict=True) if _system(case) == system]
        shares = np.clip([outcome.share for outcome in chosen], 1e-6, 1 - 1e-6)
        confidences = 1 / (1 + np.exp(-(slope * np.log(shares / (1 - shares)) + offset)))
        silent = np.array([outcome.none > outcome.share for outcome in chosen]) | (confidences < THRESHOLD)
        ranks = np.array([outcome.rank for outcome in chosen])
        if not ranks.any():
            print(f"  {system:16} {len(chosen):4}  specificity {silent.mean():.3f}")
            continue
        at = " ".join(f"@{count} {(ranks <= count).mean():.3f}" for count in (1, 3, 5))
        error = calibration_error(confidences, (ranks == 1).astype(float))
        print(f"  {system:16} {len(chosen):4}  {at}  calibration error {error:.3f}  abstained {silent.mean():.3f}")


THRESHOLD: Final = 0.3


def report_changes() -> None:
    """Nothing of the reading of diffs is fitted, but its tables were written with these incidents at hand."""
    named = []
    for case in rca_rootcausebench.cases(recorded("rootcausebench")):
        cause = analyze(case.view, DEPTH).root_cause
        named.append((cause.change if cause and cause.change else rca_rootcausebench.NO_CHANGE, case))
    right = sum(change == case.truth for change, case in named)
    decoys = sum(change in case.decoys for change, case in named)
    print(f"changes: {right} of {len(named)} named, {decoys} decoys")


def _system(case: Case) -> str:
    return f"{case.system} (quiet)" if case.truth == rca_petshop.QUIET else case.system


def load() -> list[Case]:
    """All recorded incidents, and windows without any."""
    petshop = recorded("petshop")
    return [
        *rca_nezha.cases(recorded("nezha-trainticket")),
        *rca_petshop.cases(petshop),
        *rca_petshop.quiet_cases(petshop),
        *rca_tvdiag.cases(recorded("tvdiag")),
    ]


def write(names: Sequence[str], weights: Matrix, slope: float, offset: float, about: str) -> None:
    """The module of fitted figures."""
    lines = [
        f'    "{name}": {weight:.3f},' for name, weight in zip(names, weights, strict=True) if abs(weight) >= WEIGHT_MIN
    ]
    TARGET.write_text(
        f'"""Fitted by scripts/train.py, not by hand.\n\n{about}\n"""\n\n'
        "from collections.abc import Mapping\nfrom typing import Final\n\n"
        f"SLOPE: Final = {slope:.3f}\nOFFSET: Final = {offset:.3f}\n\n"
        f"THRESHOLD: Final = {THRESHOLD}\n"
        '"""An answer of less confidence than this is not given."""\n\n'
        "WEIGHTS: Final[Mapping[str, float]] = {\n" + "\n".join(lines) + "\n}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.data:
        os.environ[LOCATION_VARIABLE] = str(options.data)
    cases = load()
    found = [gather(case.view, DEPTH) for case in cases]
    names = sorted({name for each in found for row in (*each.features.values(), each.nothing) for name in row})
    incidents = [incident(case, names) for case in cases]
    counts = Counter(_system(case) for case in cases)
    weights = [SYSTEM_WEIGHT / counts[_system(case)] if counts[_system(case)] < SMALL else 1.0 for case in cases]
    within = [f"alarms {case.group}" if case.system in ALARMS else f"{case.system} {case.group}" for case in cases]
    outcomes = validated(incidents, weights, within, names)
    slope, offset = platt(outcomes, weights)
    print("groups left out:")
    report(cases, outcomes, slope, offset)
    print("systems left out:")
    report(cases, validated(incidents, weights, [case.system for case in cases], names), slope, offset)
    report_changes()
    if not options.check:
        about = "\n".join(f"{count} incidents of {system}." for system, count in counts.items())
        write(names, fit(incidents, weights, names), slope, offset, about)


if __name__ == "__main__":
    main()
