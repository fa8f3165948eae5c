"""What the process continues: TRACEPARENT, TRACESTATE and BAGGAGE of its environment.

Source: OpenTelemetry, "Environment Variables as Context Propagation Carriers".
"""

import os
from collections.abc import Sequence
from typing import Final, cast

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

__all__ = ["ContinuingProvider", "continued"]

_VARIABLES: Final = ("traceparent", "tracestate", "baggage")


def continued() -> Context | None:
    """The context that the environment names; None where it names none."""
    carrier = {name: value for name in _VARIABLES if (value := os.environ.get(name.upper(), ""))}
    if "traceparent" not in carrier:
        return None
    context = TraceContextTextMapPropagator().extract(carrier, Context())
    if not trace.get_current_span(context).get_span_context().is_valid:
        return None
    return W3CBaggagePropagator().extract(carrier, context)


class _ContinuingTracer(Tracer):
    """The SDK's tracer, with a parent for spans that are begun in no span."""

    base: Context

    def start_span(  # noqa: PLR0913, PLR0917 - the API's
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: FBT001, FBT002 - the API's
        set_status_on_exception: bool = True,  # noqa: FBT001, FBT002 - the API's
    ) -> Span:
        """As the API says. A context given by hand is taken as it is: an empty one makes a trace of its own."""
        if context is None and not trace.get_current_span().get_span_context().is_valid:
            context = Context({**self.base, **get_current()})
        # Not super(): OpenInference's proxy of a tracer calls this with itself as `self`.
        return Tracer.start_span(
            self, name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )


class ContinuingProvider(TracerProvider):
    """The SDK's provider, whose tracers continue a context in every thread."""

    base: Context | None = None

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """As the API says."""
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if self.base is not None and type(tracer) is Tracer:
            tracer.__class__ = _ContinuingTracer
            cast("_ContinuingTracer", tracer).base = self.base
        return tracer
