"""A command as a step of a build: its output untouched, signals handed on, its exit code as a shell tells it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
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


class Command:
    """A command that is started once at most, however often its exit code is asked for."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self._started: list[subprocess.Popen[bytes]] = []
        self._is_tried = False
        self._code = NOT_RUNNABLE

    def run(self, environment: Mapping[str, str], *, forward_signals: bool = False) -> int:
        """The exit code, once the command has ended; it is started now if it was not before.

        128 and the signal's number for a command that a signal ended, 127 for none of that name.
        """
        with _forwarding(self._started) if forward_signals else nullcontext(()) as early:
            if not self._is_tried:
                self._is_tried = True  # before it starts: whatever is raised from here on, it may have done its work
                self._start(environment)
            for process in self._started:
                for number in early:
                    _send(process, number)
                code = process.wait()
                self._code = code if code >= 0 else SIGNAL_BASE - code
        return self._code

    def _start(self, environment: Mapping[str, str]) -> None:
        try:
            self._started.append(subprocess.Popen(self.words, env=dict(environment)))  # noqa: S603 - the user's own
        except OSError as error:
            print(f"{self.words[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as a shell does
            self._code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_RUNNABLE


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
            _send(running[0], number)
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


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    """A command of another user, as of `sudo`, takes no signal from us: it is waited for all the same."""
    with suppress(OSError):
        process.send_signal(number)


def _pass(_number: int, _frame: FrameType | None) -> None:
    pass


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0) == os.getpgrp()
    except (OSError, ValueError):
        return False
