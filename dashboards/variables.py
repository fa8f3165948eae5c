"""Variables of dashboards: what can be chosen at the top."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from dashboards.queries import Call
from dashboards.sources import LOKI, PROMETHEUS, Source

_ALL: Final = VariableOption(text="All", value="$__all", selected=True)
_LOKI_LABEL_VALUES: Final = 1
"""Loki's variable query of this type lists a label's values."""


def of_metric(name: str, label: str, metric: str) -> builders.QueryVariable:
    """The values of a metric's label that is called as the variable is; several at once, or all."""
    query = builders.QueryVariable(name).datasource(PROMETHEUS.ref).query(f"label_values({metric}, {name})")
    return _listed(_several(query, label, ".*"), label)


def of_logs(name: str, label: str, log_label: str) -> builders.QueryVariable:
    """The values of a label of the logs; several at once, or all."""
    query: dict[str, object] = {
        "refId": "LokiVariableQueryEditor-VariableQuery",
        "type": _LOKI_LABEL_VALUES,
        "label": log_label,
        "stream": "",
    }
    # Loki wants one matcher that cannot match the empty value.
    return _listed(_several(builders.QueryVariable(name).datasource(LOKI.ref).query(query), label, ".+"), label)


def of_rest(name: str, label: str, source: Source, call: Call) -> builders.QueryVariable:
    """One value at a time, out of an answer of Agent Tracer that has one column; the first is chosen."""
    asked = {"refId": "variable", **call.fields()}
    query: dict[str, object] = {"query": "", "queryType": "infinity", "infinityQuery": asked}
    return _listed(builders.QueryVariable(name).datasource(source.ref).query(query), label, sort=False)


def choice(name: str, label: str, values: Sequence[str], chosen: str) -> builders.CustomVariable:
    """One of a few fixed values."""
    made = builders.CustomVariable(name).label(label).description(f"{label}.").values(",".join(values))
    options = [VariableOption(text=value, value=value, selected=value == chosen) for value in values]
    return made.options(options).current(VariableOption(text=chosen, value=chosen, selected=True))


def _several(made: builders.QueryVariable, label: str, all_value: str) -> builders.QueryVariable:
    return made.label(label).multi(multi=True).include_all(include_all=True).all_value(all_value).current(_ALL)


def _listed(made: builders.QueryVariable, label: str, *, sort: bool = True) -> builders.QueryVariable:
    order = VariableSort.ALPHABETICAL_ASC if sort else VariableSort.DISABLED
    refresh = VariableRefresh.ON_TIME_RANGE_CHANGED
    return made.label(label).description(f"{label} to look at.").refresh(refresh).sort(order)
