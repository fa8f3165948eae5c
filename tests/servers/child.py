"""A foreign server as a child process: started in a folder of its own, ready when it says so, stopped by its id."""

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self, TypeVar

import httpx

from tests.servers import recipes

HOST: Final = "127.0.0.1"
STOP_SECONDS_MAX: Final = 30.0
_STEP_SECONDS: Final = 0.05
_LOG_CHARACTERS: Final = 3000
_STRANGE: Final = ("OTEL_", "PHOENIX_", "JAEGER_", "AGENT_TRACER_")
"""What the caller's environment says to programs of that kind is not meant for the tests' own."""

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], seconds_max: float = 30.0) -> Found:
    """What `look` gives as soon as it is true; the last of it where that takes too long. Errors on the wire count as false."""
    deadline = time.monotonic() + seconds_max
    while True:
        found = error = None
        try:
            found = look()
        except httpx.TransportError as down:
            error = down
        if found:
            return found
        if time.monotonic() > deadline:
            if error is not None:
                raise error
            return found  # type: ignore[return-value]
        time.sleep(_STEP_SECONDS)


class Child(ABC):
    """A server of a recipe. As a context manager it runs inside; `kill` and `start` do what an outage does."""

    recipe: ClassVar[str]
    start_seconds_max: ClassVar[float] = 60.0

    def __init__(self, folder: Path) -> None:
        """`folder` is made, and takes configuration, data and the log."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments, configuration written."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the server does its work by now."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    @property
    def program(self) -> str:
        return str(recipes.RECIPES[self.recipe].path())

    @property
    def log(self) -> str:
        """What it has said so far, over all starts."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when it is ready. Raises RuntimeError with the end of its log where it does not come up."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_STRANGE)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, **self._environment()},
            )
        deadline = time.monotonic() + self.start_seconds_max
        while not self._is_ready():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill()
                how = "took too long" if code is None else f"ended with {code}"
                raise RuntimeError(f"{self.recipe} did not start, it {how}:\n{self.log[-_LOG_CHARACTERS:]}")
            time.sleep(_STEP_SECONDS)

    def stop(self) -> None:
        """Clean; killed where that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a machine does that fails."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        return httpx.get(url, trust_env=False, timeout=10).is_success
    except httpx.TransportError:
        return False


def listens(address: str) -> bool:
    """Whether `host:port` takes a connection."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError:
        return False
    return True
