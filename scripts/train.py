"""Fits the coefficients of root cause analysis to recorded incidents, and reports how well they do elsewhere.

    python scripts/train.py [--check] [DATA]

DATA: the folder of the recorded data sets; else as the tests look for them. `--check` reports and writes nothing.
Every figure is cross-validated: by fault target, traffic scenario or fold within a system (each as its recording
has them), and by leaving out one whole system after the other.

Fitted in two steps: first the relative features, which mean the same in every system; then, on top of them and
without moving them, the words of alarms, which mean something in the systems that they come from.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent_tracer.server.domain.rca.alarm_evidence import WHOLE  # noqa: E402 - the path comes first
from agent_tracer.server.domain.rca.alarm_model import MODEL_FILE, AlarmModel, Taxonomy, to_json  # noqa: E402
from agent_tracer.server.domain.rca.alarm_words import WORD  # noqa: E402
from agent_tracer.server.domain.rca.analysis import analyze  # noqa: E402
from agent_tracer.server.domain.rca.features import SYMPTOM, UNREACHED, Features, Findings, gather  # noqa: E402
from agent_tracer.server.domain.rca.model import NONE, Model, shares  # noqa: E402
from scripts import train_fault_types  # noqa: E402
from scripts.train_scores import THRESHOLD, Outcome, Score, is_quiet, line, scores, system_of  # noqa: E402
from tests.evaluation import rca_nezha, rca_petshop, rca_rootcausebench, rca_tvdiag  # noqa: E402
from tests.evaluation.rca_nezha import Case  # noqa: E402
from tests.fixtures.recorded import LOCATION_VARIABLE, recorded  # noqa: E402

TARGETS: Final = ROOT / "server/agent_tracer/server/domain/rca"
DEPTH: Final = 3
RIDGE: Final = 2.0
RIDGE_WHOLE: Final = 1.0
RIDGE_ALARMS: Final = 10.0
"""Of alarms by kind: what one system's say of a kind another's need not, so all together are to decide first."""

RIDGE_WORDS: Final = 2.0
RIDGE_PLATT: Final = 2.0
"""Towards shares being the confidences, which a few dozen incidents are not to move far."""
WORD_CASES_MIN: Final = 3
"""Words of fewer incidents are left out."""
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
Sample = tuple[Case, Findings]


@dataclass(frozen=True, slots=True)
class Names:
    """The features, in the order of the columns: relative ones, then words."""

    relative: Sequence[str]
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Incident:
    """A row a component, the last row for none; `truth`: the row that is right, -1 if it is not among them."""

    relative: Any
    words: Any
    truth: int


@dataclass(frozen=True, slots=True)
class Weights:
    """As `Names` has them."""

    relative: Matrix
    words: Matrix


@dataclass(frozen=True, slots=True)
class Data:
    """Incidents with what was found in them, as numbers, with their weights and the names of the columns."""

    samples: Sequence[Sample]
    incidents: Sequence[Incident]
    weights: Sequence[float]
    names: Names

    @property
    def cases(self) -> list[Case]:
        """Of the samples, in their order."""
        return [case for case, _ in self.samples]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is answered by weights without the incident's group, and without its whole system; kinds by fold.

    `calibration` is fitted to the answers without the group.
    """

    groups: Sequence[Score]
    systems: Sequence[Score]
    kinds: Sequence[train_fault_types.Score]
    calibration: Model


def prior(name: str) -> float:
    """What a weight is drawn to where the data say little: evidence speaks against its component."""
    fixed = {UNREACHED: -1.0, SYMPTOM: -3.0, "none": 3.0, "observed": 0.0}
    if name in fixed:
        return fixed[name]
    if name.startswith(WHOLE):
        return (0.5 if "_rare" in name else 1.0) * (2.0 if name.endswith(".share") else 1.0)
    if name.startswith("alarm"):
        return 0.1
    if name.split(".", maxsplit=1)[0] in TELLING:
        return 0.6 if "." in name else 1.5
    return 0.2


