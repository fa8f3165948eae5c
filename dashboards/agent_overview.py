"""Agent Overview: what the agents do, how often it fails, how long it takes."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import (
    DOLLARS,
    ERROR_SHARE,
    FULL,
    HALF,
    PER_SECOND,
    QUARTER,
    SECONDS,
    SHARE,
    SHORT,
    Look,
    bars,
    big_number,
    grid,
    heat,
    lines,
    log_view,
)
from dashboards.queries import Call, buckets, log_lines, now, over_time, rest_rows
from dashboards.sources import LOKI, PROMETHEUS, TRACES_API
from dashboards.variables import of_logs, of_metric

TASKS: Final = 'agent_tracer_agent_tasks_total{agent_type=~"$agent_type"}'
FAILED: Final = 'agent_tracer_agent_tasks_total{agent_type=~"$agent_type",status=~"error|timeout"}'

SUMMARY: Final = (
    big_number(
        "Tasks",
        "Tasks that ended in the time shown.",
        now(f"sum(increase({TASKS}[$__range]))"),
        Look(SHORT, QUARTER),
    ),
    big_number(
        "Failed",
        "Share of those tasks that ended with another status than success.",
        now(f"(sum(increase({FAILED}[$__range])) or vector(0)) / sum(increase({TASKS}[$__range]))"),
        Look(SHARE, QUARTER, ERROR_SHARE),
    ),
    big_number(
        "Slowest twentieth",
        "The time that 95 % of tasks stay under, over all agent types, in the last five minutes with tasks.",
        now(
            'max(max_over_time(agent_tracer_agent_duration_seconds{quantile="0.95",agent_type=~"$agent_type"}[$__range]))'
        ),
        Look(SECONDS, QUARTER),
    ),
    big_number(
        "Agent types",
        "Types of agents that tasks are known of. More than the server tells apart are counted together as `other`.",
        now(f"count(count by (agent_type) ({TASKS}))"),
        Look(SHORT, QUARTER),
    ),
)

WORK: Final = (
    lines(
        "Tasks by agent type",
        "Tasks that end in a second.",
        over_time(f"sum by (agent_type) (rate({TASKS}[$__rate_interval]))", "{{agent_type}}"),
        Look(PER_SECOND, stacked=True),
    ),
    lines(
        "Tasks by status",
        "Tasks that end in a second, by how they end.",
        over_time(f"sum by (status) (rate({TASKS}[$__rate_interval]))", "{{status}}"),
        Look(PER_SECOND, stacked=True),
    ),
    lines(
        "Failed tasks",
        "Share of tasks that fail, over five minutes. The alert on it fires above a quarter.",
        over_time('agent_tracer:agent_failure_ratio:rate5m{agent_type=~"$agent_type"}', "{{agent_type}}"),
        Look(SHARE, steps=((None, "green"), (0.25, "red")), largest=1),
    ),
    bars(
        "Tasks of each type",
        "Tasks that ended in the time shown.",
        now(f"sum by (agent_type) (increase({TASKS}[$__range]))", "{{agent_type}}"),
        Look(SHORT),
    ),
)

TIME: Final = (
    lines(
        "Duration of tasks",
        "The times that half, 95 % and 99 % of tasks stay under, over five minutes.",
        over_time(
            'agent_tracer_agent_duration_seconds{quantile=~"0.5|0.95|0.99",agent_type=~"$agent_type"}',
            "{{agent_type}} p{{quantile}}",
        ),
        Look(SECONDS),
    ),
    heat(
        "Durations",
        "How many tasks take how long. Two bands often are two kinds of tasks.",
        buckets(
            "sum by (le) (increase("
            'agent_tracer_agent_duration_seconds_bucket{agent_type=~"$agent_type"}[$__rate_interval]))'
        ),
        Look(SECONDS, HALF),
    ),
)

AGENTS: Final = (
    grid(
        "Agents",
        "Every agent that is stored, by id: its type, its version, its traces and what they cost.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/agents",
                "agents",
                (
                    ("agentId", "Agent", "string"),
                    ("agentType", "Type", "string"),
                    ("version", "Version", "string"),
                    ("traceCount", "Traces", "number"),
                    ("errorCount", "Failed", "number"),
                    ("cost", "Cost", "number"),
                    ("lastSeenTime", "Last seen", "timestamp"),
                ),
                (("page_size", "200"),),
            ),
        ),
        Look(
            width=FULL,
            units={"Cost": DOLLARS},
            links={"Agent": ("What it learns", "/d/agent-tracer-atlas?var-agent=${__value.raw}")},
        ),
    ),
    log_view(
        "Warnings and errors",
        "What the chosen services logged at warning or above.",
        log_lines('{service_name=~"$service"} | severity_text=~"(?i)warn.*|err.*|fatal.*|critical"'),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-agents",
    title="Agent Overview",
    description="What the agents do, how often it fails, how long it takes.",
    sources=(PROMETHEUS, LOKI, TRACES_API),
    variables=(
        of_metric("agent_type", "Agent types", "agent_tracer_agent_tasks_total"),
        of_logs("service", "Services that log", "service_name"),
    ),
    rows=(("Now", SUMMARY), ("Work", WORK), ("Time", TIME), ("Agents", AGENTS)),
)
