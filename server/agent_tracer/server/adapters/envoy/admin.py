"""Envoy's admin interface on loopback: is it ready, how much is under way, take no more."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from agent_tracer.server import limits

_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin interface of one Envoy. Its methods raise OSError where Envoy does not answer."""

    host: str
    port: int

    @classmethod
    def from_file(cls, path: Path) -> Self | None:
        """The address that Envoy wrote (`--admin-address-path`), or None while it has not."""
        try:
            host, _, port = path.read_text().strip().rpartition(":")
        except FileNotFoundError:
            return None
        return cls(host, int(port)) if port.isdigit() else None

    async def is_ready(self) -> bool:
        """Whether every listener takes connections."""
        status, _ = await self._call("GET", "/ready")
        return status == _OK

    async def take_no_more(self) -> None:
        """Closes the listening sockets; what is under way goes on."""
        await self._call("POST", "/drain_listeners")

    async def requests_under_way(self) -> int:
        """Requests that listeners have begun and not finished."""
        _, body = await self._call("GET", r"/stats?format=json&filter=^http\..*\.downstream_rq_active$")
        stats = json.loads(body)["stats"]
        # The admin's own, which includes this one, are none of the listeners'.
        return sum(s["value"] for s in stats if not s["name"].startswith("http.admin."))

    async def _call(self, method: str, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(self._call_blocking, method, path)

    def _call_blocking(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=limits.ENVOY_ADMIN_SECONDS_MAX)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()
