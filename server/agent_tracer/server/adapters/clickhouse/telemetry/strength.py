"""How far series moved, in SQL, so that only those cross into Python that tell something."""

from agent_tracer.server.adapters.clickhouse.telemetry.buckets import Buckets


def moved(buckets: Buckets, position: str, value: str) -> str:
    """Aggregates over a series' values, the last of them `moved`: how far the later ones leave the earlier ones' range.

    In robust standard deviations, 0 where unknown; as domain.rca.metric_evidence has it, but without the floor that it
    takes from other components.
    """
    before, during = (
        f"{buckets.is_of(side, position)} AND isFinite({value})" for side in (buckets.before, buckets.during)
    )
    spread = "greatest((q[3] - q[1]) / 1.349, 0.05 * abs(q[2]), 0.01 * greatest(abs(low), abs(high)), 1e-12)"
    return (
        f"quantilesExactInclusiveIf(0.25, 0.5, 0.75)({value}, {before}) AS q, "
        f"minIf({value}, {during}) AS low, maxIf({value}, {during}) AS high, "
        f"if(countIf({before}) = 0 OR countIf({during}) = 0, 0, greatest(abs(low - q[2]), abs(high - q[2])) / {spread}) "
        "AS moved"
    )
