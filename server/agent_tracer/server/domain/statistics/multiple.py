"""Several tests at once."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float], alpha: float) -> frozenset[str]:
    """The names whose hypotheses fall, with at most `alpha` probability that any falls wrongly.

    Holm 1979 (Scandinavian Journal of Statistics 6:65): from the smallest p on, each is held against alpha over the
    number of those still standing, until one stands.
    """
    ordered = sorted(p_values, key=lambda name: (p_values[name], name))
    for place, name in enumerate(ordered):
        if p_values[name] > alpha / (len(ordered) - place):
            return frozenset(ordered[:place])
    return frozenset(ordered)
