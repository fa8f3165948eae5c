"""ATLAS Analytics: whether an agent learns, and where a workflow loses its time."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import (
    DOLLARS,
    FULL,
    HALF,
    MILLISECONDS,
    QUARTER,
    SHARE,
    SHORT,
    TEXT,
    Look,
    big_number,
    dots,
    grid,
)
from dashboards.queries import Call, Column, Query, rest_post, rest_rows, rest_series
from dashboards.sources import ATLAS_API, TRACES_API
from dashboards.variables import choice, of_rest

ANALYTICS: Final = "/api/v1/atlas/analytics/$agent"
PERIOD: Final = (("period", "$period"),)


def learning(root: str, *columns: Column) -> Query:
    """Rows of the agent's learning analysis."""
    return rest_rows(ATLAS_API, Call(ANALYTICS, root, columns, PERIOD))


def curve(*columns: Column) -> Query:
    """Lines over the days of the agent's learning curve."""
    return rest_series(ATLAS_API, Call(ANALYTICS, "curve", (("bucketStart", "Time", "timestamp"), *columns), PERIOD))


def optimization(root: str, *columns: Column) -> Query:
    """Rows of the workflow's analysis."""
    body = '{"workflowId": "$workflow", "period": "$period"}'
    return rest_post(ATLAS_API, Call("/api/v1/atlas/optimize", root, columns), body)


SUMMARY: Final = (
    big_number(
        "Verdict",
        "improving, stable, regressing, or insufficient_data where the tasks are too few to tell.",
        learning("", ("verdict", "Verdict", "string")),
        Look(TEXT, QUARTER, column="Verdict"),
    ),
    big_number(
        "Faster by",
        "Change of the mean task duration from the first to the last part of the period; above 0 is faster.",
        learning("", ("improvementRate", "Faster by", "number")),
        Look(SHARE, QUARTER, ((None, "red"), (-0.05, "yellow"), (0.05, "green"))),
    ),
    big_number(
        "Busy",
        "Share of the period in which at least one task of the agent ran.",
        learning("resourceUtilization", ("busyShare", "Busy", "number")),
        Look(SHARE, QUARTER),
    ),
    big_number(
        "Success now",
        "Share of tasks that succeed in the last part of the period.",
        learning("tasks.current", ("successRate", "Success", "number")),
        Look(SHARE, QUARTER, ((None, "red"), (0.8, "yellow"), (0.95, "green"))),
    ),
)

LEARNING: Final = (
    dots(
        "Duration of tasks",
        "Mean duration of the agent's tasks, along the period.",
        curve(("avgDuration", "Mean duration", "number")),
        Look(MILLISECONDS),
    ),
    dots(
        "Success",
        "Share of tasks that succeed, with its 95 % interval: where the bounds are far apart, tasks were few.",
        curve(
            ("successRate", "Success", "number"),
            ("successLower", "at least", "number"),
            ("successUpper", "at most", "number"),
        ),
        Look(SHARE, largest=1),
    ),
    dots("Tasks", "Tasks that the points rest on.", curve(("taskCount", "Tasks", "number")), Look(SHORT)),
    dots(
        "Cost of a task",
        "Mean cost of a task in US dollars, over calls whose model has a known price.",
        curve(("avgCost", "Mean cost", "number")),
        Look(DOLLARS),
    ),
)

CHANGES: Final = (
    grid(
        "First and last part",
        "The two parts of the period that are compared.",
        learning(
            "tasks",
            ("initial.taskCount", "Tasks first", "number"),
            ("current.taskCount", "Tasks last", "number"),
            ("initial.avgDuration", "Duration first", "number"),
            ("current.avgDuration", "Duration last", "number"),
            ("initial.successRate", "Success first", "number"),
            ("current.successRate", "Success last", "number"),
        ),
        Look(
            width=FULL,
            units={
                "Duration first": MILLISECONDS,
                "Duration last": MILLISECONDS,
                "Success first": SHARE,
                "Success last": SHARE,
            },
        ),
    ),
    grid(
        "Turning points",
        "When a measure changed for good, and what else changed then.",
        learning(
            "changePoints",
            ("time", "Time", "timestamp"),
            ("measure", "Measure", "string"),
            ("before", "Before", "number"),
            ("after", "After", "number"),
            ("pValue", "p", "number"),
            ("coincidentChanges", "With it", "string"),
        ),
        Look(width=HALF),
    ),
    grid(
        "What it uses",
        "Calls, tokens and cost of the agent in the period.",
        learning(
            "resourceUtilization",
            ("llmCalls", "LLM calls", "number"),
            ("toolCalls", "Tool calls", "number"),
            ("inputTokens", "Tokens in", "number"),
            ("outputTokens", "Tokens out", "number"),
            ("cost", "Cost", "number"),
            ("peakConcurrency", "At once", "number"),
        ),
        Look(width=HALF, units={"Cost": DOLLARS}),
    ),
)

WORKFLOW: Final = (
    grid(
        "Where the workflow's time goes",
        "Stages on the critical path of the workflow's runs, the longest first.",
        optimization(
            "bottlenecks",
            ("stage", "Stage", "string"),
            ("avgDuration", "Mean duration", "number"),
            ("criticalShare", "Of the path", "number"),
            ("queueShare", "Waiting", "number"),
            ("errorRate", "Failed", "number"),
            ("recommendation", "What to do", "string"),
        ),
        Look(
            width=FULL,
            units={"Mean duration": MILLISECONDS, "Of the path": SHARE, "Waiting": SHARE, "Failed": SHARE},
        ),
    ),
    grid(
        "What to change",
        "Changes, replayed over the recorded runs: what each would save, with its 95 % interval.",
        optimization(
            "suggestions",
            ("change", "Change", "string"),
            ("stage", "Stage", "string"),
            ("text", "In words", "string"),
            ("estimatedImprovement", "Saves", "number"),
            ("lower", "at least", "number"),
            ("upper", "at most", "number"),
        ),
        Look(width=FULL, units={"Saves": SHARE, "at least": SHARE, "at most": SHARE}),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-atlas",
    title="ATLAS Analytics",
    description="Whether an agent learns, what it uses, and where a workflow loses its time.",
    sources=(TRACES_API, ATLAS_API),
    variables=(
        choice("period", "Period", ("7d", "30d", "90d"), "30d"),
        of_rest(
            "agent",
            "Agent",
            TRACES_API,
            Call("/api/v1/agents", "agents", (("agentId", "agent", "string"),), (("page_size", "1000"),)),
        ),
        of_rest(
            "workflow",
            "Workflow",
            TRACES_API,
            Call(
                "/api/v1/traces:aggregate",
                "rows",
                (("group.workflow_id", "workflow", "string"),),
                (("group_by", "workflow_id"), *PERIOD),
            ),
        ),
    ),
    rows=(("Agent", SUMMARY), ("Learning", LEARNING), ("Changes and use", CHANGES), ("Workflow", WORKFLOW)),
    since="now-30d",
)
