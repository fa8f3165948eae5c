"""Starts and stops a Neo4j 5 community server out of the jars that `python -m tests.servers install neo4j` fetched."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.fixtures.program import free_ports
from tests.servers import recipes
from tests.servers.child import HOST, Child

USER = "neo4j"

_SMALL = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Tests start it often and ask little of it: a small heap, and no compiler that pays off after minutes."""
_OPENED = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent")
_READY = " Started."
"""The log says "Bolt enabled" before, when the database is not there yet."""


def why_not() -> str:
    """What a machine lacks to run it; empty where nothing is missing."""
    if shutil.which("java") is None:
        return "Neo4j needs java (17 or 21) on the PATH"
    if recipes.installed(Neo4jServer.recipe) is None:
        return "Neo4j is not installed: python -m tests.servers install neo4j (or make test-servers)"
    return ""


class Neo4jServer(Child):
    """Ready when Bolt answers at `uri`. Data outlive a restart in the same folder, on the same port."""

    recipe = "neo4j"
    start_seconds_max = 240.0
    password = "graph-of-tests"  # noqa: S105 - of a server that lives as long as the tests

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_ports(1)[0]
        self.address = f"{HOST}:{self.port}"
        self.uri = f"bolt://{self.address}"
        self._said = 0

    def start(self) -> None:
        """See Child. The first start of a folder sets the password."""
        self._write_settings()
        if not (self.folder / "data" / "dbms").exists():
            self._java("org.neo4j.cli.AdminTool", "dbms", "set-initial-password", self.password)
        log = self.folder / "log"
        self._said = log.stat().st_size if log.exists() else 0
        super().start()

    def _command(self) -> list[str]:
        home, conf = f"--home-dir={self.folder}", f"--config-dir={self.folder / 'conf'}"
        return [*_java_command(), "org.neo4j.server.CommunityEntryPoint", home, conf, "--console-mode"]

    def _is_ready(self) -> bool:
        return _READY in self.log[self._said :]

    def _write_settings(self) -> None:
        settings = {
            "server.default_listen_address": HOST,
            "server.bolt.listen_address": self.address,
            "server.bolt.advertised_address": self.address,
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
        subprocess.run([*_java_command(), *arguments], env=environment, check=True, capture_output=True, timeout=240)


def _java_command() -> list[str]:
    jars = recipes.RECIPES[Neo4jServer.recipe].path().parent / "lib"
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    classpath = ":".join(sorted(map(str, jars.glob("*.jar"))))
    return ["java", *_SMALL, *opened, "-Dfile.encoding=UTF-8", "-cp", classpath]