def bounds(name: str) -> tuple[float | None, float | None]:
    """The sign that a weight cannot leave."""
    if name in {UNREACHED, SYMPTOM}:
        return (None, 0.0)
    return (None, None) if name in {"none", "observed"} or name.startswith("alarm") else (0.0, None)


def ridge(name: str) -> float:
    """How strongly a weight is drawn to its prior."""
    return RIDGE_WHOLE if name.startswith(WHOLE) else RIDGE_ALARMS if name.startswith("alarm") else RIDGE


def name_features(findings: Sequence[Findings]) -> Names:
    """All relative features of the incidents, and the words of enough of them."""
    counts = Counter(
        name
        for found in findings
        for name in {name for row in (*found.features.values(), found.nothing) for name in row}
    )
    relative = sorted(name for name in counts if not name.startswith(WORD))
    words = sorted(name for name, count in counts.items() if name.startswith(WORD) and count >= WORD_CASES_MIN)
    return Names(relative, words)


def incident(case: Case, findings: Findings, names: Names) -> Incident:
    """The case as numbers."""
    rows = [*findings.features.values(), findings.nothing]
    components = list(findings.features)
    quiet = is_quiet(case)
    truth = len(components) if quiet else components.index(case.truth) if case.truth in components else -1
    return Incident(_matrix(rows, names.relative), _matrix(rows, names.words), truth)


def _matrix(rows: Sequence[Features], names: Sequence[str]) -> Any:  # noqa: ANN401 - scipy has no types
    place = {name: at for at, name in enumerate(names)}
    matrix = sparse.lil_matrix((len(rows), len(names)))
    for at, features in enumerate(rows):
        for name, value in features.items():
            if name in place:
                matrix[at, place[name]] = value
    return matrix.tocsr()


def fit(incidents: Sequence[Incident], weights: Sequence[float], names: Names) -> Weights:
    """Both steps; words only where there are any."""
    used = [(each, weight) for each, weight in zip(incidents, weights, strict=True) if each.truth >= 0]
    chosen, counts = [each for each, _ in used], [weight for _, weight in used]
    centre = np.array([prior(name) for name in names.relative])
    strength = np.array([ridge(name) for name in names.relative])
    relative = _fit(
        [each.relative for each in chosen], [np.zeros(each.relative.shape[0]) for each in chosen],
        [each.truth for each in chosen], counts, centre, strength, [bounds(name) for name in names.relative],
    )  # fmt: skip
    told = [(each, count) for each, count in zip(chosen, counts, strict=True) if each.words.nnz]
    if not told:
        return Weights(relative, np.zeros(len(names.words)))
    words = _fit(
        [each.words for each, _ in told], [each.relative @ relative for each, _ in told],
        [each.truth for each, _ in told], [count for _, count in told], np.zeros(len(names.words)),
        np.full(len(names.words), RIDGE_WORDS), [(None, None)] * len(names.words),
    )  # fmt: skip
    return Weights(relative, words)


def _fit(  # noqa: PLR0913, PLR0917 - one private use, in two steps alike
    matrices: Sequence[Any],
    offsets: Sequence[Matrix],
    right: Sequence[int],
    counts: Sequence[float],
    centre: Matrix,
    strength: Matrix,
    limits: Sequence[tuple[float | None, float | None]],
) -> Matrix:
    """Conditional logit with known parts of the scores, ridge towards `centre`, signs held."""
    rows = sparse.csr_matrix(sparse.vstack(matrices))
    turned = rows.T.tocsr()
    known = np.concatenate(offsets)
    starts = np.cumsum([0] + [matrix.shape[0] for matrix in matrices])
    truths = starts[:-1] + np.array(right)
    weight = np.array(counts)
    owner = np.repeat(np.arange(len(matrices)), np.diff(starts))
    at_truth = np.zeros(len(known))
    at_truth[truths] = weight

    def loss(point: Matrix) -> tuple[float, Matrix]:
        scores = rows @ point + known
        highest = np.maximum.reduceat(scores, starts[:-1])
        parts = np.exp(scores - highest[owner])
        whole = np.add.reduceat(parts, starts[:-1])
        value = -(weight * (scores[truths] - highest - np.log(whole))).sum()
        slope = turned @ (parts / whole[owner] * weight[owner] - at_truth)
        away = point - centre
        return float(value + (strength * away) @ away / 2), slope + strength * away

    found: Any = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 300})
    return np.asarray(found.x)


