"""Kinds of panels, each with what all of its kind share: legend, reduction, thresholds, sizes.

Every panel has a title, a description (what it shows, and what to make of it), a unit, and one data source. The grid
is 24 wide; heights and widths are in its cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, dashboard, gauge, heatmap, logs, stat, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Panel, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from dashboards.queries import Query

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
SHORT, SHARE, SECONDS, MILLISECONDS = "short", "percentunit", "s", "ms"
DOLLARS, BYTES, PER_SECOND, TEXT = "currencyUSD", "bytes", "cps", "string"

FULL, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
STAT_HEIGHT, CHART_HEIGHT, TABLE_HEIGHT, TRACE_HEIGHT = 4, 8, 9, 16

Steps = Sequence[tuple[float | None, str]]
"""Colours of values, each from its bound up; the first has no bound."""

CALM: Final[Steps] = ((None, BLUE),)
ERROR_SHARE: Final[Steps] = ((None, GREEN), (0.01, YELLOW), (0.05, RED))
NOT_ONE: Final[Steps] = ((None, GREEN), (1, RED))
SCORE: Final[Steps] = ((None, RED), (0.5, ORANGE), (0.7, YELLOW), (0.85, GREEN))

AnyPanel = Builder[Panel]


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel shows its values.

    `largest` ends the axis; `column` picks a column where the answer is a row; `units` and `links` are by column of
    a table, a link being its title and address.
    """

    unit: str = SHORT
    width: int = HALF
    steps: Steps = CALM
    stacked: bool = False
    largest: float | None = None
    column: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def big_number(title: str, description: str, query: Query, look: Look) -> AnyPanel:
    """The last value, large."""
    made: stat.Panel = _begun(stat.Panel(), title, description, query)
    made.unit(look.unit).thresholds(_thresholds(look.steps)).height(STAT_HEIGHT).span(look.width).no_value("-")
    made.graph_mode(common.BigValueGraphMode.NONE).color_mode(common.BigValueColorMode.VALUE)
    return made.reduce_options(_last(look.column))


def lines(title: str, description: str, query: Query | Sequence[Query], look: Look) -> AnyPanel:
    """Lines over time from 0 up; the look's steps, where it has several, are bounds that are drawn."""
    made = _chart(title, description, query, look)
    made.line_width(1).fill_opacity(40 if look.stacked else 8).show_points(common.VisibilityMode.NEVER)
    if look.stacked:
        made.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    return made


def dots(title: str, description: str, query: Query | Sequence[Query], look: Look) -> AnyPanel:
    """Few values far apart: lines with a point at each."""
    made = _chart(title, description, query, look)
    return made.line_width(1).point_size(6).show_points(common.VisibilityMode.ALWAYS).span_nulls(span_nulls=True)


def heat(title: str, description: str, query: Query, look: Look) -> AnyPanel:
    """A histogram over time."""
    made: heatmap.Panel = _begun(heatmap.Panel(), title, description, query)
    made.unit(look.unit).height(CHART_HEIGHT).span(look.width).calculate(calculate=False).show_tooltip()
    made.y_axis(heatmap.YAxisConfig().unit(look.unit))
    made.scale_distribution(common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LINEAR))
    return made.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges"))


def bars(title: str, description: str, query: Query, look: Look) -> AnyPanel:
    """A bar for each series, by its last value."""
    made: bargauge.Panel = _begun(bargauge.Panel(), title, description, query)
    made.unit(look.unit).min(0).thresholds(_thresholds(look.steps)).height(CHART_HEIGHT).span(look.width)
    made.orientation(common.VizOrientation.HORIZONTAL).display_mode(common.BarGaugeDisplayMode.BASIC)
    if look.largest is not None:
        made.max(look.largest)
    return made.reduce_options(_last())


def dial(title: str, description: str, query: Query, look: Look) -> AnyPanel:
    """A value between 0 and 1 on a dial, one for each series."""
    made: gauge.Panel = _begun(gauge.Panel(), title, description, query)
    made.unit(look.unit).min(0).max(1).thresholds(_thresholds(look.steps)).height(CHART_HEIGHT).span(look.width)
    return made.reduce_options(_last())


def grid(title: str, description: str, query: Query, look: Look) -> AnyPanel:
    """A table."""
    made: table.Panel = _begun(table.Panel(), title, description, query)
    made.unit(look.unit).height(TABLE_HEIGHT).span(look.width).show_header(show_header=True).no_value("-")
    for column, unit in look.units.items():
        made.override_by_name(column, [DynamicConfigValue(id_val="unit", value=unit)])
    for column, (text, url) in look.links.items():
        made.override_by_name(column, [DynamicConfigValue(id_val="links", value=[{"title": text, "url": url}])])
    return made


def log_view(title: str, description: str, query: Query) -> AnyPanel:
    """Lines of logs."""
    made: logs.Panel = _begun(logs.Panel(), title, description, query)
    made.unit(TEXT).height(TABLE_HEIGHT).span(FULL).show_time(show_time=True).wrap_log_message(wrap_log_message=True)
    return made.enable_log_details(enable_log_details=True).sort_order(common.LogsSortOrder.DESCENDING)


def trace_view(title: str, description: str, query: Query) -> AnyPanel:
    """The spans of one trace as a waterfall."""
    made: dashboard.Panel = _begun(dashboard.Panel().type("traces"), title, description, query)
    return made.unit(MILLISECONDS).height(TRACE_HEIGHT).span(FULL)


def _begun(made: Any, title: str, description: str, query: Query | Sequence[Query]) -> Any:  # noqa: ANN401
    """What all panels have; the SDK's builders share these methods, not a class that has them."""
    queries = [query] if isinstance(query, Query) else list(query)
    made.title(title).description(description).datasource(queries[0].source.ref)
    return made.targets([each.asked for each in queries])


def _chart(title: str, description: str, query: Query | Sequence[Query], look: Look) -> timeseries.Panel:
    made: timeseries.Panel = _begun(timeseries.Panel(), title, description, query)
    made.unit(look.unit).min(0).height(CHART_HEIGHT).span(look.width).legend(_legend()).tooltip(_tooltip())
    if look.largest is not None:
        made.max(look.largest)
    if len(look.steps) > 1:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        made.thresholds(_thresholds(look.steps)).thresholds_style(style)
    return made


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _last(column: str = "") -> common_builders.ReduceDataOptions:
    made = common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False)
    # Without a column those of numbers are taken; a named one may be a text.
    return made.fields(f"/^{column}$/") if column else made


def _legend() -> common_builders.VizLegendOptions:
    made = common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE)
    return made.placement(common.LegendPlacement.BOTTOM).show_legend(show_legend=True).calcs(["lastNotNull", "max"])


def _tooltip() -> common_builders.VizTooltipOptions:
    return common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
