"""How lists of findings are cut."""

from typing import Final

Q_UNUSUAL: Final = 0.05
"""False discovery rate of each list about a trace that failed or was slow: it has something to explain."""

Q_USUAL: Final = 0.01
"""The same about a trace that went as usual: over all lists together then at most one in twenty is not empty."""


def cut_at(*, unusual: bool) -> float:
    """The false discovery rate that a list may have."""
    return Q_UNUSUAL if unusual else Q_USUAL
