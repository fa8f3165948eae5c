"""How much of the time background work may take, and what is said of its errors."""

from dataclasses import dataclass

import structlog


@dataclass(frozen=True, slots=True)
class Pace:
    """After a second of work a pause of `cost_factor` seconds, within the bounds.

    After a failure it is of `retry_seconds` where these are given. `gathers`: the pause comes after the call to work
    rather than after the work, so that what comes next is met together; and one of `seconds_first` at the start.

    `what` is said to be done later, in the log of `part`. `expected` are errors after which it may work later; others
    are faults of the server, which goes on all the same.
    """

    part: str
    what: str
    expected: tuple[type[Exception], ...]
    cost_factor: float
    seconds_min: float
    seconds_max: float = float("inf")
    retry_seconds: float | None = None
    seconds_first: float = 0.0
    gathers: bool = False

    def after_work(self, seconds: float) -> float:
        """Seconds of the pause that is due after so many of work."""
        return min(max(seconds * self.cost_factor, self.seconds_min), self.seconds_max)

    def after_failure(self, seconds: float) -> float:
        """The same where the work failed."""
        return self.after_work(seconds) if self.retry_seconds is None else self.retry_seconds

    def tell(self, error: Exception) -> None:
        """Say in the log that it is done later, and why."""
        log = structlog.get_logger(self.part)
        tell = log.warning if isinstance(error, self.expected) else log.error
        when = {} if self.retry_seconds is None else {"retry_seconds": self.retry_seconds}
        tell(f"{self.what} later", reason=type(error).__name__, **when)
