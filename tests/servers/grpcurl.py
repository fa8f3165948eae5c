"""grpcurl, which knows of a server only what its reflection tells."""

import json
import subprocess
from typing import Any, Final

from tests.servers import recipes

_SECONDS_MAX: Final = 60
NAME: Final = "grpcurl"


def command(*arguments: str) -> list[str]:
    """The words of a call without TLS; options come before `host:port`."""
    return [str(recipes.RECIPES[NAME].path()), "-plaintext", *arguments]


def grpcurl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to its end, whatever that is."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)


def told(*arguments: str) -> str:
    """What it prints; it must succeed."""
    done = grpcurl(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def call(target: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a unary call."""
    return dict(json.loads(told("-d", json.dumps(request), target, method)))


def refusal(target: str, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """The error of a call as google.rpc.Status, details decoded: `code`, `message`, `details`."""
    done = grpcurl("-format-error", "-d", json.dumps(request), target, method)
    assert done.returncode, done.stdout
    return dict(json.loads(done.stderr))
