"""Write envoy/bootstrap.json: Envoy's configuration for the default settings. `--check` fails when it differs."""

import argparse
import sys
from pathlib import Path

from agent_tracer.server.adapters.envoy.bootstrap import default_text

ROOT = Path(__file__).resolve().parent.parent
KEPT = Path("envoy/bootstrap.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    checking = parser.parse_args().check
    path, text = ROOT / KEPT, default_text()
    if not checking:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return 0
    if path.is_file() and path.read_text() == text:
        return 0
    print(f"{KEPT} differs from what the settings and protos make: run `make gen`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
