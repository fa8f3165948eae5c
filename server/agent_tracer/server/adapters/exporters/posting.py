"""One POST to a backend, with everything that the OTLP and the Thrift exporter share."""

import asyncio
import gzip
import ssl
from typing import TYPE_CHECKING, Final

from agent_tracer.server.adapters.exporters.answers import raise_for_content, raise_for_status
from agent_tracer.server.adapters.exporters.connection import Connection, untrusted
from agent_tracer.server.limits import EXPORT_ANSWER_BYTES_MAX, EXPORT_KEEPALIVE_SECONDS
from agent_tracer.server.ports.export import BackendDownError, BackendGoneError

if TYPE_CHECKING:
    import httpx

_GZIP_LEVEL: Final = 1
"""A third of the default level's time for a tenth more bytes."""


class Poster:
    """Keeps a connection open. TLS files are read at the start, so that what is wrong with them is told there."""

    def __init__(self, connection: Connection) -> None:
        """Raises TlsFilesError."""
        self._connection = connection
        self._tls = connection.tls.context() if connection.destination.secure else None
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: bytes, content_type: str, *, may_compress: bool = True) -> tuple[bytes, str]:
        """The answer's body, cut to a bound, and its content type. Raises as ExportTarget.send does."""
        import httpx  # noqa: PLC0415 - start-up time

        headers = {"content-type": content_type}
        if may_compress and self._connection.gzip:
            body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL, mtime=0)
            headers["content-encoding"] = "gzip"
        key, seconds = self._connection.key, self._connection.timeout_seconds
        try:
            async with (
                asyncio.timeout(seconds),  # httpx's own is for each read, and a slow sender gives one byte a read
                self._opened().stream("POST", url, content=body, headers=headers) as response,
            ):
                answer, status = await _bounded(response), response.status_code
                kind = response.headers.get("content-type", "")
                raise_for_content(key, status, kind, answer, secure=self._tls is not None)
                raise_for_status(key, status, response.headers.get("retry-after"))
                return answer, kind
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise BackendGoneError(_unreachable(key, error)) from None
        except (TimeoutError, httpx.TimeoutException):
            raise BackendDownError(f"the backend of {key} does not answer within {seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:
            raise BackendDownError(f"the backend of {key} gives no answer ({type(error).__name__})") from None

    async def aclose(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _opened(self) -> "httpx.AsyncClient":
        import httpx  # noqa: PLC0415 - start-up time

        if self._client is None:
            seconds = self._connection.timeout_seconds
            self._client = httpx.AsyncClient(
                headers=self._connection.all_headers,
                timeout=httpx.Timeout(seconds, connect=seconds / 2),  # so that "nobody there" is told from "slow"
                limits=httpx.Limits(keepalive_expiry=EXPORT_KEEPALIVE_SECONDS),
                verify=self._tls if self._tls is not None else True,
            )
        return self._client


def _unreachable(key: str, error: BaseException) -> str:
    """Why there is no connection, without the address: it may hold a secret."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return untrusted(key, cause.verify_message)
        cause = cause.__cause__ or cause.__context__
    return f"the backend of {key} cannot be reached ({type(error).__name__})"


async def _bounded(response: "httpx.Response") -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > EXPORT_ANSWER_BYTES_MAX:
            break
    return bytes(body[:EXPORT_ANSWER_BYTES_MAX])
