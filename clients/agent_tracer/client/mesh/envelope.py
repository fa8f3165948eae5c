"""The Agent Mesh's HTTP envelope: what goes to `POST {endpoint}/messages`.

    {"version": "1.0", "id": ..., "timestamp": ..., "from": "agent://ns/name", "to": "agent://ns/name", "type": ...,
     "payload": ..., "correlationId": ..., "traceContext": {"traceparent": ..., "tracestate": ...}}

Tolerant in: names in snake_case, and whatever may be missing. Strict out: every field, and agents by their addresses.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

VERSION: Final = "1.0"
NAMESPACE: Final = "default"
"""Of an agent that is named without one."""
_ADDRESS: Final = re.compile(r"agent://(?P<namespace>[^/\s]+)/(?P<name>[^\s]+)")


class EnvelopeError(ValueError):
    """A body that is no envelope, or a field that none may have; the text names it."""


def agent_address(agent: str) -> str:
    """`agent://namespace/name` of an agent, of its address or of its bare name.

    Raises EnvelopeError for what is neither.
    """
    if _ADDRESS.fullmatch(agent):
        return agent
    if not agent or "://" in agent or "/" in agent or any(c.isspace() for c in agent):
        raise EnvelopeError(f"{agent!r} is no agent: write agent://namespace/name, or its name")
    return f"agent://{NAMESPACE}/{agent}"


def agent_name(address: str) -> str:
    """The name in an agent's address, which is its id elsewhere; of anything else the text itself."""
    match = _ADDRESS.fullmatch(address)
    return match["name"] if match else address


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message between two agents. `timestamp` is RFC 3339; `payload` is anything that JSON has."""

    sender: str
    to: str
    type: str
    payload: Any = None
    id: str = ""
    timestamp: str = ""
    correlation_id: str = ""
    trace_context: Mapping[str, str] = field(default_factory=dict)
    version: str = VERSION

    @classmethod
    def parse(cls, body: bytes | str | Mapping[str, Any]) -> "Envelope":
        """Read an envelope. Raises EnvelopeError for what is no JSON object or has no type."""
        if isinstance(body, Mapping):
            read: Any = body
        else:
            try:
                read = json.loads(body)
            except (ValueError, RecursionError) as error:
                raise EnvelopeError("the body is no JSON") from error
        if not isinstance(read, Mapping) or not isinstance(read.get("type"), str):
            raise EnvelopeError("the body is no JSON object with a type")
        trace = read.get("traceContext", read.get("trace_context"))
        return cls(
            sender=_text(read, "from"),
            to=_text(read, "to"),
            type=read["type"],
            payload=read.get("payload"),
            id=_text(read, "id"),
            timestamp=_text(read, "timestamp"),
            correlation_id=_text(read, "correlationId") or _text(read, "correlation_id"),
            trace_context={str(k): v for k, v in trace.items() if isinstance(v, str)}
            if isinstance(trace, Mapping)
            else {},
            version=_text(read, "version") or VERSION,
        )

    def to_dict(self) -> dict[str, Any]:
        """The envelope as JSON has it. Raises EnvelopeError for agents that are none, or a field left empty."""
        for name, value in (("id", self.id), ("timestamp", self.timestamp), ("type", self.type)):
            if not value:
                raise EnvelopeError(f"an envelope needs its {name}")
        return {
            "version": self.version,
            "id": self.id,
            "timestamp": self.timestamp,
            "from": agent_address(self.sender),
            "to": agent_address(self.to),
            "type": self.type,
            "payload": self.payload,
            "correlationId": self.correlation_id or self.id,
            "traceContext": {"traceparent": "", "tracestate": "", **self.trace_context},
        }

    def to_json(self) -> bytes:
        """The body to send. Raises EnvelopeError as `to_dict`, and for a payload that JSON has not."""
        try:
            return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            if isinstance(error, EnvelopeError):
                raise
            raise EnvelopeError("the payload is nothing that JSON has") from error

    @property
    def sender_agent(self) -> str:
        """The id of the agent that sent it."""
        return agent_name(self.sender)

    def sender_baggage(self) -> str:
        """The sender as a baggage header, for a message that came without one."""
        return f"gen_ai.agent.id={quote(self.sender_agent, safe='')}"

    def headers(self) -> dict[str, str]:
        """The propagation headers that the envelope carries itself."""
        return {key: value for key, value in self.trace_context.items() if value}

    def attributes(self) -> dict[str, Any]:
        """What a span says of it: everything but the payload."""
        named = {
            "messaging.system": "agent_mesh",
            "messaging.message.id": self.id,
            "messaging.message.conversation_id": self.correlation_id,
            "messaging.destination.name": self.to,
            "agent_mesh.from": self.sender,
            "agent_mesh.type": self.type,
        }
        return {key: value for key, value in named.items() if value}


def _text(read: Mapping[str, Any], key: str) -> str:
    value = read.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)
