"""CloudEvents 1.0 of agents: `dev.ossa.agent.started|completed|failed`, `dev.ossa.tool.called`.

Who and where is said by the extensions `ossaagentid`, `ossatraceid`, `ossaspanid` and `ossainteractionid`. Written and
read in structured mode (one JSON object) and binary mode (`ce-` headers, the data as the body).
"""

# ruff: noqa: A002, ANN401  # CloudEvents' own names; data are whatever the agents send

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id

from agent_tracer.client._shared.identity import INTERACTION_ID, current_agent, named

AGENT_STARTED: Final = "dev.ossa.agent.started"
AGENT_COMPLETED: Final = "dev.ossa.agent.completed"
AGENT_FAILED: Final = "dev.ossa.agent.failed"
TOOL_CALLED: Final = "dev.ossa.tool.called"

STRUCTURED: Final = "application/cloudevents+json"
_FIELDS: Final = {
    "type": "type", "source": "source", "id": "id", "time": "time", "subject": "subject",
    "agent_id": "ossaagentid", "trace_id": "ossatraceid", "span_id": "ossaspanid",
    "interaction_id": "ossainteractionid",
}  # fmt: skip
"""The event's fields by the names of their CloudEvents attributes."""
_REQUIRED: Final = ("type", "source", "id")


class EventError(ValueError):
    """What is no CloudEvent; the text names the attribute."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event. `time` is RFC 3339; `data` is anything that JSON has."""

    type: str
    source: str
    id: str
    time: str = ""
    subject: str = ""
    data: Any = None
    agent_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    interaction_id: str = ""

    @classmethod
    def now(
        cls, type: str, *, agent_id: str = "", source: str = "", subject: str = "", data: Any = None
    ) -> "CloudEvent":
        """An event of this moment, in the current span and of the current agent unless another is named."""
        agent = agent_id or current_agent()
        span = trace.get_current_span().get_span_context()
        return cls(
            type=type,
            source=source or f"ossa/{agent or 'agent'}",
            id=str(uuid.uuid4()),
            time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            subject=subject,
            data=data,
            agent_id=agent,
            trace_id=format_trace_id(span.trace_id) if span.is_valid else "",
            span_id=format_span_id(span.span_id) if span.is_valid else "",
            interaction_id=named(INTERACTION_ID),
        )

    def _attributes(self) -> dict[str, str]:
        made = {attribute: getattr(self, field) for field, attribute in _FIELDS.items() if getattr(self, field)}
        for name in _REQUIRED:
            if name not in made:
                raise EventError(f"an event needs its {name}")
        return {"specversion": "1.0", **made}

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON has it. Raises EventError where a required attribute is empty."""
        made: dict[str, Any] = {**self._attributes(), "datacontenttype": "application/json"}
        return made if self.data is None else {**made, "data": self.data}

    def structured(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of structured mode."""
        return {"Content-Type": STRUCTURED}, _json(self.to_dict())

    def binary(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of binary mode (CloudEvents HTTP binding, section 3.1.3.2: values percent-encoded)."""
        headers = {
            f"ce-{name}": quote(value, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~")
            for name, value in self._attributes().items()
        }
        body = b"" if self.data is None else _json(self.data)
        return {"Content-Type": "application/json", **headers}, body

    @classmethod
    def parse(cls, body: bytes | str | Mapping[str, Any], headers: Mapping[str, str] | None = None) -> "CloudEvent":
        """Read an event in either mode. Raises EventError for what is none."""
        low = {key.lower(): value for key, value in (headers or {}).items()}
        if "ce-type" in low:
            read: Mapping[str, Any] = {
                name[3:]: unquote(value) for name, value in low.items() if name.startswith("ce-")
            }
            data = _read(body) if body else None
        else:
            whole = _read(body)
            if not isinstance(whole, Mapping):
                raise EventError("the body is no JSON object, and no header is ce-type")
            read, data = whole, whole.get("data")
        missing = [name for name in _REQUIRED if not isinstance(read.get(name), str)]
        if missing:
            raise EventError(f"an event needs its {missing[0]}")
        values = {
            field: str(read[attribute]) for field, attribute in _FIELDS.items() if read.get(attribute) is not None
        }
        return cls(data=data, **values)


def _json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise EventError("the data is nothing that JSON has") from error


def _read(body: object) -> Any:
    if not isinstance(body, bytes | str):
        return body
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventError("the body is no JSON") from error
