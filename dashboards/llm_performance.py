"""LLM Performance: calls of models, their errors, times, tokens and cost."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import (
    DOLLARS,
    ERROR_SHARE,
    FULL,
    GREEN,
    HALF,
    MILLISECONDS,
    PER_SECOND,
    RED,
    SECONDS,
    SHARE,
    SHORT,
    Look,
    bars,
    big_number,
    grid,
    heat,
    lines,
)
from dashboards.queries import RANGE, Call, buckets, now, over_time, rest_rows
from dashboards.sources import PROMETHEUS, TRACES_API
from dashboards.variables import of_metric

CHOSEN: Final = 'provider=~"$provider",model=~"$model"'
CALLS: Final = f"agent_tracer_llm_requests_total{{{CHOSEN}}}"
FAILED: Final = f'agent_tracer_llm_requests_total{{{CHOSEN},status=~"error|timeout"}}'
COST: Final = f"agent_tracer_llm_cost_dollars{{{CHOSEN}}}"
TOKENS: Final = f"agent_tracer_llm_tokens_total{{{CHOSEN}}}"
STAT: Final = 5

SUMMARY: Final = (
    big_number(
        "Calls",
        "Calls of models in the time shown.",
        now(f"sum(increase({CALLS}[$__range]))"),
        Look(SHORT, STAT),
    ),
    big_number(
        "Failed",
        "Share of those calls that failed.",
        now(f"(sum(increase({FAILED}[$__range])) or vector(0)) / sum(increase({CALLS}[$__range]))"),
        Look(SHARE, STAT, ERROR_SHARE),
    ),
    big_number(
        "Cost",
        "US dollars spent in the time shown, over calls whose model has a known price.",
        # The gauge only rises until the server starts anew: increase() takes the fall then for what it is.
        now(f"sum(increase({COST}[$__range]))"),
        Look(DOLLARS, STAT),
    ),
    big_number(
        "Tokens",
        "Tokens in and out in the time shown.",
        now(f"sum(increase({TOKENS}[$__range]))"),
        Look(SHORT, STAT),
    ),
    big_number(
        "Slowest hundredth",
        "The time that 99 % of calls stay under, worst model, in the time shown. Ten seconds means ten or more.",
        now(f'max(max_over_time(agent_tracer_llm_duration_seconds{{quantile="0.99",{CHOSEN}}}[$__range]))'),
        Look(SECONDS, 4),
    ),
)

CALLING: Final = (
    lines(
        "Calls by model",
        "Calls in a second, by provider and model.",
        over_time(f"sum by (provider, model) (rate({CALLS}[$__rate_interval]))", "{{provider}} {{model}}"),
        Look(PER_SECOND, stacked=True),
    ),
    lines(
        "Failed calls",
        "Share of calls that fail, over five minutes. The alert on it fires above a twentieth.",
        over_time(f"agent_tracer:llm_error_ratio:rate5m{{{CHOSEN}}}", "{{provider}} {{model}}"),
        Look(SHARE, steps=((None, GREEN), (0.05, RED)), largest=1),
    ),
    lines(
        "Calls by status",
        "Calls in a second, by how they end.",
        over_time(f"sum by (status) (rate({CALLS}[$__rate_interval]))", "{{status}}"),
        Look(PER_SECOND, stacked=True),
    ),
    bars(
        "Calls of each model",
        "Calls in the time shown.",
        now(f"sum by (model) (increase({CALLS}[$__range]))", "{{model}}"),
        Look(SHORT),
    ),
)

TIME: Final = (
    lines(
        "Latency",
        "The times that half, 95 % and 99 % of calls stay under, over five minutes.",
        over_time(
            f'agent_tracer_llm_duration_seconds{{quantile=~"0.5|0.95|0.99",{CHOSEN}}}',
            "{{provider}} {{model}} p{{quantile}}",
        ),
        Look(SECONDS),
    ),
    heat(
        "Latencies",
        "How many calls take how long.",
        buckets(f"sum by (le) (increase(agent_tracer_llm_duration_seconds_bucket{{{CHOSEN}}}[$__rate_interval]))"),
        Look(SECONDS, HALF),
    ),
)

MONEY: Final = (
    lines(
        "Cost an hour",
        "US dollars spent in an hour at the pace of the last five minutes.",
        over_time(f"agent_tracer:llm_cost_dollars:per_hour{{{CHOSEN}}}", "{{provider}} {{model}}"),
        Look(DOLLARS, stacked=True),
    ),
    lines(
        "Cost of a call",
        "US dollars a call, on average. A step up is a dearer model, or a longer context.",
        over_time(
            f"sum by (model) (rate({COST}[$__rate_interval])) / sum by (model) (rate({CALLS}[$__rate_interval]))",
            "{{model}}",
        ),
        Look(DOLLARS),
    ),
    lines(
        "Tokens",
        "Tokens in a second, in and out.",
        over_time(f"sum by (direction) (rate({TOKENS}[$__rate_interval]))", "{{direction}}"),
        Look(PER_SECOND, stacked=True),
    ),
    lines(
        "Tokens of a call",
        "Tokens of a call, on average, in and out together.",
        over_time(
            f"sum by (model) (rate({TOKENS}[$__rate_interval])) / sum by (model) (rate({CALLS}[$__rate_interval]))",
            "{{model}}",
        ),
        Look(SHORT),
    ),
)

STORED: Final = (
    grid(
        "Models",
        "What is stored of each model in the time shown; quantiles are of the spans themselves, not of buckets.",
        rest_rows(
            TRACES_API,
            Call(
                "/api/v1/traces:aggregate",
                "rows",
                (
                    ("group.provider", "Provider", "string"),
                    ("group.model", "Model", "string"),
                    ("count", "Calls", "number"),
                    ("errorCount", "Failed", "number"),
                    ("durationP50", "p50", "number"),
                    ("durationP95", "p95", "number"),
                    ("durationP99", "p99", "number"),
                    ("usage.inputTokens", "Tokens in", "number"),
                    ("usage.outputTokens", "Tokens out", "number"),
                    ("cost", "Cost", "number"),
                    ("unpricedCount", "Without price", "number"),
                ),
                (("group_by", "provider"), ("group_by", "model"), *RANGE),
            ),
        ),
        Look(width=FULL, units={"p50": MILLISECONDS, "p95": MILLISECONDS, "p99": MILLISECONDS, "Cost": DOLLARS}),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-llm",
    title="LLM Performance",
    description="Calls of models: how many, how long, what fails, what they cost.",
    sources=(PROMETHEUS, TRACES_API),
    variables=(
        of_metric("provider", "Providers", "agent_tracer_llm_requests_total"),
        of_metric("model", "Models", 'agent_tracer_llm_requests_total{provider=~"$provider"}'),
    ),
    rows=(("Now", SUMMARY), ("Calls", CALLING), ("Time", TIME), ("Cost and tokens", MONEY), ("Stored", STORED)),
)
