"""Runs the load generator as a process and reads what it says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.benchmarks.generator import Sent

_ENCODING_SECONDS_MAX: Final = 120
_SPARE_SECONDS: Final = 90


class Sender:
    """A generator that has encoded its pool and waits for the word."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    def go(self) -> None:
        """Let it send."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def result(self) -> Sent:
        """Wait for its end. Raises RuntimeError where it failed."""
        out, _ = self._process.communicate(timeout=self._seconds + _SPARE_SECONDS)
        if self._process.returncode or not out.strip():
            message = f"the load generator ended with {self._process.returncode}"
            raise RuntimeError(message)
        return Sent(**json.loads(out.splitlines()[-1]))


@contextmanager
def prepared(target: str, *, seconds: float = 120.0, **options: object) -> Iterator[Sender]:
    """A generator for the target, ready to send; `options` as the generator's own, `_` for `-`."""
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "tests.benchmarks.generator", f"--target={target}", f"--seconds={seconds}"]
    process = subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            message = f"the load generator did not start: {command + arguments}"
            raise RuntimeError(message)
        yield Sender(process, seconds)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def send(target: str, **options: object) -> Sent:
    """Send a load and wait for its end."""
    with prepared(target, **options) as sender:  # type: ignore[arg-type]
        sender.go()
        return sender.result()
