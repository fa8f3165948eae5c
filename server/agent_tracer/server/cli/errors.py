"""What ends a command early, and with which exit code: 1 refused, 2 usage, 3 server not reached."""

from collections.abc import Sequence
from typing import ClassVar


class CommandError(Exception):
    """Ends the command. `hints` follow the message, one line each: what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.hints = tuple(hints)


class RefusedByServerError(CommandError):
    """The server answered no. `code` is the gRPC status code's name, such as NOT_FOUND."""

    def __init__(self, code: str, message: str, hints: Sequence[str] = (), retry_seconds: float | None = None) -> None:
        super().__init__(message, hints)
        self.code = code
        self.retry_seconds = retry_seconds


class WrongUsageError(CommandError):
    """The command line or the configuration asks for something that cannot be."""

    exit_code = 2


class ServerNotReachedError(CommandError):
    """Nobody answers at the address."""

    exit_code = 3
