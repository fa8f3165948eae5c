"""What instrument() left for the decorators: which tracer, whether contents are kept, what the process continues."""

import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import Tracer, TracerProvider

__all__ = [
    "SCOPE", "Active", "activate", "active", "captures_content", "deactivate", "place_spans", "starting_context",
    "tracer",
]  # fmt: skip

SCOPE: Final = "agent_tracer.client"
"""The instrumentation scope of this package's spans."""

_HIDING: Final = ("OPENINFERENCE_HIDE_INPUTS", "OPENINFERENCE_HIDE_OUTPUTS")
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_NO_CONTENT: Final = frozenset({"false", "0", "no", "off", "no_content"})


@dataclass(frozen=True, slots=True)
class Active:
    """A running set-up."""

    tracer: Tracer
    capture_content: bool
    base: Context | None
    """The context that TRACEPARENT names, for spans begun without a parent."""


class _State:
    active: Active | None = None
    fallback: Tracer | None = None
    place: Callable[[Context], Context] | None = None


def version() -> str:
    """This package's version; empty where it is not installed."""
    try:
        return importlib.metadata.version("agent-tracer")
    except importlib.metadata.PackageNotFoundError:
        return ""


def activate(provider: TracerProvider, base: Context | None, *, capture_content: bool) -> Active:
    """Make the decorators write to a provider."""
    _State.active = Active(provider.get_tracer(SCOPE, version()), capture_content, base)
    return _State.active


def deactivate(ended: Active | None) -> None:
    """Forget a set-up, if it is the current one."""
    if ended is not None and _State.active is ended:
        _State.active = None


def active() -> Active | None:
    """The running set-up."""
    return _State.active


def tracer() -> Tracer:
    """The tracer of the running set-up; without one that of whatever global provider there is or will be."""
    running = _State.active
    if running is not None:
        return running.tracer
    if _State.fallback is None:
        _State.fallback = trace.get_tracer(SCOPE, version())
    return _State.fallback


def captures_content() -> bool:
    """Whether inputs and outputs are written to spans."""
    return content_allowed(wanted=True) if _State.active is None else _State.active.capture_content


def content_allowed(*, wanted: bool) -> bool:
    """Whether contents are kept: the caller wants it and no standard variable forbids it."""
    if os.environ.get(_CAPTURE, "").strip().lower() in _NO_CONTENT:
        return False
    return wanted and not any(os.environ.get(name, "").strip().lower() == "true" for name in _HIDING)


def place_spans(place: Callable[[Context], Context]) -> None:
    """Have a framework that does not make its spans current put them into the contexts that spans are begun in."""
    _State.place = place


def starting_context() -> Context:
    """The current context; where it has no span, what TRACEPARENT names is under it."""
    current = get_current() if _State.place is None else _State.place(get_current())
    running = _State.active
    if running is None or running.base is None or trace.get_current_span(current).get_span_context().is_valid:
        return current
    return Context({**running.base, **current})
