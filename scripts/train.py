"""Fits the coefficients of root cause analysis to recorded incidents, and reports how well they do elsewhere.

    python scripts/train.py [--check] [DATA]

DATA: the folder of the recorded data sets; else as the tests look for them. `--check` reports and writes nothing.
Every figure is cross-validated: by fault target, traffic scenario or fold within a system (each as its recording
has them), and by leaving out one whole system after the other.

Fitted in two steps: first what means the same in every system; then, on top of it and without moving it, what alarms
tell in the systems that they come from: their words and kinds, and where in the call graph faults are.
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
from agent_tracer.server.domain.rca.model import NONE, TELEMETRY, Model, acquaintance, shares  # noqa: E402
from scripts import train_fault_types  # noqa: E402
from scripts.train_calibration import calibrated  # noqa: E402
from scripts.train_scores import THRESHOLD, Outcome, Score, is_quiet, line, scores, system_of  # noqa: E402
from tests.evaluation import rca_nezha, rca_petshop, rca_rootcausebench, rca_tvdiag  # noqa: E402
from tests.evaluation.rca_nezha import Case  # noqa: E402
from tests.fixtures.recorded import LOCATION_VARIABLE, recorded  # noqa: E402

TARGETS: Final = ROOT / "server/agent_tracer/server/domain/rca"
DEPTH: Final = 3
RIDGE: Final = 2.0
RIDGE_WHOLE: Final = 1.0
RIDGE_KNOWN: Final = 2.0
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
    """The features, in the order of the columns: those of the first step, then those of the second."""

    general: Sequence[str]
    known: Sequence[str]


@dataclass(frozen=True, slots=True)
class Incident:
    """A row a component, the last row for none; `truth`: the row that is right, -1 if it is not among them."""

    general: Any
    known: Any
    truth: int


@dataclass(frozen=True, slots=True)
class Weights:
    """As `Names` has them."""

    general: Matrix
    known: Matrix


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

    `calibration` is that of the fitted model (`calibrated`).
    """

    groups: Sequence[Score]
    systems: Sequence[Score]
    kinds: Sequence[train_fault_types.Score]
    calibration: Model


def prior(name: str) -> float:
    """What a weight is drawn to where the data say little: evidence speaks against its component."""
    fixed = {UNREACHED: -1.0, SYMPTOM: -3.0, "none": 3.0, "observed": 3.0}
    if name in fixed:
        return fixed[name]
    if name.startswith(WHOLE):
        return (1.0 if name.split(".", maxsplit=1)[0] == WHOLE else 0.5) * (2.0 if name.endswith(".share") else 1.0)
    if name.split(".", maxsplit=1)[0] in TELLING:
        return 1.2 if "." in name else 3.0
    return 0.2


def bounds(name: str) -> tuple[float | None, float | None]:
    """The sign that a weight cannot leave."""
    if name in {UNREACHED, SYMPTOM}:
        return (None, 0.0)
    return (None, None) if name in {"none", "observed"} or name.startswith(WHOLE) else (0.0, None)


def ridge(name: str) -> float:
    """How strongly a weight is drawn to its prior."""
    return RIDGE_WHOLE if name.startswith(WHOLE) else RIDGE


def name_features(findings: Sequence[Findings]) -> Names:
    """What is general of the incidents' features, and what is known by a system's alarms; words of enough incidents."""
    counts = Counter(
        name
        for found in findings
        for name in {name for row in (*found.features.values(), found.nothing) for name in row}
    )
    words = sorted(name for name, count in counts.items() if name.startswith(WORD) and count >= WORD_CASES_MIN)
    relative = sorted(name for name in counts if not name.startswith(WORD))
    alarms = [name for name in relative if name.startswith("alarm")]
    return Names([name for name in relative if name.startswith(WHOLE) or name not in alarms], [*alarms, *words])


def incident(case: Case, findings: Findings, names: Names) -> Incident:
    """The case as numbers."""
    rows = [*findings.features.values(), findings.nothing]
    components = list(findings.features)
    quiet = is_quiet(case)
    truth = len(components) if quiet else components.index(case.truth) if case.truth in components else -1
    return Incident(_matrix(rows, names.general), _matrix(rows, names.known), truth)


def _matrix(rows: Sequence[Features], names: Sequence[str]) -> Any:  # noqa: ANN401 - scipy has no types
    place = {name: at for at, name in enumerate(names)}
    matrix = sparse.lil_matrix((len(rows), len(names)))
    for at, features in enumerate(rows):
        for name, value in features.items():
            if name in place:
                matrix[at, place[name]] = value
    return matrix.tocsr()


