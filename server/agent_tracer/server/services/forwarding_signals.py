"""Which of its signals a backend has nothing for, though it takes others.

A backend answers alike (HTTP 404, gRPC UNIMPLEMENTED) where it lacks the signal and where the address is wrong. What it
answers to an empty request of another signal, asked at that moment, tells the two apart.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from agent_tracer.server.domain.signals import Signal
from agent_tracer.server.limits import EXPORT_ASK_AGAIN_SECONDS, EXPORT_DOUBTS_MAX
from agent_tracer.server.ports.export import (
    BackendDownError,
    BackendFailedError,
    ExportRefusedError,
    ExportTarget,
    SignalNotTakenError,
)

_log: Final = structlog.get_logger("exporters")


class LackedSignals:
    """Those that one backend lacks, for as long as the process runs. Used by one task."""

    def __init__(
        self, name: str, signals: frozenset[Signal], target: ExportTarget, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`name`: below `exporters` in the settings. `signals`: what is sent there. `clock`: seconds."""
        self._name = name
        self._signals = signals
        self._target = target
        self._clock = clock
        self._doubts: Counter[Signal] = Counter()
        self._ask_again_at: dict[Signal, float] = {}
        self._told: set[tuple[Signal, bool]] = set()

    @property
    def notice(self) -> str:
        """What to change, for doctor; empty while nothing is lacked."""
        if not self._ask_again_at:
            return ""
        lacked = " and ".join(signal.name.lower() for signal in sorted(self._ask_again_at))
        key = f"exporters.{self._name}"
        return f"the backend of {key} takes no {lacked}, which are left out: take {lacked} out of {key}.signals"

    def is_lacked(self, signal: Signal) -> bool:
        """Whether the signal is to be left out without asking."""
        return self._clock() < self._ask_again_at.get(signal, float("-inf"))

    def takes(self, signal: Signal) -> None:
        """The backend had something to say to a request of the signal: it has a place for it."""
        del self._doubts[signal]
        if self._ask_again_at.pop(signal, None) is not None:
            self._tell(signal, lacked=False)

    async def judge(self, signal: Signal, error: SignalNotTakenError) -> bool:
        """The backend did not take the signal, for `error`: whether it lacks it. False until that was often enough.

        Raises BackendDownError where no other signal is taken either: `error`, or what else is wrong.
        """
        problem = await self._problem_of_others(signal, error)
        if problem is not None:
            del self._doubts[signal]
            raise problem
        self._doubts[signal] += 1
        if self._doubts[signal] < EXPORT_DOUBTS_MAX:
            return False
        self._ask_again_at[signal] = self._clock() + EXPORT_ASK_AGAIN_SECONDS
        self._tell(signal, lacked=True)
        return True

    async def _problem_of_others(self, signal: Signal, error: BackendDownError) -> BackendDownError | None:
        """None where the backend takes another signal now."""
        for other in sorted(self._signals - {signal}):
            try:
                await self._target.send(other, (b"",))
            except (ExportRefusedError, BackendFailedError):
                return None  # not everybody likes an empty request, but somebody is there to say so
            except SignalNotTakenError:
                continue
            except BackendDownError as down:
                error = down
            else:
                return None
        return error

    def _tell(self, signal: Signal, *, lacked: bool) -> None:
        """Once each: behind a proxy, backends of two kinds may answer in turn."""
        if (signal, lacked) in self._told:
            return
        self._told.add((signal, lacked))
        named = signal.name.lower()
        if lacked:
            advice = f"take {named} out of exporters.{self._name}.signals"
            _log.warning("a backend lacks a signal; it is left out", exporter=self._name, signal=named, advice=advice)
        else:
            _log.info("a backend takes a signal that it lacked", exporter=self._name, signal=named)
