"""What passes telemetry on to another backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from agent_tracer.server.domain.signals import Signal

Payloads: TypeAlias = tuple[bytes, ...]
"""OTLP export requests of one signal that are sent as one: protobuf's repeated fields add up when bytes do."""


class BackendDownError(Exception):
    """The backend takes nothing now; the same request may be sent again later.

    The text is for whoever runs the server: no secret, no address with one. `retry_seconds`: what the backend asked
    for, None where it asked for nothing.
    """

    def __init__(self, problem: str, retry_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.retry_seconds = retry_seconds


class BackendGoneError(BackendDownError):
    """Nobody is there. When somebody is again, what the backend held in memory alone is lost."""


class BackendFailedError(BackendDownError):
    """The backend failed on this request. Perhaps on any, perhaps on this one however often it is sent."""


class SignalNotTakenError(BackendDownError):
    """The backend has nothing that takes this signal at its address: it lacks the signal, or the address is wrong."""


class ExportRefusedError(Exception):
    """The backend will never take this request as it is; a part of it perhaps. The text says why, briefly."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The backend's answer. `rejected` items of the request it left out, for good, for this `reason`."""

    rejected: int = 0
    reason: str = ""


class ExportTarget(Protocol):
    """A backend. Used by one task. Delivery is at least once: what a backend took without saying so comes again."""

    def prepare(self, signal: Signal, payloads: Sequence[bytes]) -> Sequence[Payloads]:
        """The requests that these become, in order, each to be sent by itself.

        Pure, may take long: to be run in a thread. Never raises: what cannot be read is left for `send` to refuse.
        """
        ...

    async def send(self, signal: Signal, payloads: Payloads) -> Taken:
        """Send one of the requests that `prepare` gave, or a part of one. Returns when the backend has answered.

        An empty request (no bytes) tells whether the signal is taken at all, and leaves nothing behind.
        Bounded in time. Raises BackendDownError and what is below it, ExportRefusedError.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the connections."""
        ...


class ExportMetrics(Protocol):
    """What is counted of one exporter. Items: spans, log records, data points."""

    def sent(self, signal: Signal, items: int) -> None:
        """The backend has them."""
        ...

    def retried(self, signal: Signal) -> None:
        """A request was sent again."""
        ...

    def skipped(self, signal: Signal, reason: str, items: int) -> None:
        """Given up, for one of SKIP_REASONS."""
        ...


SKIP_REASONS = ("refused", "rejected", "failed", "unsupported")
"""Refused by the backend, left out by it in a partial success, it failed on them again and again, or it lacks their
signal."""
