"""One open span of an agent, task, tool or workflow: begins, becomes current, tells how it ended."""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Span, Status, StatusCode

from agent_tracer.client.telemetry import contents, identity, state

__all__ = ["Kind", "Scope"]

_logger: Final = logging.getLogger(__name__)

CANCELLED: Final = "agent_tracer.cancelled"
"""True on a span whose work was cancelled from outside: no error of the agent, so its status stays unset."""

_CANCELLATIONS: Final = (asyncio.CancelledError, KeyboardInterrupt)
_NO_ERRORS: Final = (GeneratorExit, SystemExit)
"""The caller wants no more, or the process ends: neither says anything about the work."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells one kind of span from another."""

    operation: str
    """gen_ai.operation.name."""
    openinference: str
    """openinference.span.kind, for Phoenix and its like."""
    name_attribute: str
    input_attribute: str = "input.value"
    output_attribute: str = "output.value"


class Scope:
    """A span that is being worked in. No method of it raises into the agent's code.

    What it lacks, it has from OpenTelemetry's span (`span`): set_attributes, add_event, get_span_context.
    """

    __slots__ = ("_capture", "_context", "_kind", "_token", "span")

    def __init__(self, kind: Kind, name: str, attributes: Mapping[str, Any], *, task: bool, capture: bool) -> None:
        self._kind = kind
        self._capture = capture
        self._token: Token[Context] | None = None
        try:
            context = identity.carry(attributes, state.starting_context())
            values = {**identity.carried(context), **attributes}
            self.span: Span = state.tracer().start_span(name, context, attributes=values)
            self._context = trace.set_span_in_context(self.span, context)
        except Exception:
            _logger.debug("no span for %s", name, exc_info=True)
            self.span, self._context = trace.INVALID_SPAN, get_current()
        if task and "task.id" not in attributes:
            # A span with a task id is a task; the span's own id is one that no other run has.
            self.span.set_attribute("task.id", trace.format_span_id(self.span.get_span_context().span_id))

    def enter(self) -> "Scope":
        """Make the span the current one. Entered and left once for each step of a generator."""
        self._token = attach(self._context)
        return self

    def leave(self) -> None:
        """Undo `enter`."""
        if self._token is not None:
            detach(self._token)
            self._token = None

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, with what ended the work."""
        if error is not None:
            self._tell(error)
        self.span.end()

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        return trace.format_span_id(self.span.get_span_context().span_id)

    @property
    def captures_content(self) -> bool:
        """Whether an input or output would be kept: asked before making a text of it."""
        return self._capture and self.span.is_recording()

    def set_attribute(self, name: str, value: Any) -> None:  # noqa: ANN401 - as OpenTelemetry's
        """Set an attribute; one of a kind that spans cannot hold is written as JSON."""
        plain = isinstance(value, str | bool | int | float) or (
            isinstance(value, list | tuple) and all(isinstance(item, str | bool | int | float) for item in value)
        )
        self.span.set_attribute(name, value if plain else contents.text(value))

    def set_input(self, value: object) -> None:
        """Say what went in, if contents are kept."""
        if self.captures_content:
            self.span.set_attribute(self._kind.input_attribute, contents.text(value))

    def set_output(self, value: object) -> None:
        """Say what came out, if contents are kept."""
        if self.captures_content:
            self.span.set_attribute(self._kind.output_attribute, contents.text(value))

    def fail(self, reason: BaseException | str, error_type: str | None = None) -> None:
        """Mark the work as failed although nothing is raised. `error_type` is a class of few distinct values."""
        if isinstance(reason, BaseException):
            self._tell(reason)
        else:
            self.span.set_attribute("error.type", error_type or "failed")
            self.span.set_status(Status(StatusCode.ERROR, reason))

    def _tell(self, error: BaseException) -> None:
        if isinstance(error, _NO_ERRORS) or not self.span.is_recording():
            return
        if isinstance(error, _CANCELLATIONS):
            self.span.set_attribute(CANCELLED, value=True)
            self.span.add_event("cancelled")
            return
        name = type(error)
        module = name.__module__
        full = name.__qualname__ if module == "builtins" else f"{module}.{name.__qualname__}"
        self.span.set_attribute("error.type", full)
        try:
            self.span.record_exception(error)
            self.span.set_status(Status(StatusCode.ERROR, f"{name.__name__}: {error}"))
        except Exception:  # noqa: BLE001 - an exception whose str() raises
            self.span.set_status(Status(StatusCode.ERROR, full))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a method of the span
        """OpenTelemetry's span."""
        if name in Scope.__slots__:  # of a copy that was never begun
            raise AttributeError(name)
        return getattr(self.span, name)
