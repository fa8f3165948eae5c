"""Generate everything under gen/ from proto/. `--check` fails when what is checked in differs.

Two trees from one contract: protobuf + grpcio for the server, betterproto2 for the clients; and the
descriptor set for Envoy and reflection, which also carries google.rpc's error details (Envoy cannot
turn an error into JSON without them).
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "agent_tracer/v1"
BETTERPROTO = "agent_tracer/betterproto"
DESCRIPTORS = "agent_tracer/descriptors"
GOOGLE_PROTOS = str(files("google").joinpath("..").resolve())  # type: ignore[attr-defined]
ERROR_DETAILS = "google/rpc/error_details.proto"


def protoc(*arguments: str) -> None:
    includes = [f"-I{ROOT / 'proto'}", f"-I{GOOGLE_PROTOS}"]
    scripts = sysconfig.get_path("scripts")
    # Each plugin is called by its full path: another one of the name on PATH must not win.
    plugins = [
        f"--plugin=protoc-gen-{name}={scripts}/protoc-gen-{name}"
        for name in ("mypy", "mypy_grpc", "python_betterproto2")
    ]
    # betterproto2's plugin formats with the ruff it finds on PATH.
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *plugins, *arguments]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)


def generate(out: Path) -> None:
    contract = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto" / PACKAGE).glob("*.proto"))
    better, descriptors = out / BETTERPROTO, out / DESCRIPTORS
    for folder in (out / PACKAGE, better, descriptors):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    protoc(
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out={out}",
        f"--mypy_grpc_out={out}",
        *contract,
    )
    protoc(f"--python_betterproto2_out={better}", "--python_betterproto2_opt=client_generation=async", *contract)
    protoc(
        f"--descriptor_set_out={descriptors / 'api.binpb'}",
        "--include_imports",
        *contract,
        ERROR_DETAILS,
    )
    (out / PACKAGE / "__init__.py").write_text('"""Generated from proto/agent_tracer/v1. Never edited."""\n')
    (descriptors / "__init__.py").write_text('"""The API\'s descriptor set (api.binpb)."""\n')
    for folder in (out / PACKAGE, better, descriptors):
        (folder / "py.typed").touch()


def differences(made: Path, kept: Path) -> list[str]:
    def listing(top: Path) -> set[str]:
        return {str(p.relative_to(top)) for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts}

    names = listing(made) | listing(kept)
    return sorted(n for n in names if not same_file(made / n, kept / n))


def same_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        generate(ROOT / "gen")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        stale = differences(Path(scratch), ROOT / "gen")
    for name in stale:
        print(f"gen/{name} differs from what the protos make: run `make gen`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
