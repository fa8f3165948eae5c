"""How much of the time background work may take, and what becomes of its errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog


@dataclass(frozen=True, slots=True)
class Pace:
    """After a second of work a pause of `cost_factor` seconds, within the bounds; of `retry_seconds` after a failure.

    `what` is said to be done later, in the log of `part`. `expected` are errors after which it may work later; others
    are faults of the server, which goes on all the same.
    """

    part: str
    what: str
    expected: tuple[type[Exception], ...]
    cost_factor: float
    retry_seconds: float
    seconds_min: float
    seconds_max: float = float("inf")

    async def pause_after(self, work: Callable[[], Awaitable[None]], wake: asyncio.Event) -> float:
        """Do the work; seconds of the pause that is due then. Where it failed, `wake` is set: something is left."""
        started = time.perf_counter()
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this part, the server must go on
            log = structlog.get_logger(self.part)
            tell = log.warning if isinstance(error, self.expected) else log.error
            tell(f"{self.what} later", reason=type(error).__name__, retry_seconds=self.retry_seconds)
            wake.set()
            return self.retry_seconds
        seconds = (time.perf_counter() - started) * self.cost_factor
        return min(max(seconds, self.seconds_min), self.seconds_max)
