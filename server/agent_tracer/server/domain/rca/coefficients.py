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
    "telemetry": (1.185, 0.311),
    "strange": (0.599, 0.186),
    "known": (1.031, 0.365),
}

THRESHOLD: Final = 0.3
"""An answer of less confidence than this is not given."""

WEIGHTS: Final[Mapping[str, float]] = {
    "alarm_all": 0.043,
    "alarm_all.rank": 0.071,
    "alarm_all.share": 1.818,
    "alarm_all_alone": 0.974,
    "alarm_all_alone.rank": 0.755,
    "alarm_all_alone.share": -0.501,
    "alarm_all_rare": -0.469,
    "alarm_all_rare.rank": 0.042,
    "alarm_all_rare.share": 1.387,
    "edge_in": 4.213,
    "edge_in.rank": 1.956,
    "edge_in.share": 2.012,
    "edge_out": 0.25,
    "edge_out.rank": 0.177,
    "edge_out.share": 0.179,
    "log_error": 3.789,
    "log_error.rank": 2.129,
    "log_error.share": 2.125,
    "log_less": 3.993,
    "log_less.rank": 2.272,
    "log_less.share": 2.097,
    "log_more.rank": 0.057,
    "metric_cpu": 2.589,
    "metric_cpu.rank": 0.894,
    "metric_cpu.share": 0.691,
    "metric_memory": 3.0,
    "metric_memory.rank": 1.2,
    "metric_memory.share": 1.2,
    "metric_network": 0.405,
    "metric_network.rank": 0.158,
    "metric_network.share": 0.424,
    "metric_other": 0.402,
    "metric_other.rank": 0.403,
    "metric_other.share": 0.435,
    "metric_traffic.rank": 0.212,
    "none": 0.524,
    "observed": 6.139,
    "own_excess": 2.79,
    "own_excess.rank": 0.864,
    "own_excess.share": 0.964,
    "own_symptom": 3.422,
    "own_symptom.rank": 1.364,
    "own_symptom.share": 1.648,
    "self_time": 2.977,
    "self_time.rank": 1.137,
    "self_time.share": 1.188,
    "symptom": -2.421,
    "unreached": -1.973,
}
