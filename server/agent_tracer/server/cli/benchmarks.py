"""Benchmarks of agents, for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agent_tracer.server.cli import charts, figures, text
from agent_tracer.server.cli.glyphs import glyphs
from agent_tracer.server.cli.tables import Column, print_table

if TYPE_CHECKING:
    from agent_tracer.v1 import ace_pb2


def _created(benchmark: "ace_pb2.Benchmark") -> str:
    return text.local_time(text.moment(benchmark.create_time.seconds, benchmark.create_time.nanos))


def print_benchmark(console: Console, benchmark: "ace_pb2.Benchmark") -> None:
    """The agents, best first, then their success on each task type."""
    title = Text(text.plain(benchmark.agent_id), style="bold magenta")
    title.append(f"  {_place(benchmark)}  {text.plain(benchmark.period)}", style="not bold default")
    console.print(title, soft_wrap=True)
    if benchmark.agents:
        console.print()
        _print_agents(console, benchmark)
        console.print()
        _print_types(console, benchmark)
    charts.print_caveats(console, benchmark.caveats)
    console.print()
    kept = f"kept as {text.plain(benchmark.benchmark_id)}, {_created(benchmark)}"
    console.print(kept, style="dim")


def _place(benchmark: "ace_pb2.Benchmark") -> str:
    if not benchmark.overall_rank:
        return "not ranked"
    return f"rank {benchmark.overall_rank} of {len(benchmark.agents)}"


def _print_agents(console: Console, benchmark: "ace_pb2.Benchmark") -> None:
    marks = glyphs(console)
    held = benchmark.agents
    last = len(held)
    bars = [
        charts.interval_bar(marks, of.overall_rank, (of.rank_lower, of.rank_upper), (1.0, float(max(2, last))))
        for of in held
    ]
    costs = [text.money(of.cost_per_task) if of.HasField("cost_per_task") else text.NOTHING for of in held]
    times = [text.duration(of.duration_per_task) if of.duration_per_task else text.NOTHING for of in held]
    print_table(
        console,
        [
            Column("RANK", [Text(text.count(of.overall_rank), style="bold") for of in held], right=True),
            Column("AGENT", [_agent(of, benchmark) for of in held], cut=True),
            Column("SCORE", [Text(figures.score(of.overall_score)) for of in held], right=True),
            Column("95% RANKS", [Text(_ranks(of)) for of in held], right=True, need=1),
            Column(charts.scale_title("1", str(last)), bars if last > 1 else [], need=5),
            Column("COST/TASK", [Text(cost) for cost in costs], right=True, need=2),
            Column("TIME/TASK", [Text(time) for time in times], right=True, need=3),
            Column("", [Text("dominated" if of.dominated else "", style="yellow") for of in held], need=4),
        ],
    )
    if any(of.dominated for of in held):
        console.print("dominated: another one is at least as good, as cheap and as fast", style="dim")


def _agent(standing: "ace_pb2.AgentBenchmark", benchmark: "ace_pb2.Benchmark") -> Text:
    asked = standing.agent_id == benchmark.agent_id
    return Text(text.plain(standing.agent_id), style="bold magenta" if asked else "magenta")


def _ranks(standing: "ace_pb2.AgentBenchmark") -> str:
    if standing.rank_lower == standing.rank_upper:
        return text.count(standing.rank_lower)
    return figures.span(text.count(standing.rank_lower), text.count(standing.rank_upper))


def _print_types(console: Console, benchmark: "ace_pb2.Benchmark") -> None:
    """A line for each task type and agent, the best of each type first."""
    marks = glyphs(console)
    rows = sorted(
        (
            (name, of.rank, -of.score, agent.agent_id, of)
            for agent in benchmark.agents
            for name, of in agent.scores.items()
        ),
        key=lambda row: row[:4],
    )
    names = [row[0] for row in rows]
    held = [row[4] for row in rows]
    intervals = [(of.interval.lower, of.interval.upper) for of in held]
    firsts = [name if at == 0 or names[at - 1] != name else "" for at, name in enumerate(names)]
    bars = [charts.interval_bar(marks, of.score, i) for of, i in zip(held, intervals, strict=True)]
    told = [Text(figures.span(*map(figures.share, interval))) for interval in intervals]
    counts = [Text(f"{text.count(of.success_count)}/{text.count(of.task_count)}") for of in held]
    print_table(
        console,
        [
            Column("TASK TYPE", [Text(text.plain(name), style="bold") for name in firsts], cut=True),
            Column("RANK", [Text(text.count(of.rank)) for of in held], right=True),
            Column("AGENT", [Text(text.plain(row[3]), style="magenta") for row in rows], cut=True),
            Column("SUCCESS", [Text(figures.share(of.score)) for of in held], right=True),
            Column("95% INTERVAL", told, need=2),
            Column(charts.scale_title(), bars, need=3),
            Column("TASKS", counts, right=True, need=1),
            Column(f"PASS^1 {marks.more}", [Text(" ".join(map(figures.share, of.pass_k))) for of in held], need=4),
        ],
    )


def print_benchmarks(console: Console, benchmarks: "Sequence[ace_pb2.Benchmark]") -> None:
    """One benchmark a line, newest first."""
    agents = [", ".join(of.agent_id for of in each.agents) for each in benchmarks]
    print_table(
        console,
        [
            Column("CREATED", [Text(_created(each)) for each in benchmarks], need=1),
            Column("BENCHMARK", [Text(text.plain(each.benchmark_id), style="bold") for each in benchmarks]),
            Column("AGENT", [Text(text.plain(each.agent_id), style="magenta") for each in benchmarks], cut=True),
            Column("RANK", [Text(_place(each).removeprefix("rank ")) for each in benchmarks]),
            Column("BEST FIRST", [Text(text.plain(names)) for names in agents], cut=True, need=2),
            Column("PERIOD", [Text(text.plain(each.period)) for each in benchmarks], right=True, need=3),
        ],
    )
