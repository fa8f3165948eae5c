"""How the end of a gRPC call reads on the spans of its two sides.

Sources: gRPC status codes; OpenTelemetry semantic conventions for gRPC, section "gRPC status" (which codes are an error
of a server); cancellation is told apart by who did it, which the conventions leave open.
"""

from typing import Final

NAMES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""Names of the codes by number."""

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

SERVER_ERRORS: Final = frozenset({UNKNOWN, DEADLINE_EXCEEDED, 12, INTERNAL, UNAVAILABLE, 15})
"""The callee's fault. With any other code it did its work: refused, did not find, or was cancelled."""

DEADLINE_SLACK_SECONDS: Final = 0.1
"""A caller's deadline began before its request arrived: its cancellation comes that much before the callee's ends."""

_OWN_CANCELLATION: Final = ("Locally cancelled", "Cancelled on garbage", "Channel closed", "Cancelled upon garbage")
"""How grpcio begins the details of a call that its own caller gave up."""


def cancelled_here(code: int, details: str | None) -> bool:
    """Whether the caller itself cancelled: its own decision, and no error of anybody."""
    return code == CANCELLED and (details is None or details.startswith(_OWN_CANCELLATION))


def given_up(seconds_left: float | None) -> int:
    """The status of a call that the callee saw cancelled, by what was left of its deadline (None: it has none)."""
    late = seconds_left is not None and seconds_left <= DEADLINE_SLACK_SECONDS
    return DEADLINE_EXCEEDED if late else CANCELLED


def number(code: object) -> int:
    """A code as grpcio or grpclib gives it, as its number; None and what is none of the codes is UNKNOWN."""
    value = code if type(code) is int else getattr(code, "value", code)
    if isinstance(value, tuple):
        value = value[0]
    return value if isinstance(value, int) and 0 <= value < len(NAMES) else UNKNOWN