def fit(incidents: Sequence[Incident], weights: Sequence[float], names: Names) -> Weights:
    """Both steps; the second only where there are alarms."""
    used = [(each, weight) for each, weight in zip(incidents, weights, strict=True) if each.truth >= 0]
    centre = np.array([prior(name) for name in names.general])
    strength = np.array([ridge(name) for name in names.general])
    general = _fit(
        [(each.general, np.zeros(each.general.shape[0]), each.truth, count) for each, count in used],
        centre, strength, [bounds(name) for name in names.general],
    )  # fmt: skip
    told = [(each, count) for each, count in used if each.known.nnz]
    nought = np.zeros(len(names.known))
    if not told:
        return Weights(general, nought)
    known = _fit(
        [(each.known, each.general @ general, each.truth, count) for each, count in told],
        nought, np.full(len(names.known), RIDGE_KNOWN), [(None, None)] * len(names.known),
    )  # fmt: skip
    return Weights(general, known)


def _fit(
    cases: Sequence[tuple[Any, Matrix, int, float]],
    centre: Matrix,
    strength: Matrix,
    limits: Sequence[tuple[float | None, float | None]],
) -> Matrix:
    """Conditional logit with known parts of the scores, ridge towards `centre`, signs held.

    `cases`: features by row, known part by row, the row that is right, and how much the case counts.
    """
    matrices, offsets, right, counts = zip(*cases, strict=True)
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
    return Model(_kept(names.general, weights.general), _kept(names.known, weights.known))


def judge(case: Case, findings: Findings, model: Model) -> Outcome:
    """How the weights do on one incident, by the code that the server runs."""
    components = shares(findings, model)
    none = components.pop(NONE)
    first = max(components, key=lambda name: components[name])
    at_truth = components.get(case.truth)
    rank = 99 if at_truth is None else 1 + sum(share > at_truth for share in components.values())
    met = acquaintance(case.view, findings, model)
    return Outcome(0 if is_quiet(case) else rank, components[first], none, first, met)


def answered(data: Data, asked: Sequence[int], met: Sequence[int]) -> list[Outcome]:
    """The incidents `asked` by weights fitted to the incidents `met`."""
    fitted = fit([data.incidents[at] for at in met], [data.weights[at] for at in met], data.names)
    model = model_of(data.names, fitted)
    return [judge(*data.samples[at], model) for at in asked]


def validated(data: Data, groups: Sequence[str]) -> list[Outcome]:
    """Each incident judged by weights fitted without its group."""
    outcomes: dict[int, Outcome] = {}
    for group in sorted(set(groups)):
        asked = [at for at, other in enumerate(groups) if other == group]
        met = [at for at, other in enumerate(groups) if other != group]
        outcomes |= zip(asked, answered(data, asked, met), strict=True)
    return [outcomes[at] for at in range(len(groups))]


def without_system(data: Data, by_system: Sequence[Outcome]) -> list[Score]:
    """Scores by system, in which its confidence, too, is calibrated without any of its incidents.

    To do so the other systems of its sort are answered by weights without them and without this one.
    """
    places: dict[str, list[int]] = {}
    for at, case in enumerate(data.cases):
        places.setdefault(case.system, []).append(at)
    found = []
    for system, own in places.items():
        others: list[Outcome] = []
        for other, asked in places.items():
            if other != system and (other in ALARMS) == (system in ALARMS):
                met = [at for name, each in places.items() if name not in {system, other} for at in each]
                others += answered(data, asked, met)
        calibration = calibrated([each for each in others if each.met != TELEMETRY], others)
        found += scores([data.cases[at] for at in own], [by_system[at] for at in own], calibration)
    return found


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
    fitted = "".join(
        f"    {json.dumps(kind)}: ({slope:.3f}, {offset:.3f}),\n"
        for kind, (slope, offset) in model.calibrations.items()
    )
    calibration = (
        f"CALIBRATIONS: Final[Mapping[str, tuple[float, float]]] = {{\n{fitted}}}\n\n"
        f"THRESHOLD: Final = {THRESHOLD}\n"
        '"""An answer of less confidence than this is not given."""\n\n'
    )
    lines = [f"    {json.dumps(name)}: {weight}," for name, weight in _kept(names.general, weights.general).items()]
    (TARGETS / "coefficients.py").write_text(
        f'"""Fitted by scripts/train.py, not by hand.\n\n{about}\n"""\n\n'
        "from collections.abc import Mapping\nfrom typing import Final\n\n"
        f"{calibration}WEIGHTS: Final[Mapping[str, float]] = {{\n" + "\n".join(lines) + "\n}\n"
    )


def write_alarms(names: Names, weights: Weights, taxonomies: Mapping[str, Taxonomy]) -> None:
    """The file of what alarms say in their own words."""
    (TARGETS / MODEL_FILE).write_text(to_json(AlarmModel(_kept(names.known, weights.known), taxonomies)))


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
    calibration = calibrated(by_group, by_system)
    typed = [at for at, case in enumerate(cases) if case.system in ALARMS]
    kinds = train_fault_types.scores([data.samples[at] for at in typed], [by_group[at].first for at in typed])
    return LeftOut(scores(cases, by_group, calibration), without_system(data, by_system), kinds, calibration)


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
