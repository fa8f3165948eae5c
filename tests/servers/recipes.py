"""How each foreign server is obtained: which version, from which module, into which folder.

Everything lands in `$AGENT_TRACER_SERVERS` or, without it, in `~/.cache/agent-tracer/servers`: programs in `bin`,
virtual environments in `venv/NAME`, and in `stamp/NAME` the version that is there.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.building import Make, Order, collector, go_install, go_module, maven_jars, python_packages


def home() -> Path:
    """Return the folder that holds what the recipes made."""
    named = os.environ.get("AGENT_TRACER_SERVERS")
    return Path(named) if named else Path.home() / ".cache" / "agent-tracer" / "servers"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One server at one version: `make` puts `programs` in place, the first its main one; `needs` is on the PATH."""

    version: str
    programs: tuple[str, ...]
    make: Make
    needs: str

    def path(self, program: str = "") -> Path:
        """Return where the main program, or that of another name, is or will be. Raises StopIteration for a stranger."""
        wanted = program or Path(self.programs[0]).name
        return home() / next(path for path in self.programs if Path(path).name == wanted)


def installed(name: str) -> Path | None:
    """Return the main program of a server that is there at the pinned version, else None."""
    recipe = RECIPES[name]
    stamp = home() / "stamp" / name
    is_current = stamp.is_file() and stamp.read_text().strip() == recipe.version
    return recipe.path() if is_current and all((home() / path).is_file() for path in recipe.programs) else None


def install(name: str) -> str:
    """Install one server unless it is there; return what was done, in a line.

    Raises LookupError for an unknown name, RuntimeError without the tool that builds it,
    subprocess.CalledProcessError where a step fails.
    """
    if name not in RECIPES:
        message = f"unknown server {name!r}; known are {', '.join(RECIPES)}"
        raise LookupError(message)
    recipe = RECIPES[name]
    if installed(name):
        return f"{name} {recipe.version}: already there"
    if shutil.which(recipe.needs) is None:
        message = f"{name} needs {recipe.needs!r} on the PATH"
        raise RuntimeError(message)
    began = time.monotonic()
    recipe.path().parent.mkdir(parents=True, exist_ok=True)
    recipe.make(Order(name, recipe.version, home()))
    stamp = home() / "stamp" / name
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(recipe.version)
    return f"{name} {recipe.version}: installed in {time.monotonic() - began:.0f} s"


_CORE: Final = "go.opentelemetry.io/collector"
_CONTRIB: Final = "github.com/open-telemetry/opentelemetry-collector-contrib"
_COLLECTOR: Final = {
    "extensions": [f"{_CONTRIB}/extension/bearertokenauthextension"],
    "receivers": [f"{_CORE}/receiver/otlpreceiver"],
    "processors": [f"{_CORE}/processor/batchprocessor"],
    "exporters": [
        f"{_CORE}/exporter/debugexporter",
        f"{_CORE}/exporter/otlpexporter",
        f"{_CORE}/exporter/otlphttpexporter",
    ],
}
"""What the tests use, nothing else: the full distribution takes ten times as long to build."""

_PROMETHEUS: Final = "github.com/prometheus/prometheus"
# Without discovery of targets in clouds, which is most of what it would be built of.
_NO_CLOUDS: Final = "netgo,remove_all_sd"

RECIPES: Final = {
    "grpcurl": Recipe("v1.9.3", ("bin/grpcurl",), go_install("github.com/fullstorydev/grpcurl/cmd/grpcurl"), "go"),
    # Jaeger 2.13.0; newer tags are not offered as Go modules.
    "jaeger": Recipe("v1.76.0", ("bin/jaeger",), go_module("github.com/jaegertracing/jaeger", "cmd/jaeger"), "go"),
    # Its package for pushing, which is a module beside it, at the version that it requires.
    "loki": Recipe("v3.7.6", ("bin/loki",), go_module("github.com/grafana/loki/v3", "cmd/loki"), "go"),
    # Community edition, run by tests.servers.neo4j.
    "neo4j": Recipe("5.26.30", ("neo4j/version",), maven_jars("pom.xml"), "mvn"),
    "otelcol": Recipe("v0.159.0", ("bin/otelcol",), collector(_COLLECTOR), "go"),
    "phoenix": Recipe("20.26.1", ("venv/phoenix/bin/phoenix",), python_packages("arize-phoenix=={version}"), "python3"),
    "prometheus": Recipe(
        "v0.314.0",
        ("bin/prometheus", "bin/promtool"),
        go_module(_PROMETHEUS, "cmd/prometheus", "cmd/promtool", tags=_NO_CLOUDS),
        "go",
    ),
}
"""Every server by its name."""
