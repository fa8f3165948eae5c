"""When a call is made again, and after how long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent_tracer.client.api.errors import AgentTracerError, UnavailableError

__all__ = ["DEFAULT_RETRIES", "Retries"]

DEFAULT_RETRIES: Final = 3
_FIRST_SECONDS: Final = 0.1
_LONGEST_SECONDS: Final = 2.0
_JITTER: Final = 0.25
"""A share of the wait on top of it, so that callers refused together do not come back together."""


@dataclass(frozen=True, slots=True)
class Retries:
    """At most `count` further attempts, 0 for none.

    Any call is made again when the server says so (google.rpc.RetryInfo); after UNAVAILABLE without that, those alone
    that are safe to repeat.
    """

    count: int = DEFAULT_RETRIES

    def wait_seconds(
        self, error: AgentTracerError, attempt: int, *, repeatable: bool, random: Callable[[], float]
    ) -> float | None:
        """How long to wait before attempt number `attempt` + 1 (from 1); None to give the call up.

        `random` gives numbers from 0 to 1. The server's own delay is waited for in full, and a little longer.
        """
        if attempt > self.count:
            return None
        if error.retry_seconds is not None:
            return error.retry_seconds * (1 + _JITTER * random())
        if isinstance(error, UnavailableError) and repeatable:
            return min(_FIRST_SECONDS * 2.0 ** (attempt - 1), _LONGEST_SECONDS) * (1 + _JITTER * random())
        return None