def model_of(names: Names, weights: Weights) -> Model:
    """As the file of fitted figures will have it."""
    named = [*zip(names.relative, weights.relative, strict=True), *zip(names.words, weights.words, strict=True)]
    return Model({name: float(weight) for name, weight in named if abs(weight) >= WEIGHT_MIN}, 1.0, 0.0)


def judge(case: Case, findings: Findings, model: Model) -> Outcome:
    """How the weights do on one incident, by the code that the server runs."""
    components = shares(findings, model)
    none = components.pop(NONE)
    first = max(components, key=lambda name: components[name])
    at_truth = components.get(case.truth)
    rank = 99 if at_truth is None else 1 + sum(share > at_truth for share in components.values())
    return Outcome(0 if is_quiet(case) else rank, components[first], none, first)


def validated(data: Data, groups: Sequence[str]) -> list[Outcome]:
    """Each incident judged by weights fitted without its group."""
    outcomes: dict[int, Outcome] = {}
    for group in sorted(set(groups)):
        rest = [at for at, other in enumerate(groups) if other != group]
        fitted = fit([data.incidents[at] for at in rest], [data.weights[at] for at in rest], data.names)
        model = model_of(data.names, fitted)
        outcomes |= {at: judge(*data.samples[at], model) for at, other in enumerate(groups) if other == group}
    return [outcomes[at] for at in range(len(groups))]


def calibrated(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Model:
    """The calibration of incidents known by telemetry, and of those known by alarms; a model without weights."""
    found: list[float] = []
    for alarms in (False, True):
        chosen = [at for at, case in enumerate(cases) if bool(case.view.alarms) == alarms]
        found += platt([outcomes[at] for at in chosen])
    return Model({}, *found)


def platt(outcomes: Sequence[Outcome]) -> tuple[float, float]:
    """Slope and offset that make shares of cross-validated first answers probabilities."""
    shares = np.clip([outcome.share for outcome in outcomes], 1e-6, 1 - 1e-6)
    odds, right = np.log(shares / (1 - shares)), np.array([outcome.rank == 1 for outcome in outcomes], dtype=float)

    def loss(point: Matrix) -> float:
        scores = point[0] * odds + point[1]
        away = point - np.array([1.0, 0.0])
        return float((np.logaddexp(0, scores) - right * scores).sum() + RIDGE_PLATT * away @ away / 2)

    found: Any = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.1, 5.0), (-5.0, 5.0)])
    return float(found.x[0]), float(found.x[1])


def report_changes() -> None:
    """Nothing of the reading of diffs is fitted, but its tables were written with these incidents at hand."""
    named = []
    for case in rca_rootcausebench.cases(recorded("rootcausebench")):
        cause = analyze(case.view, DEPTH).root_cause
        named.append((cause.change if cause and cause.change else rca_rootcausebench.NO_CHANGE, case))
    right = sum(change == case.truth for change, case in named)
    decoys = sum(change in case.decoys for change, case in named)
    print(f"changes: {right} of {len(named)} named, {decoys} decoys")


def load() -> list[Case]:
    """All recorded incidents, and windows without any."""
    petshop = recorded("petshop")
    return [
        *rca_nezha.cases(recorded("nezha-trainticket")),
        *rca_petshop.cases(petshop),
        *rca_petshop.quiet_cases(petshop),
        *rca_tvdiag.cases(recorded("tvdiag")),
    ]


