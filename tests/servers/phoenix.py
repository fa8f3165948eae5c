"""Arize Phoenix with SQLite, in the virtual environment that its recipe made."""

from pathlib import Path
from typing import Any

import httpx

from tests.fixtures.program import free_ports
from tests.servers.child import HOST, Child, answers, eventually

_PAGE = 100


class Phoenix(Child):
    """`url` takes OTLP over HTTP at `/v1/traces` and answers REST and GraphQL; `otlp_grpc` is `host:port`."""

    recipe = "phoenix"
    # It imports about a gigabyte of packages and migrates its database: half a minute on a busy machine.
    start_seconds_max = 180.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._http, grpc = free_ports(2)
        self.url = f"http://{HOST}:{self._http}"
        self.otlp_grpc = f"{HOST}:{grpc}"

    def _command(self) -> list[str]:
        return [self.program, "serve"]

    def _environment(self) -> dict[str, str]:
        return {
            "PHOENIX_WORKING_DIR": str(self.folder),
            "PHOENIX_HOST": HOST,
            "PHOENIX_PORT": str(self._http),
            "PHOENIX_GRPC_PORT": self.otlp_grpc.rpartition(":")[2],
            # Nothing leaves the machine.
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        }

    def _is_ready(self) -> bool:
        return answers(f"{self.url}/healthz")

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The `data` of an answer; fails where it has errors."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.url}/graphql", json=body, trust_env=False, timeout=30).raise_for_status().json()
        assert not answer.get("errors"), answer["errors"]
        return dict(answer["data"])

    def projects(self) -> list[str]:
        """Names of the projects, `default` among them."""
        return [project["name"] for project in self._get("/v1/projects", limit=_PAGE)["data"]]

    def spans(self, project: str, count_min: int = 1, seconds_max: float = 60.0) -> list[dict[str, Any]]:
        """The newest spans of a project by REST, once so many are there; attributes keyed by dotted names."""

        def look() -> list[dict[str, Any]]:
            if project not in self.projects():
                return []
            found = list(self._get(f"/v1/projects/{project}/spans", limit=_PAGE)["data"])
            return found if len(found) >= count_min else []

        found = eventually(look, seconds_max)
        assert found, f"Phoenix has fewer than {count_min} spans in project {project}"
        return found

    def _get(self, path: str, **parameters: int) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}{path}", params=parameters, trust_env=False, timeout=30)
        return dict(answer.raise_for_status().json())
