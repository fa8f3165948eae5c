"""Loki with its data in a folder: takes logs at its OTLP endpoint, answers LogQL."""

import time
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.fixtures.program import free_ports
from tests.servers.child import HOST, Child, answers, eventually

_LOOK_BACK_SECONDS: Final = 3600
_LINES_MAX: Final = 1000


class Loki(Child):
    """`url` answers its API; `otlp` is the base URL below which `/v1/logs` takes OTLP."""

    recipe = "loki"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._http, self._grpc, self._gossip = free_ports(3)
        self.url = f"http://{HOST}:{self._http}"
        self.otlp = f"{self.url}/otlp"

    def _command(self) -> list[str]:
        days = {"from": "2024-01-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13"}
        config = {
            "auth_enabled": False,
            "server": {
                "http_listen_address": HOST,
                "http_listen_port": self._http,
                "grpc_listen_address": HOST,
                "grpc_listen_port": self._grpc,
                "log_level": "warn",
            },
            "common": {
                "instance_addr": HOST,
                "path_prefix": "data",
                "replication_factor": 1,
                "ring": {"instance_addr": HOST, "kvstore": {"store": "inmemory"}},
                "storage": {"filesystem": {"chunks_directory": "data/chunks", "rules_directory": "data/rules"}},
            },
            "schema_config": {"configs": [{**days, "index": {"prefix": "index_", "period": "24h"}}]},
            "limits_config": {"allow_structured_metadata": True, "volume_enabled": True},
            "memberlist": {"bind_addr": [HOST], "bind_port": self._gossip},
            # Else it is ready after 15 seconds, and takes as many for its first answer.
            "ingester": {"lifecycler": {"min_ready_duration": "0s"}},
            "frontend": {"address": HOST, "scheduler_dns_lookup_period": "500ms"},
            "frontend_worker": {"dns_lookup_duration": "500ms"},
            "analytics": {"reporting_enabled": False},
        }
        (self.folder / "loki.yaml").write_text(yaml.safe_dump(config))
        return [self.program, "-config.file=loki.yaml"]

    def _is_ready(self) -> bool:
        return answers(f"{self.url}/ready")

    def lines(self, logql: str, count_min: int = 1, seconds_max: float = 30.0) -> list[tuple[str, dict[str, str]]]:
        """Lines of the last hour, each with its labels and metadata, once so many are found; fails where they are not."""

        def look() -> list[tuple[str, dict[str, str]]]:
            found = [(line, stream["stream"]) for stream in self.query(logql) for _, line in stream["values"]]
            return found if len(found) >= count_min else []

        found = eventually(look, seconds_max)
        assert found, f"Loki finds fewer than {count_min} lines for {logql}"
        return found

    def query(self, logql: str) -> list[dict[str, Any]]:
        """The result of a range query over the last hour: streams with `stream` and `values`, or series with `metric`."""
        now = time.time_ns()
        span = {"start": now - _LOOK_BACK_SECONDS * 10**9, "end": now + 10**9, "limit": _LINES_MAX}
        address = f"{self.url}/loki/api/v1/query_range"
        answer = httpx.get(address, params={"query": logql, **span}, trust_env=False, timeout=30)
        assert answer.is_success, f"{logql}: {answer.text}"
        return list(answer.json()["data"]["result"])
