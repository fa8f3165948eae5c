"""Rows and bytes of each table of a stopped server, as JSON: `python -m tests.benchmarks.stored DATA_DIRECTORY`."""

import json
import sys
from pathlib import Path

from agent_tracer.server.adapters.clickhouse.engine import EMBEDDED, Engine

_PARTS = """
SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts
WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table
"""


def main() -> None:
    """Print [[table, rows, bytes], ...]."""
    engine = Engine.open(EMBEDDED, Path(sys.argv[1]) / "store")
    found = engine.writer.call(lambda client: client.query(_PARTS).result_rows)
    sys.stdout.write(json.dumps([[table, int(rows), int(size)] for table, rows, size in found]) + "\n")
    engine.close()


if __name__ == "__main__":
    main()
