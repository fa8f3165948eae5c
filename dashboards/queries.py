"""Queries of panels: PromQL, LogQL, Jaeger searches, and calls of Agent Tracer's own REST API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import loki as loki_builders
from grafana_foundation_sdk.builders import prometheus as prometheus_builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.loki import LokiQueryType
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.sources import JAEGER, LOKI, PROMETHEUS, Source

Column = tuple[str, str, Literal["string", "number", "timestamp"]]
"""Where a value lies in a row of the answer, the column's heading, its type."""

RANGE: Final = (("start_time", "${__from:date:iso}"), ("end_time", "${__to:date:iso}"))
"""The dashboard's time range, for calls that take one."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and of which data source."""

    source: Source
    asked: Builder[Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A GET of Agent Tracer's REST API, and the rows that are made of its answer.

    `path` is put behind the data source's own URL. `root` is where the list of rows lies in the answer; the answer
    itself is the only row where it is empty.
    """

    path: str
    root: str
    columns: Sequence[Column]
    params: Sequence[tuple[str, str]] = ()

    def fields(self) -> dict[str, Any]:
        """The call in the Infinity data source's words."""
        params = [{"key": key, "value": value} for key, value in self.params]
        return {
            "type": "json",
            "source": "url",
            "parser": "backend",
            "format": "table",
            "url": self.path,
            "url_options": {"method": "GET", "data": "", "params": params},
            "root_selector": self.root,
            "columns": [{"selector": where, "text": text, "type": kind} for where, text, kind in self.columns],
            "filters": [],
        }


class _Plain(Builder[Dataquery]):
    """A query of a data source that the SDK has no model of (Jaeger, Infinity)."""

    def __init__(self, source: Source, fields: Mapping[str, Any]) -> None:
        self._fields = {"datasource": source.ref.to_json(), **fields}

    def build(self) -> Dataquery:
        return UnknownDataquery(self._fields)


def over_time(expr: str, legend: str, ref_id: str = "A") -> Query:
    """A line for each series."""
    return Query(PROMETHEUS, _promql(expr, ref_id).range().legend_format(legend))


def now(expr: str, legend: str = "") -> Query:
    """One value a series, at the end of the dashboard's time."""
    return Query(PROMETHEUS, _promql(expr).instant().legend_format(legend))


def rows(expr: str) -> Query:
    """A row for each series, its labels as columns."""
    return Query(PROMETHEUS, _promql(expr).instant().format(PromQueryFormat.TABLE))


def buckets(expr: str) -> Query:
    """A histogram's buckets (summed by `le`), for a heat map."""
    return Query(PROMETHEUS, _promql(expr).range().format(PromQueryFormat.HEATMAP).legend_format("{{le}}"))


def _promql(expr: str, ref_id: str = "A") -> prometheus_builders.Dataquery:
    return prometheus_builders.Dataquery().datasource(PROMETHEUS.ref).expr(expr).ref_id(ref_id)


def log_lines(expr: str) -> Query:
    """Lines of logs, newest first."""
    return Query(LOKI, _logql(expr).max_lines(500))


def log_counts(expr: str, legend: str) -> Query:
    """Counts of lines over time."""
    return Query(LOKI, _logql(expr).legend_format(legend))


def _logql(expr: str) -> loki_builders.Dataquery:
    made = loki_builders.Dataquery().datasource(LOKI.ref).expr(expr).ref_id("A")
    return made.query_type(LokiQueryType.RANGE.value)


def jaeger_search(service: str) -> Query:
    """The latest traces of a service."""
    return Query(JAEGER, _Plain(JAEGER, {"refId": "A", "queryType": "search", "service": service, "limit": 20}))


def jaeger_trace(trace_id: str) -> Query:
    """One trace, whole."""
    return Query(JAEGER, _Plain(JAEGER, {"refId": "A", "query": trace_id}))


def rest_rows(source: Source, call: Call) -> Query:
    """A row for each element of the answer's list."""
    return Query(source, _Plain(source, {"refId": "A", **call.fields()}))


def rest_series(source: Source, call: Call) -> Query:
    """A line for each number column, over the one column that is a time."""
    return Query(source, _Plain(source, {"refId": "A", **call.fields(), "format": "timeseries"}))


def rest_post(source: Source, call: Call, body: str) -> Query:
    """As rest_rows, for an analysis that is asked for by POST; `body` is JSON. It changes nothing at the server."""
    json = {"body_type": "raw", "body_content_type": "application/json", "data": body}
    posted = {**call.fields()["url_options"], "method": "POST", **json}
    return Query(source, _Plain(source, {"refId": "A", **call.fields(), "url_options": posted}))
