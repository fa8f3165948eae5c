"""Looks into the store of a stopped program: for what the API does not read back, such as logs and metric points."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine
from agent_tracer.server.adapters.data_directory import locked_directory

ROOT: Final = Path(__file__).resolve().parents[2]


def stored(data_directory: Path, *statements: str) -> list[list[Any]]:
    """The rows of each SELECT, through JSON. In a process of its own: a process opens one embedded store at most."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.stored", str(data_directory)],
        cwd=ROOT,
        input=json.dumps(statements),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[Any]] = json.loads(done.stdout)
    return rows


def _main() -> None:
    with locked_directory(Path(sys.argv[1])) as directory:
        engine = Engine.open(EMBEDDED, directory.store)
        statements: Sequence[str] = json.loads(sys.stdin.read())
        found = [
            engine.writer.call(lambda client, sql=sql: [list(row) for row in client.query(sql).result_rows])  # type: ignore[misc]
            for sql in statements
        ]
        engine.close()
    sys.stdout.write(json.dumps(found, default=str))


if __name__ == "__main__":
    _main()
