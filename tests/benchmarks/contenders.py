"""The servers that are measured: ours, and the peers that `python -m tests.servers install` has put in place."""

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import grpc
import pytest
import yaml

from agent_tracer.v1 import trace_pb2
from agent_tracer.v1.trace_pb2_grpc import TraceServiceStub
from tests.benchmarks.generator import Sent
from tests.benchmarks.processes import wait_until
from tests.fixtures.program import Program, free_ports
from tests.servers import recipes

START_SECONDS_MAX: Final = 90
STOP_SECONDS_MAX: Final = 60
HOST: Final = "127.0.0.1"


class Contender(Protocol):
    """A server with a data directory of its own. `target` takes OTLP over gRPC."""

    name: str
    target: str

    @property
    def pid(self) -> int: ...
    def start(self) -> float:
        """Start on the data that are there; the seconds until it takes spans and answers queries."""

    def stop(self) -> None:
        """End it in good order, so that everything is on the disk."""

    def shows(self, sent: Sent) -> bool:
        """Whether a reader finds the last of what was sent."""

    def stored(self) -> tuple[int, int]:
        """Spans and bytes on the disk, of a server that has stopped."""


class AgentTracer:
    """This project, as `agent-tracer start` runs it: Envoy, REST, OTLP and /metrics included."""

    name = "agent-tracer"

    def __init__(self, folder: Path) -> None:
        self._program = Program(folder)
        self.target = f"{HOST}:{self._program.otlp_grpc}"
        self.api_target = self._program.target

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def data(self) -> Path:
        return self._program.folder / "data"

    def start(self) -> float:
        began = time.monotonic()
        try:
            self._program.start()
        except pytest.fail.Exception as failure:
            raise RuntimeError(str(failure)) from None
        return time.monotonic() - began

    def stop(self) -> None:
        if self._program.process is not None:
            self._program.stop()

    def shows(self, sent: Sent) -> bool:
        with grpc.insecure_channel(self.api_target) as channel:
            stub = TraceServiceStub(channel)
            return all(self._is_whole(stub, trace_id) for trace_id in sent.last_trace_ids)

    @staticmethod
    def _is_whole(stub: TraceServiceStub, trace_id: str) -> bool:
        try:
            found = stub.GetTrace(trace_pb2.GetTraceRequest(trace_id=trace_id), timeout=30)
        except grpc.RpcError as error:
            # Far behind, it waits for its loader as long as the caller does.
            if error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DEADLINE_EXCEEDED}:
                return False
            raise
        return bool(found.status != "running" and found.span_count > 0)

    def stored(self) -> tuple[int, int]:
        tables = stored_tables(self.data)
        return tables["spans"][0], sum(size for _, size in tables.values())


def stored_tables(data: Path) -> Mapping[str, tuple[int, int]]:
    """Rows and bytes on disk of each table of a stopped server. In a process of its own: one engine a process."""
    command = [sys.executable, "-m", "tests.benchmarks.stored", str(data)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout
    return {name: (rows, size) for name, rows, size in json.loads(out)}


class _Peer:
    """A foreign server as a child process that answers HTTP when it is ready."""

    name: str
    grace_signal = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _launch(self, command: list[str], is_ready: Callable[[], bool], **environment: str) -> float:
        began = time.monotonic()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PHOENIX_"))}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=kept | environment)
        if not wait_until(is_ready, START_SECONDS_MAX):
            self.stop()
            message = f"{self.name} did not start; its log is {self.folder / 'log'}"
            raise RuntimeError(message)
        return time.monotonic() - began

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(self.grace_signal)
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class Jaeger(_Peer):
    """Jaeger 2 with Badger, its embedded store on disk. It acknowledges what it has given to Badger."""

    name = "jaeger"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        otlp, self._http, query, self._health = free_ports(4)
        self.target = f"{HOST}:{otlp}"
        stores = {"keys": str(folder / "keys"), "values": str(folder / "values")}
        badger = {"directories": stores, "ephemeral": False}
        config = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"{HOST}:{self._health}"}},
                "jaeger_query": {
                    "storage": {"traces": "disk"},
                    "http": {"endpoint": f"{HOST}:{self._http}"},
                    "grpc": {"endpoint": f"{HOST}:{query}"},
                },
                "jaeger_storage": {"backends": {"disk": {"badger": badger}}},
            },
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.target}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "disk"}},
        }
        (folder / "jaeger.yaml").write_text(yaml.safe_dump(config))

    def start(self) -> float:
        program = str(recipes.RECIPES[self.name].path())
        return self._launch([program, "--config", "jaeger.yaml"], lambda: http_ok(self._health, "/status"))

    def shows(self, sent: Sent) -> bool:
        return all(http_ok(self._http, f"/api/traces/{trace_id}") for trace_id in sent.last_trace_ids)

    def stored(self) -> tuple[int, int]:
        return 0, folder_bytes(self.folder / "keys") + folder_bytes(self.folder / "values")


class Phoenix(_Peer):
    """Arize Phoenix with SQLite, its default. It acknowledges what it has put into its queue."""

    name = "phoenix"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._http, self._grpc = free_ports(2)
        self.target = f"{HOST}:{self._grpc}"
        self._database = folder / "phoenix.db"
        self._empty_bytes = 0

    def start(self) -> float:
        seconds = self._launch(
            [str(recipes.RECIPES[self.name].path()), "serve"],
            lambda: http_ok(self._http, "/healthz"),
            PHOENIX_WORKING_DIR=str(self.folder),
            PHOENIX_HOST=HOST,
            PHOENIX_PORT=str(self._http),
            PHOENIX_GRPC_PORT=str(self._grpc),
            PHOENIX_TELEMETRY_ENABLED="false",
        )
        self._empty_bytes = self._empty_bytes or self._bytes()
        return seconds

    def count(self) -> int:
        """Spans in its database."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as database:
            return int(database.execute("SELECT count(*) FROM spans").fetchone()[0])

    def shows(self, sent: Sent) -> bool:
        return self.count() >= sent.acknowledged

    def _bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("phoenix.db*"))

    def stored(self) -> tuple[int, int]:
        """Less what an empty database takes, so that a short run does not look worse than a long one."""
        return self.count(), self._bytes() - self._empty_bytes


PEERS: Final[Mapping[str, type[Jaeger] | type[Phoenix]]] = {"jaeger": Jaeger, "phoenix": Phoenix}


def installed_peers(wanted: tuple[str, ...]) -> list[str]:
    """Those of the wanted peers that are there."""
    return [name for name in wanted if recipes.installed(name)]


def make(name: str, folder: Path) -> Contender:
    """A contender by its name, not started."""
    return PEERS[name](folder) if name in PEERS else AgentTracer(folder)


@contextmanager
def started(contender: Contender) -> Iterator[float]:
    """Started, and stopped whatever happens. Gives the seconds of the start."""
    try:
        yield contender.start()
    finally:
        with suppress(ProcessLookupError):
            contender.stop()


@contextmanager
def fresh_folder(parent: Path, name: str) -> Iterator[Path]:
    """An empty folder that goes away afterwards."""
    folder = parent / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files as the disk has them, so that holes do not count."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def http_ok(port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
