"""ClickHouse's HTTP server, as the chdb package has it, in a process of its own.

    python -m tests.servers.clickhouse FOLDER

serves what lies in the folder, by the `config.xml` of the working directory.
"""

import signal
import sys
from pathlib import Path

from tests.fixtures.program import free_ports
from tests.servers.child import HOST, Child, answers

_CONFIG = """<clickhouse>
  <listen_host>{host}</listen_host>
  <http_port>{port}</http_port>
</clickhouse>
"""


class ClickHouse(Child):
    """One server, one shard; `url` is what `store.url` takes. Data outlive a restart."""

    recipe = "clickhouse"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = free_ports(1)[0]
        self.url = f"http://{HOST}:{self._port}"

    def _command(self) -> list[str]:
        (self.folder / "config.xml").write_text(_CONFIG.format(host=HOST, port=self._port))
        return [sys.executable, "-m", "tests.servers.clickhouse", str(self.folder / "data")]

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(Path(__file__).parents[2])}

    def _is_ready(self) -> bool:
        return answers(f"{self.url}/ping")


def _serve(folder: str) -> None:
    from chdb import _chdb  # noqa: PLC0415 - half a second, and only the child needs it

    # A connection of chdb's cannot start listening, this call can, and listens for as long as its statements run.
    asleep = "SELECT sleepEachRow(1) FROM numbers(86400) SETTINGS max_block_size = 1 FORMAT Null"
    _chdb.query(f"SYSTEM START LISTEN HTTP; {asleep}", "TSV", path=folder)  # type: ignore[attr-defined]


if __name__ == "__main__":
    # Parts are whole on the disk whenever it ends.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _serve(sys.argv[1])
