"""How far series moved, in SQL, so that only those cross into Python that tell something."""

from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets


def moved(buckets: Buckets, positions: str, values: str) -> str:
    """Columns, the last of them `moved`: how far the later window's values leave the earlier ones' range.

    In robust standard deviations, 0 where unknown; as domain.rca.metric_evidence has it, but without the floor that it
    takes from other components.
    """
    before, during = (
        f"arrayFilter((v, p) -> {buckets.is_of(side, 'p')} AND isFinite(v), {values}, {positions})"
        for side in (buckets.before, buckets.during)
    )
    spread = "greatest((q[3] - q[1]) / 1.349, 0.05 * abs(q[2]), 0.01 * arrayMax(v -> abs(v), known_during), 1e-12)"
    return (
        f"{before} AS known_before, {during} AS known_during, "
        "arrayReduce('quantilesExactInclusive(0.25, 0.5, 0.75)', known_before) AS q, "
        f"if(empty(known_before) OR empty(known_during), 0, arrayMax(v -> abs(v - q[2]), known_during) / {spread}) "
        "AS moved"
    )
