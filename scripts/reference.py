"""Write docs/reference/ from the code that it describes. `--check` fails when a page differs."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # In place of this folder, in which envoy.py would hide the package of that name.
    sys.path[0] = str(ROOT)

from scripts.pages.commands import cli  # noqa: E402
from scripts.pages.errors import errors  # noqa: E402
from scripts.pages.services import api  # noqa: E402
from scripts.pages.settings import configuration, limits_page  # noqa: E402
from scripts.pages.telemetry import metrics, semantics  # noqa: E402

FOLDER: Final = Path("docs/reference")

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration,
    "limits.md": limits_page,
    "errors.md": errors,
    "cli.md": cli,
    "semantics.md": semantics,
    "metrics.md": metrics,
    "api.md": api,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    checking = parser.parse_args().check
    folder = ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, make in PAGES.items():
        path, text = folder / name, make()
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if not checking:
            path.write_text(text)
    stray = sorted(path.name for path in folder.iterdir() if path.name not in PAGES)
    for name in stray:
        print(f"{FOLDER / name} is made by nothing: remove it, or move it out of {FOLDER}", file=sys.stderr)
    for name in stale if checking else ():
        print(f"{FOLDER / name} differs from the code: run `make gen`", file=sys.stderr)
    return 1 if stray or (checking and stale) else 0


if __name__ == "__main__":
    sys.exit(main())
