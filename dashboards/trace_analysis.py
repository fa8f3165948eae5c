"""Trace Analysis: from all traces of a service to one of them, with its path, its log and its failure."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import (
    DOLLARS,
    FULL,
    HALF,
    MILLISECONDS,
    PER_SECOND,
    SHARE,
    SHORT,
    THIRD,
    Look,
    big_number,
    dots,
    grid,
    lines,
    log_view,
    trace_view,
)
from dashboards.queries import (
    RANGE,
    Call,
    jaeger_search,
    jaeger_trace,
    log_counts,
    log_lines,
    now,
    over_time,
    rest_rows,
    rest_series,
)
from dashboards.sources import ATLAS_API, JAEGER, LOKI, PROMETHEUS, TRACES_API
from dashboards.variables import of_rest

OF_SERVICE: Final = (("service", "$service"), *RANGE)
OPEN: Final = (
    "Open this trace",
    "/d/agent-tracer-traces?${__url_time_range}&var-service=$service&var-trace_id=${__value.raw}",
)

SUMMARY: Final = (
    big_number(
        "Spans taken in",
        "Spans that became durable in the time shown, of all services.",
        now('sum(increase(agent_tracer_accepted_total{signal="traces"}[$__range]))'),
        Look(SHORT, THIRD),
    ),
    big_number(
        "Traces",
        "Traces of the service in the time shown.",
        rest_rows(TRACES_API, Call("/api/v1/traces:aggregate", "rows", (("count", "Traces", "number"),), OF_SERVICE)),
        Look(SHORT, THIRD),
    ),
    big_number(
        "Median duration",
        "Half of the service's traces take less.",
        rest_rows(
            TRACES_API, Call("/api/v1/traces:aggregate", "rows", (("durationP50", "p50", "number"),), OF_SERVICE)
        ),
        Look(MILLISECONDS, THIRD),
    ),
)

TRAFFIC: Final = (
    lines(
        "Spans",
        "Spans in a second, of all services: what came in, and what is in the store. The store follows within seconds.",
        (
            over_time('sum(rate(agent_tracer_received_total{signal="traces"}[$__rate_interval]))', "received", "A"),
            over_time('sum(rate(agent_tracer_stored_total{signal="traces"}[$__rate_interval]))', "stored", "B"),
        ),
        Look(PER_SECOND),
    ),
    dots(
        "Traces of the service",
        "Traces that began in each minute, and how many of them failed.",
        rest_series(
            TRACES_API,
            Call(
                "/api/v1/traces:aggregate",
                "rows",
                (
                    ("bucketStart", "Time", "timestamp"),
                    ("count", "Traces", "number"),
                    ("errorCount", "Failed", "number"),
                ),
                (*OF_SERVICE, ("interval", "1m")),
            ),
        ),
        Look(SHORT),
    ),
    grid(
        "Operations",
        "What the service's traces do in the time shown.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/traces:aggregate",
                "rows",
                (
                    ("group.operation", "Operation", "string"),
                    ("group.status", "Status", "string"),
                    ("count", "Count", "number"),
                    ("durationP50", "p50", "number"),
                    ("durationP95", "p95", "number"),
                    ("cost", "Cost", "number"),
                ),
                (("group_by", "operation"), ("group_by", "status"), *OF_SERVICE),
            ),
        ),
        Look(width=HALF, units={"p50": MILLISECONDS, "p95": MILLISECONDS, "Cost": DOLLARS}),
    ),
    grid(
        "Calls between components",
        "Who calls whom, in the last hour: services, agents, models, tools, databases.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/graph",
                "edges",
                (
                    ("source", "Caller", "string"),
                    ("target", "Callee", "string"),
                    ("callCount", "Calls", "number"),
                    ("errorCount", "Failed", "number"),
                    ("durationP95", "p95", "number"),
                ),
                (("period", "1h"),),
            ),
        ),
        Look(width=HALF, units={"p95": MILLISECONDS}),
    ),
)

TRACES: Final = (
    grid(
        "Latest traces",
        "The service's newest traces. The id's link shows the trace below.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/traces",
                "traces",
                (
                    ("otelTraceId", "Trace", "string"),
                    ("agentId", "Agent", "string"),
                    ("operation", "Operation", "string"),
                    ("status", "Status", "string"),
                    ("duration", "Duration", "number"),
                    ("spanCount", "Spans", "number"),
                    ("errorCount", "Errors", "number"),
                    ("cost", "Cost", "number"),
                    ("startTime", "Start", "timestamp"),
                ),
                (("page_size", "50"), *OF_SERVICE),
            ),
        ),
        Look(width=FULL, units={"Duration": MILLISECONDS, "Cost": DOLLARS}, links={"Trace": OPEN}),
    ),
    grid(
        "Latest in Jaeger",
        "The service's newest traces in Jaeger, where the server passes them on to it.",
        jaeger_search("$service"),
        Look(MILLISECONDS, HALF),
    ),
    grid(
        "Failures that are alike",
        "Failed runs of the last week, grouped by where and how they fail.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/failures",
                "groups",
                (
                    ("title", "Failure", "string"),
                    ("traceCount", "Runs", "number"),
                    ("share", "Share", "number"),
                    ("trend", "Trend", "string"),
                    ("lastSeenTime", "Last seen", "timestamp"),
                    ("sampleTraceIds.0", "Trace", "string"),
                ),
                (("period", "7d"),),
            ),
        ),
        Look(width=HALF, units={"Share": SHARE}, links={"Trace": OPEN}),
    ),
)

ONE: Final = (
    trace_view("The trace", "Every span of the chosen trace, from Jaeger.", jaeger_trace("$trace_id")),
    grid(
        "Critical path",
        "The chain of spans that the chosen trace's duration is made of: to be faster, one of these must be.",
        rest_rows(
            ATLAS_API,
            Call(
                "/api/v1/atlas/critical-path/$trace_id",
                "segments",
                (
                    ("name", "Span", "string"),
                    ("service", "Service", "string"),
                    ("agentId", "Agent", "string"),
                    ("duration", "On the path", "number"),
                    ("startTime", "Start", "timestamp"),
                ),
            ),
        ),
        Look(width=FULL, units={"On the path": MILLISECONDS}),
    ),
    log_view(
        "Log of the trace",
        "What any service logged under the chosen trace's id.",
        log_lines('{service_name=~".+"} | trace_id="$trace_id"'),
    ),
    lines(
        "Log lines of the service",
        "Lines that the service logs, by severity.",
        log_counts(
            'sum by (severity_text) (count_over_time({service_name="$service"} [$__auto]))', "{{severity_text}}"
        ),
        Look(SHORT, FULL, stacked=True),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-traces",
    title="Trace Analysis",
    description="From all traces of a service to one of them: its spans, its critical path, its log.",
    sources=(PROMETHEUS, LOKI, JAEGER, TRACES_API, ATLAS_API),
    variables=(
        of_rest(
            "service",
            "Service",
            TRACES_API,
            Call(
                "/api/v1/traces:aggregate",
                "rows",
                (("group.service", "service", "string"),),
                (("group_by", "service"), *RANGE),
            ),
        ),
        of_rest(
            "trace_id",
            "Trace",
            TRACES_API,
            Call(
                "/api/v1/traces",
                "traces",
                (("otelTraceId", "trace_id", "string"),),
                (("page_size", "100"), *OF_SERVICE),
            ),
        ),
    ),
    rows=(("Now", SUMMARY), ("Traffic", TRAFFIC), ("Traces", TRACES), ("One trace", ONE)),
)
