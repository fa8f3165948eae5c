"""Sends messages to other agents by the Agent Mesh's HTTP envelope.

On the standard library, in a thread: an agent that sends a few messages a second needs no HTTP package for that. A send
that is cancelled is no longer waited for; what was sent is sent.
"""

# ruff: noqa: A002, ANN401  # the envelope's own names; payloads are whatever the agents send

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from agent_tracer.client._shared.posting import PostError, post
from agent_tracer.client._shared.shown import wrong_address
from agent_tracer.client.mesh.calls import CANCELLED, Call, Mesh, is_cancellation
from agent_tracer.client.mesh.envelope import Envelope, agent_address, agent_name
from agent_tracer.client.mesh.messages import Capture

SECONDS: Final = 30.0
REPLY_BYTES_MAX: Final = 16 << 20
"""A reply is read into memory. A longer one is an error: half of it is none."""


class MeshError(Exception):
    """A message that was not delivered. `status` is the HTTP status, 0 where no whole answer came."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver answered, and the id of the message that it answers."""

    message_id: str
    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body read as JSON, None for an empty one. Raises ValueError where it is none."""
        return json.loads(self.body) if self.body else None


class MeshClient:
    """Sends messages of one agent to the receivers behind one endpoint.

    `agent` is the sender, by its address `agent://namespace/name` or its name. Raises ValueError for an endpoint that
    is no http or https URL, and EnvelopeError (a ValueError) for an agent that is none.
    """

    def __init__(  # noqa: PLR0913  # settings, by name
        self,
        endpoint: str,
        agent: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = SECONDS,
        capture_messages: bool = False,
        redact: Callable[[str], str] | None = None,
        tracer_provider: Any = None,
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"endpoint {wrong_address(endpoint)!r} is no http or https URL")
        self._url = f"{endpoint.rstrip('/')}/messages"
        self._shown = (
            f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/messages"  # no password
        )
        self._agent = agent_address(agent)
        self._headers = dict(headers or {})
        self._seconds = timeout_seconds
        self._mesh = Mesh(agent_name(self._agent), Capture(redact) if capture_messages else None, tracer_provider)

    async def send(
        self,
        to: str,
        type: str,
        payload: Any = None,
        *,
        correlation_id: str = "",
        message_id: str = "",
    ) -> Reply:
        """Send a message and wait for the receiver's answer.

        Raises MeshError when it was not delivered or not accepted, EnvelopeError when it cannot be sent at all.
        """
        envelope = Envelope(
            sender=self._agent,
            to=agent_address(to),
            type=type,
            payload=payload,
            id=message_id or str(uuid.uuid4()),
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            correlation_id=correlation_id,
        )
        envelope.to_json()  # what cannot be sent is told before a span says that it was
        attributes = {"http.request.method": "POST", "url.full": self._shown, **envelope.attributes()}
        call = self._mesh.calling(f"send {type}", attributes, agent_name(envelope.to))
        call.request(payload)
        try:
            reply = await asyncio.to_thread(self._post, envelope, call)
        except BaseException as error:
            _failed(call, error)
            raise
        call.end({"http.response.status_code": reply.status})
        return reply

    def _post(self, envelope: Envelope, call: Call) -> Reply:
        carried = {key: value for key, value in call.headers.items() if key != "baggage"}
        body = replace(envelope, trace_context=carried).to_json()
        headers = {"Content-Type": "application/json", **self._headers, **call.headers}
        try:
            answer = post(self._url, body, headers, seconds=self._seconds, bytes_max=REPLY_BYTES_MAX)
        except PostError as error:
            raise MeshError(f"{envelope.to} at {self._shown}: {error}", error.status) from error.__cause__
        return Reply(envelope.id, answer.status, answer.body)


def _failed(call: Call, error: BaseException) -> None:
    if is_cancellation(error):
        call.end({CANCELLED: True})
        return
    code = getattr(error, "status", 0)
    kind = "timeout" if isinstance(error.__cause__, TimeoutError) else str(code or type(error).__qualname__)
    call.end({"http.response.status_code": code} if code else {}, kind, error)
