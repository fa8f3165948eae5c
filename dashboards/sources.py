"""Where panels get their data: each data source is a variable, so that a dashboard fits any Grafana.

Agent Tracer itself is asked over REST by the Infinity data source, one for each of its three ports; they are told
apart by name, as `dashboards/provisioning/datasources` names them.
"""

from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models.dashboard import DataSourceRef

INFINITY: Final = "yesoreyeram-infinity-datasource"


@dataclass(frozen=True, slots=True)
class Source:
    """A data source: the variable that names it, its plugin, and what its name must look like (empty: anything)."""

    variable: str
    label: str
    plugin: str
    name_regex: str = ""

    @property
    def ref(self) -> DataSourceRef:
        """What panels and queries refer to it by."""
        return DataSourceRef(type_val=self.plugin, uid=f"${{{self.variable}}}")

    def chooser(self) -> builders.DatasourceVariable:
        """The variable that a dashboard has for it."""
        made = builders.DatasourceVariable(self.variable).label(self.label).type(self.plugin)
        made.description(f"The {self.label} data source of this dashboard.")
        return made.regex(self.name_regex) if self.name_regex else made


PROMETHEUS: Final = Source("prometheus", "Prometheus", "prometheus")
LOKI: Final = Source("loki", "Loki", "loki")
JAEGER: Final = Source("jaeger", "Jaeger", "jaeger")
TRACES_API: Final = Source("traces_api", "Traces API", INFINITY, "/Agent Tracer: traces/")
ACE_API: Final = Source("ace_api", "ACE API", INFINITY, "/Agent Tracer: ACE/")
ATLAS_API: Final = Source("atlas_api", "ATLAS API", INFINITY, "/Agent Tracer: ATLAS/")
