"""LangChain's spans and this package's, nested as their work is.

OpenInference's handler of LangChain gives a span the parent that LangChain's runs have, and makes it current nowhere.
So neither would an agent be under the node that it is called in, nor its model calls under the agent.
"""

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.trace import Span, get_current_span, set_span_in_context

from agent_tracer.client.telemetry import state

__all__ = ["nest"]

_logger: Final = logging.getLogger(__name__)

_WITHIN: Final = create_key("agent_tracer_within_langchain_span")
"""In a context of this package's spans: the id of the LangChain span that the innermost of them was begun in."""

_began_in: Final[MutableMapping[Span, int]] = WeakKeyDictionary()
"""LangChain's open spans, and the id of the span that was current when each began; 0 for none."""


def nest(instrumentor: Any) -> None:  # noqa: ANN401 - OpenInference's, of any version
    """Have spans of both kinds begin under the innermost of either. What a version lacks is left as it is."""
    handler: Any = getattr(instrumentor, "_tracer", None)
    tracer = getattr(handler, "_tracer", None)
    if hasattr(tracer, "start_span"):
        handler._tracer = _NestingTracer(tracer)  # noqa: SLF001 - the parent is given to nothing else
    running = getattr(sys.modules.get(type(instrumentor).__module__), "get_current_span", None)
    if callable(running):
        state.place_spans(lambda context: _placed(context, instrumentor, running))


class _NestingTracer:
    """The handler's tracer, whose spans begin in the current context where that is within the parent given."""

    def __init__(self, tracer: Any) -> None:  # noqa: ANN401 - a tracer or OpenInference's proxy of one
        self._tracer = tracer

    def start_span(self, name: str, context: Context | None = None, *arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401
        if context is not None and get_value(_WITHIN) == _id(get_current_span(context)):
            context = None
        span = self._tracer.start_span(name, context, *arguments, **keywords)
        with suppress(TypeError):  # a span that cannot be referred to weakly
            _began_in[span] = _id(get_current_span())
        return span

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the tracer's
        return getattr(self._tracer, name)


def _placed(context: Context, instrumentor: Any, running: Callable[[], Span | None]) -> Context:  # noqa: ANN401
    """The context with LangChain's span, unless another was made current since that began. Never raises."""
    try:
        # Once it is switched off, asking it would print.
        around = running() if instrumentor.is_instrumented_by_opentelemetry else None
        if around is None:
            return context
        if (current := _id(get_current_span(context))) == 0 or _began_in.get(around) == current:
            context = set_span_in_context(around, context)
        return set_value(_WITHIN, _id(around), context)
    except Exception:
        _logger.debug("LangChain's current span is not known", exc_info=True)
        return context


def _id(span: Span) -> int:
    return span.get_span_context().span_id
