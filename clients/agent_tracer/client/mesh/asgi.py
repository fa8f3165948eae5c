"""ASGI middleware: the callee's end of calls that come by HTTP."""

# ruff: noqa: ANN401, ARG002, PLR0913  # settings by name; ASGI's own types are dictionaries of anything

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.context import get_current

from agent_tracer.client.mesh.calls import CANCELLED, Attributes, Call, Mesh, is_cancellation
from agent_tracer.client.mesh.envelope import Envelope, EnvelopeError
from agent_tracer.client.mesh.faults import guarded
from agent_tracer.client.mesh.messages import Capture
from agent_tracer.client.mesh.propagation import picked

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ENVELOPE_BYTES_READ: Final = 1 << 20
"""What is held back of a body to read its envelope; a longer one goes on to the application unread."""
SERVER_ERROR: Final = 500
_GIVEN_UP: Final = 499


@dataclass(slots=True)
class _Seen:
    """What went by of a response: its status, None before it began, and whether its reader went away."""

    status: int | None = None
    is_unread: bool = False


class HttpMiddleware:
    """The callee's end around an application: one server span a request.

    `path`: the end of the paths that are traced, "" for all.
    """

    name: str = "HTTP"
    attributes: Attributes = {}  # noqa: RUF012  # never written to

    def __init__(
        self,
        app: App,
        agent_id: str = "",
        *,
        path: str = "",
        capture_messages: bool = False,
        redact: Callable[[str], str] | None = None,
        tracer_provider: Any = None,
    ) -> None:
        self.app = app
        self._path = path
        self._mesh = Mesh(agent_id, Capture(redact) if capture_messages else None, tracer_provider)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; anything but a POST of HTTP to the path goes through untouched."""
        if scope.get("type") != "http" or scope.get("method") != "POST" or not self._is_mine(scope):
            await self.app(scope, receive, send)
            return
        receive, body = await self._looked_at(receive)
        call = self._begin(scope, body)
        seen = _Seen()

        async def watched(message: MutableMapping[str, Any]) -> None:
            if message.get("type") == "http.response.start":
                seen.status = message.get("status", 0)
            try:
                await send(message)
            except OSError:  # by which ASGI servers say that the client is gone
                seen.is_unread = True
                raise

        try:
            with call:
                await self.app(scope, receive, watched)
        except BaseException as error:
            _end(call, seen, error)
            raise
        _end(call, seen)

    def _is_mine(self, scope: Scope) -> bool:
        return str(scope.get("path", "")).rstrip("/").endswith(self._path)

    async def _looked_at(self, receive: Receive) -> tuple[Receive, bytes]:
        return receive, b""

    @guarded(Call)
    def _begin(self, scope: Scope, body: bytes) -> Call:
        described = {**self.attributes, "http.request.method": "POST", "url.path": str(scope.get("path", ""))}
        sent = picked(scope.get("headers"))
        return self._called(self.name, described, sent, body)

    def _called(self, name: str, attributes: Attributes, headers: Mapping[str, str], body: bytes) -> Call:
        return self._mesh.called(name, attributes, lambda: headers, ambient=get_current())


class A2AMiddleware(HttpMiddleware):
    """The callee's end of A2A over HTTP, JSON-RPC and REST alike: what the SDK's own spans come under."""

    name = "A2A"
    attributes: Attributes = {"rpc.system": "jsonrpc", "rpc.service": "a2a"}  # noqa: RUF012  # as above


class MessageMiddleware(HttpMiddleware):
    """The callee's end of the Agent Mesh's HTTP envelopes, `POST .../messages`.

    Headers come before the envelope's own traceContext. What is no envelope is served all the same.
    """

    def __init__(self, app: App, agent_id: str = "", *, path: str = "/messages", **options: Any) -> None:
        super().__init__(app, agent_id, path=path, **options)

    async def _looked_at(self, receive: Receive) -> tuple[Receive, bytes]:
        held: list[MutableMapping[str, Any]] = []
        body = b""
        while len(body) <= ENVELOPE_BYTES_READ:
            message = await receive()
            held.append(message)
            if message.get("type") != "http.request":
                break
            body += message.get("body") or b""
            if not message.get("more_body"):
                break
        held.reverse()

        async def again() -> MutableMapping[str, Any]:
            return held.pop() if held else await receive()

        return again, body

    def _called(self, name: str, attributes: Attributes, headers: Mapping[str, str], body: bytes) -> Call:
        try:
            envelope = Envelope.parse(body)
        except EnvelopeError:
            return super()._called("message", attributes, headers, body)
        sent = dict(headers) if "traceparent" in headers else {**headers, **envelope.headers()}
        if "baggage" not in sent and envelope.sender_agent:
            sent["baggage"] = envelope.sender_baggage()
        call = self._mesh.called(
            f"receive {envelope.type}", {**attributes, **envelope.attributes()}, lambda: sent, ambient=get_current()
        )
        call.request(envelope.payload)
        return call


def _end(call: Call, seen: _Seen, error: BaseException | None = None) -> None:
    """A failure counts also where the response had begun: its reader has half of it, whatever the status said."""
    told = {} if seen.status is None else {"http.response.status_code": seen.status}
    if seen.is_unread or is_cancellation(error) or seen.status == _GIVEN_UP:
        call.end({**told, CANCELLED: True})
        return
    code = SERVER_ERROR if seen.status is None else seen.status
    failed = error is not None or code >= SERVER_ERROR
    kind = type(error).__qualname__ if error is not None else str(code)
    call.end({"http.response.status_code": code}, kind if failed else "", error)
