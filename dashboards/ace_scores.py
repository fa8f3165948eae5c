"""ACE Scores: how well agents perform, as they were last scored and before."""

from typing import Final

from dashboards.board import Board
from dashboards.panels import FULL, HALF, QUARTER, SCORE, SHARE, SHORT, Look, bars, big_number, dial, dots, grid, lines
from dashboards.queries import Call, now, over_time, rest_rows, rest_series
from dashboards.sources import ACE_API, PROMETHEUS
from dashboards.variables import of_metric, of_rest

SCORES: Final = 'agent_tracer_ace_score{agent_id=~"$agent_id"}'
OVERALL: Final = 'agent_tracer_ace_score{agent_id=~"$agent_id",dimension="overall"}'

SUMMARY: Final = (
    big_number(
        "Scored agents",
        "Agents that were scored since the server started.",
        now(f"count(count by (agent_id) ({SCORES}))"),
        Look(SHORT, QUARTER),
    ),
    big_number(
        "Mean score",
        "Mean of the agents' last overall scores, 0 to 1.",
        now(f"avg({OVERALL})"),
        Look(SHARE, QUARTER, SCORE),
    ),
    big_number(
        "Lowest score",
        "The last overall score of the worst agent.",
        now(f"min({OVERALL})"),
        Look(SHARE, QUARTER, SCORE),
    ),
    big_number(
        "Largest fall",
        "How far the overall score of any agent has come down from its highest in the time shown.",
        now(f"max(max_over_time({OVERALL}[$__range]) - {OVERALL})"),
        Look(SHARE, QUARTER, ((None, "green"), (0.05, "yellow"), (0.1, "red"))),
    ),
)

NOW: Final = (
    dial("Overall", "Each agent's last overall score.", now(OVERALL, "{{agent_id}}"), Look(SHARE, HALF, SCORE)),
    bars(
        "Dimensions",
        "The last scores of each dimension, mean over the agents. A dimension without evidence has none.",
        now(f"avg by (dimension) ({SCORES})", "{{dimension}}"),
        Look(SHARE, HALF, SCORE, largest=1),
    ),
)

HISTORY: Final = (
    lines(
        "Overall over time",
        "As Prometheus saw it. A step is a new scoring.",
        over_time(OVERALL, "{{agent_id}}"),
        Look(SHARE, largest=1),
    ),
    lines(
        "Dimensions over time",
        "Each agent's scores by dimension.",
        over_time('agent_tracer_ace_score{agent_id=~"$agent_id",dimension!="overall"}', "{{agent_id}} {{dimension}}"),
        Look(SHARE, largest=1),
    ),
    dots(
        "Kept scores",
        "Every score that is kept of the agent chosen as the one with history, whoever asked for it.",
        rest_series(
            ACE_API,
            Call(
                "/api/v1/ace/scores",
                "scores",
                (
                    ("createTime", "Time", "timestamp"),
                    ("overall", "Overall", "number"),
                    ("quality", "Quality", "number"),
                    ("efficiency", "Efficiency", "number"),
                    ("reliability", "Reliability", "number"),
                ),
                (("agent_id", "$agent"), ("page_size", "1000")),
            ),
        ),
        Look(SHARE, largest=1),
    ),
    grid(
        "How sure",
        "The same scores, newest first, with the 95 % interval of the overall one and the tasks that it rests on.",
        rest_rows(
            ACE_API,
            Call(
                "/api/v1/ace/scores",
                "scores",
                (
                    ("createTime", "Time", "timestamp"),
                    ("overall", "Overall", "number"),
                    ("intervals.overall.lower", "From", "number"),
                    ("intervals.overall.upper", "To", "number"),
                    ("sampleSize", "Tasks", "number"),
                    ("period", "Period", "string"),
                ),
                (("agent_id", "$agent"), ("page_size", "200")),
            ),
        ),
        Look(width=HALF, units={"Overall": SHARE, "From": SHARE, "To": SHARE}),
    ),
    grid(
        "Benchmarks",
        "The newest benchmarks, and the rank of the agent that each was asked for.",
        rest_rows(
            ACE_API,
            Call(
                "/api/v1/ace/benchmarks",
                "benchmarks",
                (
                    ("createTime", "Time", "timestamp"),
                    ("benchmarkId", "Benchmark", "string"),
                    ("agentId", "Agent", "string"),
                    ("overallRank", "Rank", "number"),
                    ("period", "Period", "string"),
                ),
                (("page_size", "50"),),
            ),
        ),
        Look(width=FULL),
    ),
)

BOARD: Final = Board(
    uid="agent-tracer-ace",
    title="ACE Scores",
    description="How well agents perform: overall, by dimension, over time, and how sure that is.",
    sources=(PROMETHEUS, ACE_API),
    variables=(
        of_metric("agent_id", "Agents", "agent_tracer_ace_score"),
        of_rest(
            "agent",
            "Agent with history",
            ACE_API,
            Call("/api/v1/ace/scores", "scores", (("agentId", "agent", "string"),), (("page_size", "1000"),)),
        ),
    ),
    rows=(("Now", SUMMARY), ("Scores", NOW), ("History", HISTORY)),
    since="now-7d",
)
