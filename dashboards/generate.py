"""Write the dashboards to `dashboards/json`: `python -m dashboards.generate [--check]`.

`--check` writes nothing and fails where what is checked in differs.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import ace_scores, agent_overview, atlas_analytics, infrastructure, llm_performance, trace_analysis

FOLDER: Final = Path(__file__).parent / "json"
BOARDS: Final = {
    "agent-overview": agent_overview.BOARD,
    "llm-performance": llm_performance.BOARD,
    "trace-analysis": trace_analysis.BOARD,
    "ace-scores": ace_scores.BOARD,
    "atlas-analytics": atlas_analytics.BOARD,
    "infrastructure": infrastructure.BOARD,
}
"""Each dashboard by its file's name."""


def made() -> dict[str, str]:
    """The text of every file by its name."""
    return {
        f"{name}.json": json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, board in BOARDS.items()
    }


def differing() -> list[str]:
    """Names of files that are not as they would be made, that are missing, or that nobody makes."""
    wanted = made()
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def main() -> None:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where something differs")
    if parser.parse_args().check:
        if wrong := differing():
            sys.exit(f"dashboards/json is not what the code makes (run `make gen`): {', '.join(wrong)}")
        return
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for name, text in made().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
