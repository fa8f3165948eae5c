"""Write the OpenAPI document that the server serves, from the protos. `--check` fails when it differs."""

import argparse
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # In place of this folder, in which envoy.py would hide the package of that name.
    sys.path[0] = str(ROOT)

from scripts.pages.rest import openapi  # noqa: E402

KEPT = Path("server/agent_tracer/server/api/openapi.json")


def document() -> str:
    """What the file must hold."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return openapi(project["version"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    checking = parser.parse_args().check
    path, text = ROOT / KEPT, document()
    if not checking:
        path.write_text(text)
        return 0
    if path.is_file() and path.read_text() == text:
        return 0
    print(f"{KEPT} differs from what the protos make: run `make gen`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
