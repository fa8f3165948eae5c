"""Fits what alarms tell of the kind of fault, by system: a part of scripts/train.py."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from agent_tracer.server.domain.rca.alarm_model import Taxonomy
from agent_tracer.server.domain.rca.alarm_words import case_words
from agent_tracer.server.domain.rca.fault_types import chances_of, type_features
from agent_tracer.server.domain.rca.features import Findings
from tests.evaluation.rca_nezha import Case

PENALTY_INVERSE: Final = 2.0
"""Of the sum of absolute weights (L1), which leaves most features out: few enough stay to be read."""

ROUNDS: Final = 400
WEIGHT_MIN: Final = 0.04
KNOWN_SHARE: Final = 0.05
"""Words in fewer of a system's incidents are not among its known ones."""

SEED: Final = 0


Sample = tuple[Case, Findings]


@dataclass(frozen=True, slots=True)
class F1:
    """Means over the kinds: by how many faults are of each, and all kinds alike."""

    weighted: float
    macro: float

    def __str__(self) -> str:
        return f"{self.weighted:.3f} / {self.macro:.3f}"


@dataclass(frozen=True, slots=True)
class Score:
    """Kinds told of one system's faults, at the component that is the truth and at the one that is named."""

    system: str
    count: int
    at_truth: F1
    at_named: F1

    def __str__(self) -> str:
        at = f"at the true component {self.at_truth}, at the named one {self.at_named}"
        return f"  {self.system:16} {self.count:4}  {at}"


def fit(samples: Sequence[Sample]) -> Taxonomy:
    """The model of one system's incidents, each at the component that is its truth."""
    vectors = DictVectorizer()
    rows = vectors.fit_transform([_features(case, found, case.truth) for case, found in samples])
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    model = LogisticRegression(
        C=PENALTY_INVERSE, l1_ratio=1.0, solver="saga", max_iter=ROUNDS, tol=1e-3, random_state=SEED
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows, [case.kind for case, _ in samples])
    kinds = [str(kind) for kind in model.classes_]
    weights = {
        name: {kind: round(float(each), 3) for kind, each in zip(kinds, column, strict=True) if abs(each) >= WEIGHT_MIN}
        for name, column in zip(vectors.feature_names_, model.coef_.T, strict=True)
        if np.abs(column).max() >= WEIGHT_MIN
    }
    intercepts = {kind: round(float(each), 3) for kind, each in zip(kinds, model.intercept_, strict=True)}
    counts = Counter(word for case, _ in samples for word in case_words(case.view))
    known = frozenset(word for word, count in counts.items() if count >= KNOWN_SHARE * len(samples))
    return Taxonomy(intercepts, weights, known)


def _features(case: Case, found: Findings, component: str) -> dict[str, float]:
    return type_features(case.view, component, found.features.get(component, {}))


def scores(samples: Sequence[Sample], named: Sequence[str]) -> list[Score]:
    """Each fold judged by the others; `named`: the component that the analysis names, by sample."""
    found = []
    for system in dict.fromkeys(case.system for case, _ in samples):
        own = [(*sample, name) for sample, name in zip(samples, named, strict=True) if sample[0].system == system]
        truths: list[str] = []
        at_truth: list[str] = []
        at_named: list[str] = []
        for fold in sorted({case.group for case, _, _ in own}):
            model = fit([(case, findings) for case, findings, _ in own if case.group != fold])
            for case, findings, component in own:
                if case.group == fold:
                    truths.append(case.kind)
                    at_truth.append(_kind(_features(case, findings, case.truth), model))
                    at_named.append(_kind(_features(case, findings, component), model))
        found.append(Score(system, len(own), f1(truths, at_truth), f1(truths, at_named)))
    return found


def _kind(features: Mapping[str, float], model: Taxonomy) -> str:
    chances = chances_of(features, model)
    return max(chances, key=lambda kind: chances[kind])


def f1(truths: Sequence[str], found: Sequence[str]) -> F1:
    """Over the kinds that there are."""
    labels = sorted(set(truths))
    weighted, macro = (
        float(f1_score(truths, found, average=average, labels=labels, zero_division=0))
        for average in ("weighted", "macro")
    )
    return F1(weighted, macro)


def by_system(samples: Sequence[Sample]) -> dict[str, Taxonomy]:
    """A model a system."""
    systems = dict.fromkeys(case.system for case, _ in samples)
    return {system: fit([each for each in samples if each[0].system == system]) for system in systems}
