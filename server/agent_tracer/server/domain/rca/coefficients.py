"""Fitted by scripts/train.py, not by hand.

17 incidents of nezha.
16 incidents of petshop.
42 incidents of petshop (quiet).
160 incidents of gaia.
248 incidents of sockshop.
122 incidents of hotel.
"""

from collections.abc import Mapping
from typing import Final

CALIBRATIONS: Final[Mapping[str, tuple[float, float]]] = {
    "telemetry": (1.375, -0.007),
    "strange": (0.598, 0.187),
    "known": (1.031, 0.364),
}

THRESHOLD: Final = 0.3
"""An answer of less confidence than this is not given."""

WEIGHTS: Final[Mapping[str, float]] = {
    "alarm_all": 0.042,
    "alarm_all.rank": 0.071,
    "alarm_all.share": 1.822,
    "alarm_all_alone": 0.974,
    "alarm_all_alone.rank": 0.756,
    "alarm_all_alone.share": -0.501,
    "alarm_all_rare": -0.468,
    "alarm_all_rare.rank": 0.041,
    "alarm_all_rare.share": 1.385,
    "edge_in": 4.473,
    "edge_in.rank": 2.136,
    "edge_in.share": 2.17,
    "log_error": 3.588,
    "log_error.rank": 1.935,
    "log_error.share": 1.922,
    "log_less": 3.958,
    "log_less.rank": 2.006,
    "log_less.share": 2.086,
    "log_more.rank": 0.137,
    "metric_cpu": 2.67,
    "metric_cpu.rank": 0.945,
    "metric_cpu.share": 0.788,
    "metric_memory": 3.0,
    "metric_memory.rank": 1.2,
    "metric_memory.share": 1.2,
    "metric_network": 0.529,
    "metric_network.rank": 0.179,
    "metric_network.share": 0.577,
    "metric_other": 0.437,
    "metric_other.rank": 0.495,
    "metric_other.share": 0.476,
    "metric_traffic.rank": 0.205,
    "none": 0.524,
    "observed": 6.112,
    "own_excess": 2.805,
    "own_excess.rank": 0.875,
    "own_excess.share": 0.976,
    "own_symptom": 3.412,
    "own_symptom.rank": 1.356,
    "own_symptom.share": 1.638,
    "self_time": 3.093,
    "self_time.rank": 1.25,
    "self_time.share": 1.312,
    "symptom": -2.402,
    "unreached": -1.985,
}
