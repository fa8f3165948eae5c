"""Starts and stops a Neo4j 5 community server out of the jars that `python -m tests.servers install neo4j` fetched."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.program import free_ports
from tests.servers import recipes

NAME = "neo4j"
USER = "neo4j"
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 30.0

_SMALL = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Tests start it often and ask little of it: a small heap, and no compiler that pays off after minutes."""
_OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
_READY = " Started."
"""The log says "Bolt enabled" before, when the database is not there yet."""


def why_not() -> str:
    """What a machine lacks to run it; empty where nothing is missing."""
    if shutil.which("java") is None:
        return "Neo4j needs java (17 or 21) on the PATH"
    if recipes.installed(NAME) is None:
        return "Neo4j is not installed: python -m tests.servers install neo4j (or make test-servers)"
    return ""


@dataclass
class Neo4jServer:
    """`start` returns when Bolt answers at `uri`. Data outlive a restart in the same folder, on the same port."""

    folder: Path
    password: str = "graph-of-tests"  # noqa: S105 - of a server that lives as long as the tests
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Raises RuntimeError with the end of its log where it does not come up."""
        self._write_settings()
        if not (self.folder / "data" / "dbms").exists():
            self._java("org.neo4j.cli.AdminTool", "dbms", "set-initial-password", self.password)
        log = self.folder / "console.log"
        home, conf = f"--home-dir={self.folder}", f"--config-dir={self.folder / 'conf'}"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [*_command(), "org.neo4j.server.CommunityEntryPoint", home, conf, "--console-mode"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START_SECONDS_MAX
        while _READY not in log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                told = log.read_text(errors="replace")[-2000:]
                message = f"Neo4j did not start:\n{told}"
                raise RuntimeError(message)
            time.sleep(0.1)  # its log is all that tells

    def stop(self) -> None:
        """Clean; killed where that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a machine does that fails."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _write_settings(self) -> None:
        at = f"127.0.0.1:{self.port}"
        settings = {
            "server.default_listen_address": "127.0.0.1",
            "server.bolt.listen_address": at,
            "server.bolt.advertised_address": at,
            "server.http.enabled": "false",
            "server.https.enabled": "false",
            "server.directories.import": "import",
            "server.memory.pagecache.size": "64m",
            "db.tx_log.preallocate": "false",
            "dbms.usage_report.enabled": "false",
            # Else a stop waits ten seconds for nobody.
            "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
        }
        for part in ("conf", "data", "logs", "run", "plugins", "import"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        lines = (f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "conf" / "neo4j.conf").write_text("".join(lines))

    def _java(self, *arguments: str) -> None:
        environment = os.environ | {"NEO4J_HOME": str(self.folder), "NEO4J_CONF": str(self.folder / "conf")}
        subprocess.run([*_command(), *arguments], env=environment, check=True, capture_output=True, timeout=60)


def _command() -> list[str]:
    jars = recipes.RECIPES[NAME].path().parent / "lib"
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    classpath = ":".join(sorted(map(str, jars.glob("*.jar"))))
    return ["java", *_SMALL, *opened, "-Dfile.encoding=UTF-8", "-cp", classpath]
