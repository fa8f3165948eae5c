"""How long to wait before a backend is asked again. Pure: chance is an argument."""

from collections.abc import Callable

from agent_tracer.server.limits import (
    EXPORT_RETRY_AFTER_SECONDS_MAX,
    EXPORT_RETRY_SECONDS_MAX,
    EXPORT_RETRY_SECONDS_MIN,
)


class Pauses:
    """Pauses that double, each up to half shorter by chance so that many servers do not come back at once."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance` gives numbers in [0, 1)."""
        self._chance = chance
        self._seconds = EXPORT_RETRY_SECONDS_MIN

    def following(self, asked_seconds: float | None) -> float:
        """The next pause. What the backend asked for counts where it is longer, up to a bound."""
        own = self._seconds * (1 - self._chance() / 2)
        self._seconds = min(2 * self._seconds, EXPORT_RETRY_SECONDS_MAX)
        if asked_seconds is None:
            return own
        return max(own, min(asked_seconds, EXPORT_RETRY_AFTER_SECONDS_MAX))

    def reset(self) -> None:
        """The backend answered."""
        self._seconds = EXPORT_RETRY_SECONDS_MIN
