"""Runs the statements of this package."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_tracer.server.adapters.clickhouse.engine import Engine, Row

# Statements are different each time (times stand in them), so what is compiled for one serves it alone, and takes
# longer than it saves: a fifth of the CPU of an analysis.
_SETTINGS: Final = "\nSETTINGS compile_expressions = 0, compile_aggregate_expressions = 0, compile_sort_description = 0"


# Where both sides of nearly every condition are arithmetic, leaving one out costs more than computing it.
_EAGER: Final = ", short_circuit_function_evaluation = 'disable'"


async def read(
    engine: Engine, statement: str, parameters: Mapping[str, Any], *, is_arithmetic: bool = False
) -> Sequence[Row]:
    """The rows of a SELECT that has no SETTINGS of its own. Raises what Engine.rows raises.

    `is_arithmetic`: its conditions spare no costly text functions, so that both their sides may be computed.
    """
    return await engine.rows(statement + _SETTINGS + (_EAGER if is_arithmetic else ""), parameters)
