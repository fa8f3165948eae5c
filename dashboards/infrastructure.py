"""Infrastructure: Agent Tracer itself. What comes in, what lies where, what is passed on."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import (
    BYTES,
    ERROR_SHARE,
    GREEN,
    HALF,
    NOT_ONE,
    PER_SECOND,
    QUARTER,
    RED,
    SECONDS,
    SHARE,
    SHORT,
    SIXTH,
    THIRD,
    YELLOW,
    Look,
    big_number,
    grid,
    heat,
    lines,
    log_view,
)
from dashboards.queries import Call, buckets, log_lines, now, over_time, rest_rows, rows
from dashboards.sources import LOKI, PROMETHEUS, TRACES_API
from dashboards.variables import of_metric

HERE: Final = 'instance=~"$instance"'

SUMMARY: Final = (
    big_number(
        "Servers up",
        "Servers that Prometheus reaches.",
        now(f'sum(up{{job="agent-tracer",{HERE}}})'),
        Look(SHORT, SIXTH, ((None, RED), (1, GREEN))),
    ),
    big_number(
        "Taken in",
        "Spans, log records and data points that become durable in a second.",
        now(f"sum(rate(agent_tracer_accepted_total{{{HERE}}}[$__rate_interval]))"),
        Look(PER_SECOND, SIXTH),
    ),
    big_number(
        "Refused",
        "Spans, log records and data points that were refused in the time shown, for whatever reason.",
        now(f"sum(increase(agent_tracer_rejected_total{{{HERE}}}[$__range]))"),
        Look(SHORT, SIXTH, NOT_ONE),
    ),
    big_number(
        "In quarantine",
        "Requests that the store refused since the server started; they are kept, with the reason.",
        now(f"sum(agent_tracer_quarantined_requests_total{{{HERE}}})"),
        Look(SHORT, SIXTH, NOT_ONE),
    ),
    big_number(
        "Journal",
        "How full the journal is. At 1 it refuses what comes in.",
        now(f"max(agent_tracer_journal_bytes{{{HERE}}} / agent_tracer_journal_bytes_max{{{HERE}}})"),
        Look(SHARE, SIXTH, ((None, GREEN), (0.5, YELLOW), (0.8, RED))),
    ),
    big_number(
        "Calls that fail",
        "Share of gRPC and REST calls that end in an error of the server, over five minutes.",
        now("max(agent_tracer:rpc_error_ratio:rate5m)"),
        Look(SHARE, SIXTH, ERROR_SHARE),
    ),
)

INTAKE: Final = (
    lines(
        "Received",
        "Spans, log records and data points that come in, in a second.",
        over_time(f"sum by (signal) (rate(agent_tracer_received_total{{{HERE}}}[$__rate_interval]))", "{{signal}}"),
        Look(PER_SECOND, THIRD, stacked=True),
    ),
    lines(
        "Refused, by reason",
        "Spans, log records and data points that are refused, in a second. The reasons are in the metrics reference.",
        over_time(
            f"sum by (signal, reason) (rate(agent_tracer_rejected_total{{{HERE}}}[$__rate_interval])) > 0",
            "{{signal}} {{reason}}",
        ),
        Look(PER_SECOND, THIRD),
    ),
    lines(
        "Stored",
        "Spans, log records and data points that get into the store, in a second.",
        over_time(f"sum by (signal) (rate(agent_tracer_stored_total{{{HERE}}}[$__rate_interval]))", "{{signal}}"),
        Look(PER_SECOND, THIRD, stacked=True),
    ),
)

JOURNAL: Final = (
    lines(
        "Journal",
        "Disk that the journal holds, and may hold.",
        (
            over_time(f"sum by (instance) (agent_tracer_journal_bytes{{{HERE}}})", "{{instance}} holds", "A"),
            over_time(f"sum by (instance) (agent_tracer_journal_bytes_max{{{HERE}}})", "{{instance}} at most", "B"),
        ),
        Look(BYTES, THIRD),
    ),
    lines(
        "Still to read",
        "What each reader of the journal has before it. The loader's is what the store lacks.",
        over_time(f"sum by (reader) (agent_tracer_journal_lag_bytes{{{HERE}}})", "{{reader}}"),
        Look(BYTES, THIRD),
    ),
    lines(
        "A sync to disk",
        "Time of a sync, on average. Writers wait for it.",
        over_time(
            f"sum by (instance) (rate(agent_tracer_journal_sync_seconds_total{{{HERE}}}[$__rate_interval]))"
            f" / sum by (instance) (rate(agent_tracer_journal_syncs_total{{{HERE}}}[$__rate_interval]))",
            "{{instance}}",
        ),
        Look(SECONDS, THIRD),
    ),
    lines(
        "Commits to the store",
        "The time that 95 % of commits stay under.",
        over_time(
            "histogram_quantile(0.95, sum by (instance, le)"
            f" (rate(agent_tracer_commit_seconds_bucket{{{HERE}}}[$__rate_interval])))",
            "{{instance}}",
        ),
        Look(SECONDS),
    ),
    heat(
        "Times of commits",
        "How many commits take how long.",
        buckets(f"sum by (le) (increase(agent_tracer_commit_seconds_bucket{{{HERE}}}[$__rate_interval]))"),
        Look(SECONDS, HALF),
    ),
)

CALLS: Final = (
    lines(
        "Calls",
        "Calls in a second, by service.",
        over_time(f"sum by (service) (rate(agent_tracer_rpcs_total{{{HERE}}}[$__rate_interval]))", "{{service}}"),
        Look(PER_SECOND, QUARTER, stacked=True),
    ),
    lines(
        "Time of calls",
        "The time that 95 % of calls stay under. Streams are not in it: they last as long as somebody watches.",
        over_time(
            "histogram_quantile(0.95, sum by (service, le) (rate("
            f'agent_tracer_rpc_duration_seconds_bucket{{{HERE},method!~"Watch.*|ExportTraces"}}[$__rate_interval])))',
            "{{service}}",
        ),
        Look(SECONDS, QUARTER),
    ),
    lines(
        "Calls by code",
        "Calls in a second, by the code that they end with.",
        over_time(f"sum by (code) (rate(agent_tracer_rpcs_total{{{HERE}}}[$__rate_interval]))", "{{code}}"),
        Look(PER_SECOND, QUARTER, stacked=True),
    ),
    lines(
        "Counted as other",
        "Calls and tasks whose model or type of agent has no series of its own, since there are too many, in a second.",
        over_time(
            f"sum by (metric) (rate(agent_tracer_label_overflow_total{{{HERE}}}[$__rate_interval]))", "{{metric}}"
        ),
        Look(PER_SECOND, QUARTER),
    ),
)

EXPORTS: Final = (
    lines(
        "Passed on",
        "Spans and log records that backends took, in a second.",
        over_time(
            f"sum by (exporter, signal) (rate(agent_tracer_exporter_sent_total{{{HERE}}}[$__rate_interval]))",
            "{{exporter}} {{signal}}",
        ),
        Look(PER_SECOND, QUARTER),
    ),
    lines(
        "Tried again, or given up",
        "Requests that were sent again, and spans and log records that a backend would not take, in a second.",
        (
            over_time(
                f"sum by (exporter) (rate(agent_tracer_exporter_retries_total{{{HERE}}}[$__rate_interval]))",
                "{{exporter}} again",
                "A",
            ),
            over_time(
                f"sum by (exporter, reason) (rate(agent_tracer_exporter_skipped_total{{{HERE}}}[$__rate_interval]))",
                "{{exporter}} {{reason}}",
                "B",
            ),
        ),
        Look(PER_SECOND, QUARTER),
    ),
    lines(
        "Behind",
        "Age of the oldest request that a backend does not have yet. Past the journal's bound the oldest are lost.",
        over_time(f"max by (exporter) (agent_tracer_exporter_lag_seconds{{{HERE}}})", "{{exporter}}"),
        Look(SECONDS, QUARTER),
    ),
    lines(
        "Backends that answer",
        "1 where a backend took what it was last sent, 0 where it did not.",
        over_time(f"min by (exporter) (agent_tracer_exporter_up{{{HERE}}})", "{{exporter}}"),
        Look(SHORT, QUARTER, largest=1),
    ),
)

TROUBLE: Final = (
    grid(
        "Alerts",
        "Alerts that fire, or are about to.",
        rows('ALERTS{alertname=~"AgentTracer.*"}'),
        Look(width=HALF),
    ),
    grid(
        "Incidents",
        "The newest incidents, from alerts, from the server's own detector, or told by somebody.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/incidents",
                "incidents",
                (
                    ("startTime", "Start", "timestamp"),
                    ("title", "Title", "string"),
                    ("service", "Service", "string"),
                    ("severity", "Severity", "string"),
                    ("status", "Status", "string"),
                    ("source", "From", "string"),
                ),
                (("page_size", "50"),),
            ),
        ),
        Look(width=HALF),
    ),
    log_view(
        "Errors of all services",
        "Lines of logs at error or above that the server passed on.",
        log_lines('{service_name=~".+"} | severity_text=~"(?i)err.*|fatal.*|critical"'),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-infrastructure",
    title="Infrastructure",
    description="Agent Tracer itself: what comes in, what lies where, what is passed on, what is wrong.",
    sources=(PROMETHEUS, LOKI, TRACES_API),
    variables=(of_metric("instance", "Servers", "agent_tracer_journal_bytes"),),
    rows=(
        ("Now", SUMMARY),
        ("Intake", INTAKE),
        ("Journal and store", JOURNAL),
        ("Calls", CALLS),
        ("Exporters", EXPORTS),
        ("Trouble", TROUBLE),
    ),
)
