"""How each foreign server is obtained: which version, from which module, into which folder.

Everything lands in `$AGENT_TRACER_SERVERS` or, without it, in `~/.cache/agent-tracer/servers`: programs in `bin`,
virtual environments in `venv/NAME`, and in `stamp/NAME` the version that is there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def home() -> Path:
    """Return the folder that holds what the recipes made."""
    named = os.environ.get("AGENT_TRACER_SERVERS")
    return Path(named) if named else Path.home() / ".cache" / "agent-tracer" / "servers"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One server at one version: `make(name, version)` puts `program` in place; `needs` must be on the PATH."""

    version: str
    program: str
    make: Callable[[str, str], None]
    needs: str

    def path(self) -> Path:
        """Return where the program is, or will be."""
        return home() / self.program


def installed(name: str) -> Path | None:
    """Return the program of a server that is there at the pinned version, else None."""
    recipe = RECIPES[name]
    stamp = home() / "stamp" / name
    there = stamp.is_file() and stamp.read_text().strip() == recipe.version and recipe.path().is_file()
    return recipe.path() if there else None


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
    recipe.make(name, recipe.version)
    stamp = home() / "stamp" / name
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(recipe.version)
    return f"{name} {recipe.version}: installed in {time.monotonic() - began:.0f} s"


def _go(*arguments: str, cwd: Path) -> str:
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
    command = ["go", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _go_module(module: str, package: str) -> Callable[[str, str], None]:
    """Build a command of a module whose go.mod has replace lines, which `go install` refuses.

    A wrapper module takes the module's own go.mod and go.sum, so that every checksum is verified.
    """

    def make(name: str, version: str) -> None:
        with tempfile.TemporaryDirectory(dir=home(), prefix="build.") as folder:
            work = Path(folder)
            source = Path(json.loads(_go("mod", "download", "-json", f"{module}@{version}", cwd=work))["Dir"])
            text = re.sub(r"(?m)^module .*$", f"module servers/{name}", (source / "go.mod").read_text())
            (work / "go.mod").write_text(text)
            (work / "go.sum").write_bytes((source / "go.sum").read_bytes())
            _go("mod", "edit", "-require", f"{module}@{version}", cwd=work)
            for replaced in re.findall(r"(?m)^replace (\S+) => \./", text):
                # A folder beside the module is not there outside of its checkout: take the version it requires.
                _go("mod", "edit", "-dropreplace", replaced, cwd=work)
            _go("mod", "download", module, cwd=work)
            built = work / name
            command = ["build", "-mod=mod", "-ldflags", "-s -w", "-o", str(built), f"{module}/{package}"]
            _go(*command, cwd=work)
            built.replace(RECIPES[name].path())

    return make


def _python_packages(*packages: str) -> Callable[[str, str], None]:
    """Install packages into a virtual environment of their own; `{version}` in one is the recipe's."""

    def make(name: str, version: str) -> None:
        folder = home() / "venv" / name
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        wanted = [package.format(version=version) for package in packages]
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *wanted], check=True)

    return make


def _maven_jars(pom: str) -> Callable[[str, str], None]:
    """Fetch the jars that a file beside this one names, at the versions that it says."""

    def make(name: str, version: str) -> None:
        folder = home() / name
        source = Path(__file__).parent / name / pom
        if f"<version>{version}</version>" not in source.read_text():
            message = f"{source} has another version than {version}"
            raise RuntimeError(message)
        shutil.rmtree(folder, ignore_errors=True)
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
        subprocess.run(["mvn", "-B", "-q", "-ntp", "-f", str(source), *copy], check=True)
        # Native parts for other systems.
        for jar in (folder / "lib").glob("netty-transport-native-kqueue-*-osx-*.jar"):
            jar.unlink()
        (folder / "version").write_text(version)

    return make


RECIPES = {
    # Jaeger 2.13.0; newer tags are not offered as Go modules.
    "jaeger": Recipe("v1.76.0", "bin/jaeger", _go_module("github.com/jaegertracing/jaeger", "cmd/jaeger"), "go"),
    # Community edition, run by tests.servers.neo4j.
    "neo4j": Recipe("5.26.30", "neo4j/version", _maven_jars("pom.xml"), "mvn"),
    "phoenix": Recipe("20.26.1", "venv/phoenix/bin/phoenix", _python_packages("arize-phoenix=={version}"), "python3"),
}
"""Every server by its name."""
