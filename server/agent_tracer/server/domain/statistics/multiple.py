"""Several tests at once."""

from collections.abc import Mapping, Sequence


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


def discovery_rates(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """The q value of each: the false discovery rate of the list that ends with it.

    Benjamini and Hochberg 1995 (JRSS B 57:289). `tests`: how many there were where more than these were made, the
    others with a larger p.
    """
    total = max(len(p_values), tests or 0)
    ordered = sorted(range(len(p_values)), key=lambda at: p_values[at], reverse=True)
    found, least = [1.0] * len(p_values), 1.0
    for behind, at in enumerate(ordered):
        least = min(least, p_values[at] * total / (len(p_values) - behind))
        found[at] = least
    return found
