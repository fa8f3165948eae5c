"""Faults of the mesh's own code: kept from the call that they happen in, counted, and told once each in the log."""

import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_log: Final = logging.getLogger("agent_tracer.mesh")
_seen: Final[Counter[str]] = Counter()


def guarded(instead: Callable[[], R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for what stands in an agent's road: a fault in it gives `instead()`, and the road goes on."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as fault:  # noqa: BLE001  # whatever it is, the agent's call is worth more
                note(function.__name__, fault)
                return instead()

        return run

    return decorate


def nothing() -> None:
    """What a guarded function without a result gives instead of a fault."""


def note(where: str, fault: BaseException, told: str = "") -> None:
    """Count a fault; the first of its kind is logged, without its text, which may hold what a message held.

    `told`: what may be logged of it.
    """
    kind = f"{where}: {type(fault).__name__}"
    _seen[kind] += 1
    if _seen[kind] == 1:
        _log.warning(
            "tracing of the agent mesh failed in %s%s; calls are not affected, further faults are counted", kind, told
        )


def count() -> int:
    """Faults so far in this process."""
    return _seen.total()
