"""The ways in which a foreign server is made: Go modules, the Collector's builder, a virtual environment, jars."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True, slots=True)
class Order:
    """What to make: the recipe's name, its version (with the `v` that Go wants), and where everything goes."""

    name: str
    version: str
    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "bin"


Make = Callable[[Order], None]

_SMALL = ("-ldflags", "-s -w")


@contextmanager
def _work(order: Order) -> Iterator[Path]:
    """A folder on the same disk as the result, so that a finished program is moved there at once."""
    with tempfile.TemporaryDirectory(dir=order.home, prefix="build.") as folder:
        yield Path(folder)


def _go(*arguments: str, cwd: Path, **environment: str) -> str:
    settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath", **environment}
    return subprocess.run(
        ["go", *arguments], cwd=cwd, env=settings, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def go_install(package: str) -> Make:
    """Build a command of a module that `go install` takes."""

    def make(order: Order) -> None:
        with _work(order) as work:
            named = f"-s -w -X main.version={order.version}"
            _go("install", "-ldflags", named, f"{package}@{order.version}", cwd=work, GOBIN=str(work))
            (work / Path(package).name).replace(order.bin / order.name)

    return make


def go_module(module: str, *packages: str, tags: str = "") -> Make:
    """Build commands of a module whose go.mod has replace lines, which `go install` refuses.

    A wrapper module takes the module's own go.mod and go.sum, so that every checksum is verified.
    """

    def make(order: Order) -> None:
        wanted = f"{module}@{order.version}"
        with _work(order) as work:
            source = Path(json.loads(_go("mod", "download", "-json", wanted, cwd=work))["Dir"])
            text = re.sub(r"(?m)^module .*$", f"module servers/{order.name}", (source / "go.mod").read_text())
            (work / "go.mod").write_text(text)
            (work / "go.sum").write_bytes((source / "go.sum").read_bytes())
            _go("mod", "edit", "-require", wanted, cwd=work)
            for replaced in re.findall(r"(?m)^replace (\S+) => \./", text):
                # A folder beside the module is not there outside of its checkout: take the version it requires.
                _go("mod", "edit", "-dropreplace", replaced, cwd=work)
            _go("mod", "download", module, cwd=work)
            for package in packages:
                built = work / "built" / Path(package).name
                options = ("-mod=mod", "-tags", tags, *_SMALL, "-o", str(built))
                _go("build", *options, f"{module}/{package}", cwd=work)
            for built in (work / "built").iterdir():
                built.replace(order.bin / built.name)

    return make


def collector(components: Mapping[str, Sequence[str]]) -> Make:
    """Build an OpenTelemetry Collector of these components with the Collector's own builder of the same version."""

    def make(order: Order) -> None:
        manifest = {
            "dist": {"name": order.name, "output_path": "./out", "module": f"servers/{order.name}"},
            **{kind: [{"gomod": f"{path} {order.version}"} for path in paths] for kind, paths in components.items()},
        }
        with _work(order) as work:
            builder = f"go.opentelemetry.io/collector/cmd/builder@{order.version}"
            _go("install", *_SMALL, builder, cwd=work, GOBIN=str(work))
            (work / "builder.yaml").write_text(yaml.safe_dump(manifest))
            settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"}
            command = ["./builder", "--config", "builder.yaml", "--ldflags", "-s -w"]
            subprocess.run(command, cwd=work, env=settings, check=True)
            (work / "out" / order.name).replace(order.bin / order.name)

    return make


def python_packages(*packages: str) -> Make:
    """Install packages into a virtual environment of their own; `{version}` in one is the recipe's."""

    def make(order: Order) -> None:
        folder = order.home / "venv" / order.name
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        wanted = [package.format(version=order.version) for package in packages]
        subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *wanted], check=True)

    return make


def maven_jars(pom: str) -> Make:
    """Fetch the jars that a file in the folder of the recipe's name says, at the versions that it says."""

    def make(order: Order) -> None:
        folder = order.home / order.name
        source = Path(__file__).parent / order.name / pom
        if f"<version>{order.version}</version>" not in source.read_text():
            message = f"{source} has another version than {order.version}"
            raise RuntimeError(message)
        shutil.rmtree(folder, ignore_errors=True)
        copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}"]
        subprocess.run(["mvn", "-B", "-q", "-ntp", "-f", str(source), *copy], check=True)
        # Native parts for other systems.
        for jar in (folder / "lib").glob("netty-transport-native-kqueue-*-osx-*.jar"):
            jar.unlink()
        (folder / "version").write_text(order.version)

    return make
