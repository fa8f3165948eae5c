"""A dashboard out of its rows: stable ids, one look, links between the six."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardCursorSync, DashboardLinkType, RowPanel

from dashboards.panels import AnyPanel
from dashboards.sources import Source

_TAG = "agent-tracer"


@dataclass(frozen=True, slots=True)
class Board:
    """What one dashboard is made of. `rows` are a heading and its panels each."""

    uid: str
    title: str
    description: str
    sources: Sequence[Source]
    variables: Sequence[Builder[Any]]
    rows: Sequence[tuple[str, Sequence[AnyPanel]]]
    since: str = "now-6h"

    def build(self) -> Dashboard:
        """The dashboard as Grafana loads it. Panels are numbered as they stand."""
        made = builders.Dashboard(self.title).uid(self.uid).description(self.description).tags([_TAG]).editable()
        made.time(self.since, "now").timezone("browser").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR)
        made.link(_others()).variables([*(source.chooser() for source in self.sources), *self.variables])
        for heading, panels in self.rows:
            made.with_row(builders.Row(heading))
            for panel in panels:
                made.with_panel(panel)
        board = made.build()
        for number, panel in enumerate(_panels(board), start=1):
            panel.id_val = number
        return board


def _panels(board: Dashboard) -> Iterator[Any]:
    for panel in board.panels or []:
        yield panel
        if isinstance(panel, RowPanel):
            yield from panel.panels


def _others() -> builders.DashboardLink:
    made = builders.DashboardLink("Agent Tracer").type(DashboardLinkType.DASHBOARDS).tags([_TAG])
    return made.as_dropdown(as_dropdown=True).keep_time(keep_time=True)