def write(names: Names, weights: Weights, model: Model, about: str) -> None:
    """The module of fitted figures."""
    calibration = (
        f"SLOPE: Final = {model.slope:.3f}\nOFFSET: Final = {model.offset:.3f}\n"
        f"ALARM_SLOPE: Final = {model.alarm_slope:.3f}\nALARM_OFFSET: Final = {model.alarm_offset:.3f}\n\n"
        f"THRESHOLD: Final = {THRESHOLD}\n"
        '"""An answer of less confidence than this is not given."""\n\n'
    )
    lines = [f"    {json.dumps(name)}: {weight}," for name, weight in _kept(names.relative, weights.relative).items()]
    (TARGETS / "coefficients.py").write_text(
        f'"""Fitted by scripts/train.py, not by hand.\n\n{about}\n"""\n\n'
        "from collections.abc import Mapping\nfrom typing import Final\n\n"
        f"{calibration}WEIGHTS: Final[Mapping[str, float]] = {{\n" + "\n".join(lines) + "\n}\n"
    )


def write_alarms(names: Names, weights: Weights, taxonomies: Mapping[str, Taxonomy]) -> None:
    """The file of what alarms say in their own words."""
    (TARGETS / MODEL_FILE).write_text(to_json(AlarmModel(_kept(names.words, weights.words), taxonomies)))


def _kept(names: Sequence[str], weights: Matrix) -> dict[str, float]:
    return {name: round(float(each), 3) for name, each in zip(names, weights, strict=True) if abs(each) >= WEIGHT_MIN}


def prepare(cases: Sequence[Case]) -> Data:
    """What is fitted to; a small system counts as much as one with many incidents."""
    found = [gather(case.view, DEPTH) for case in cases]
    names = name_features(found)
    samples = list(zip(cases, found, strict=True))
    counts = Counter(system_of(case) for case in cases)
    weights = [SYSTEM_WEIGHT / counts[system_of(case)] if counts[system_of(case)] < SMALL else 1.0 for case in cases]
    return Data(samples, [incident(*sample, names) for sample in samples], weights, names)


def left_out(data: Data) -> LeftOut:
    """Every figure cross-validated; takes a minute."""
    cases = data.cases
    within = [f"alarms {case.group}" if case.system in ALARMS else f"{case.system} {case.group}" for case in cases]
    by_group = validated(data, within)
    by_system = validated(data, [case.system for case in cases])
    calibration = calibrated(cases, by_group)
    typed = [at for at, case in enumerate(cases) if case.system in ALARMS]
    kinds = train_fault_types.scores([data.samples[at] for at in typed], [by_group[at].first for at in typed])
    return LeftOut(scores(cases, by_group, calibration), scores(cases, by_system, calibration), kinds, calibration)


def report(found: LeftOut) -> None:
    """A line a system."""
    for title, lines in (
        ("groups left out:", [line(score) for score in found.groups]),
        ("systems left out:", [line(score) for score in found.systems]),
        ("kinds of faults, folds left out (weighted F1 / macro F1):", [str(score) for score in found.kinds]),
    ):
        print("\n".join((title, *lines)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.data:
        os.environ[LOCATION_VARIABLE] = str(options.data)
    data = prepare(load())
    found = left_out(data)
    report(found)
    report_changes()
    if not options.check:
        counts = Counter(system_of(case) for case in data.cases)
        about = "\n".join(f"{count} incidents of {system}." for system, count in counts.items())
        fitted = fit(data.incidents, data.weights, data.names)
        typed = [sample for sample in data.samples if sample[0].system in ALARMS]
        write(data.names, fitted, found.calibration, about)
        write_alarms(data.names, fitted, train_fault_types.by_system(typed))


if __name__ == "__main__":
    main()
