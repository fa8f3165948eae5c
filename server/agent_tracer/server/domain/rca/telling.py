"""Whether a component's evidence is more than what chance alone brings in a quiet hour."""

import math
from collections.abc import Sequence
from typing import Final

from agent_tracer.server.domain.rca.evidence import ONSET_SCORE, Evidence

STRENGTH_METRIC_TELLING: Final = math.log1p(ONSET_SCORE)

STRENGTHS_TELLING: Final = (
    ("log_less", 2.0),
    ("log_more", 2.0),
    ("log_error", 1.5),
    ("self_time", math.log(1.5)),
    ("edge_", math.log(1.5)),
    ("own_error", 0.2),
    ("own_", 0.2),
    ("metric_", STRENGTH_METRIC_TELLING),
    ("alarm_", 0.0),
)
"""By the beginning of a feature's name. Of hundreds of log templates some always fall silent, or burst, for minutes."""


def is_telling(component: str, evidence: Sequence[Evidence]) -> bool:
    """Whether any of the component's pieces is strong enough to rest an answer on."""
    return any(each.strength >= _least(each.feature) for each in evidence if each.component == component)


def _least(feature: str) -> float:
    return next((least for name, least in STRENGTHS_TELLING if feature.startswith(name)), 0.0)
