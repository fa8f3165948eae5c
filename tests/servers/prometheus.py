"""Prometheus, scraping what it is told every half second, and its tool."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.fixtures.program import free_ports
from tests.servers import recipes
from tests.servers.child import HOST, Child, answers, eventually


class Prometheus(Child):
    """`scrapes` are items of `scrape_configs`; `rules` files of recording and alert rules. `url` answers its API."""

    recipe = "prometheus"

    def __init__(self, folder: Path, scrapes: Sequence[Mapping[str, Any]], rules: Sequence[Path] = ()) -> None:
        super().__init__(folder)
        self._address = f"{HOST}:{free_ports(1)[0]}"
        self.url = f"http://{self._address}"
        self._scrapes = scrapes
        self._rules = rules

    def _command(self) -> list[str]:
        config = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "scrape_configs": [dict(scrape) for scrape in self._scrapes],
            "rule_files": [str(path.resolve()) for path in self._rules],
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        return [
            self.program,
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            f"--web.listen-address={self._address}",
            "--web.enable-otlp-receiver",
            "--log.level=warn",
        ]

    def _is_ready(self) -> bool:
        return answers(f"{self.url}/-/ready")

    def query(self, expression: str, seconds_max: float = 30.0) -> list[dict[str, Any]]:
        """The result of an instant query as soon as there is one; empty where there is none in time."""
        return eventually(lambda: self._result("query", query=expression), seconds_max)

    def query_range(self, expression: str, seconds: float, step_seconds: float = 1.0) -> list[dict[str, Any]]:
        """The series of the last seconds, empty where there are none."""
        now = time.time()
        return self._result("query_range", query=expression, start=now - seconds, end=now, step=step_seconds)

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes: `health`, `lastError`, `scrapeUrl`, ..."""
        return list(self._get("targets", state="active")["activeTargets"])

    def _result(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        return list(self._get(path, **parameters)["result"])

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False, timeout=30)
        assert answer.is_success, f"{path} {parameters}: {answer.text}"
        return dict(answer.json()["data"])


def promtool(*arguments: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
    """A command of Prometheus's own checker; its exit code tells."""
    command = [str(recipes.RECIPES["prometheus"].path("promtool")), *arguments]
    return subprocess.run(command, input=input_, capture_output=True, text=True, timeout=120, check=False)
