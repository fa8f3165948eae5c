"""A command as a step of a build: its output untouched, signals handed on, its exit code as a shell tells it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Final

NOT_FOUND: Final = 127
NOT_RUNNABLE: Final = 126
SIGNAL_BASE: Final = 128
_FORWARDED: Final = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
"""What a terminal sends to every process in the foreground, so that the command has it already."""


def run_command(command: Sequence[str], environment: Mapping[str, str], *, forward_signals: bool = False) -> int:
    """The exit code: 128 and the signal's number for a command that a signal ended, 127 for none of that name."""
    running: list[subprocess.Popen[bytes]] = []
    with _forwarding(running) if forward_signals else nullcontext(()) as early:
        try:
            running.append(subprocess.Popen(command, env=dict(environment)))  # noqa: S603 - the user's own command
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as a shell does
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUNNABLE
        for number in early:
            running[0].send_signal(number)
        code = running[0].wait()
    return code if code >= 0 else SIGNAL_BASE - code


@contextmanager
def _forwarding(running: Sequence[subprocess.Popen[bytes]]) -> Iterator[Sequence[int]]:
    """Hand on what this process is sent.

    Handlers are set before the command starts, so that no signal is missed; those of before are yielded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield ()
        return
    before = {number: signal.getsignal(number) for number in _FORWARDED}
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        if running:
            running[0].send_signal(number)
        else:
            early.append(number)

    for number, handler in before.items():
        if handler is signal.SIG_IGN:  # as `nohup` wants it; the command inherits that
            continue
        signal.signal(number, _pass if number in _FROM_TERMINAL and _in_foreground() else hand_on)
    try:
        yield early
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _pass(_number: int, _frame: FrameType | None) -> None:
    pass


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0) == os.getpgrp()
    except (OSError, ValueError):
        return False
