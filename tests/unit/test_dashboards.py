"""The dashboards: what is checked in is what the code makes, is of Grafana's schema, and hangs together."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import sources
from dashboards.generate import BOARDS, FOLDER, differing

ROOT: Final = Path(__file__).resolve().parents[2]
GRID_COLUMNS: Final = 24
SDK_HAS_NO: Final = {"traces"}
"""Panels that the SDK has no model of."""
BUILT_IN: Final = re.compile(r"^(__.*)$")
VARIABLE: Final = re.compile(r"\$(?:\{(\w+)(?::[\w:]+)?\}|(\w+))")
METRIC: Final = re.compile(r"\b(?:agent_tracer[\w:]+|up|ALERTS)\b")
UNITS: Final = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("__")}
FILES: Final = [f"{name}.json" for name in BOARDS]

register_default_plugins()


def checked_in(name: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / name).read_text()))


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def texts(value: object) -> Iterator[str]:
    """Every text anywhere below."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(texts, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(texts, value))


def used_variables(value: object) -> set[str]:
    names = {a or b for text in texts(value) for a, b in VARIABLE.findall(text)}
    return {name for name in names if not BUILT_IN.match(name)}


def test_there_are_six_and_they_are_what_the_code_makes() -> None:
    titles = sorted(checked_in(name)["title"] for name in FILES)
    assert titles == [
        "ACE Scores", "ATLAS Analytics", "Agent Overview", "Infrastructure", "LLM Performance", "Trace Analysis",
    ]  # fmt: skip
    assert differing() == [], "run make gen"


def test_a_changed_file_a_missing_and_a_strange_one_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FILES[1:]:
        (tmp_path / name).write_text((FOLDER / name).read_text())
    (tmp_path / FILES[1]).write_text((FOLDER / FILES[1]).read_text().replace("Agent Tracer", "Another"))
    (tmp_path / "nobody.json").write_text("{}")
    monkeypatch.setattr("dashboards.generate.FOLDER", tmp_path)
    assert differing() == sorted([FILES[0], FILES[1], "nobody.json"])


@pytest.mark.parametrize("name", FILES)
def test_grafanas_schema_knows_everything_in_it(name: str) -> None:
    """What the SDK's models do not know is lost when they read it, and so would differ when written again."""
    raw = checked_in(name)
    again = json.loads(json.dumps(Dashboard.from_json(raw), cls=JSONEncoder))
    assert again == raw


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_panel_is_one_that_grafana_has(name: str) -> None:
    kinds = {panel["type"] for panel in panels(checked_in(name))}
    assert {kind for kind in kinds - SDK_HAS_NO if panelcfg_config(kind) is None} == set()


@pytest.mark.parametrize("name", FILES)
def test_ids_are_unique_and_nothing_lies_over_anything(name: str) -> None:
    board = checked_in(name)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= GRID_COLUMNS
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies over {taken.get(cell)}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize("name", FILES)
def test_every_panel_says_what_it_shows_of_what_and_in_which_unit(name: str) -> None:
    for panel in panels(checked_in(name)):
        title = panel["title"]
        assert len(panel["description"]) > 20, title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert panel["targets"], title
        assert panel["datasource"]["uid"].startswith("${"), title
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {panel["datasource"]["uid"]}, title
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs), title


@pytest.mark.parametrize("name", FILES)
def test_every_variable_is_used_and_every_used_one_is_there(name: str) -> None:
    board = checked_in(name)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    used = used_variables(board["panels"]) | used_variables(list(variables.values()))
    links = "".join(texts(board["panels"]))
    assert variables.keys() - used == set(), "not used"
    assert used - variables.keys() == set(), f"not there, in {links[:200]}"


@pytest.mark.parametrize("name", FILES)
def test_a_variable_only_needs_those_before_it(name: str) -> None:
    before: set[str] = set()
    for variable in checked_in(name)["templating"]["list"]:
        assert used_variables({key: variable.get(key) for key in ("query", "datasource")}) <= before, variable["name"]
        before.add(variable["name"])


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_dashboards_and_variables_that_exist(name: str) -> None:
    boards = {board["uid"]: board for board in map(checked_in, FILES)}
    for text in texts(checked_in(name)):
        for uid, query in re.findall(r"^/d/([\w-]+)\?(.*)", text):
            there = {variable["name"] for variable in boards[uid]["templating"]["list"]}
            assert set(re.findall(r"var-(\w+)=", query)) <= there


@pytest.mark.parametrize("name", FILES)
def test_what_is_set_for_a_column_is_set_for_one_that_is_there(name: str) -> None:
    for panel in panels(checked_in(name)):
        columns = {column["text"] for target in panel["targets"] for column in target.get("columns", [])}
        special = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
        assert special <= columns, panel["title"]


def test_uids_are_stable_for_people_keep_links_to_them() -> None:
    assert {board["title"]: board["uid"] for board in map(checked_in, FILES)} == {
        "Agent Overview": "agent-tracer-agents",
        "LLM Performance": "agent-tracer-llm",
        "Trace Analysis": "agent-tracer-traces",
        "ACE Scores": "agent-tracer-ace",
        "ATLAS Analytics": "agent-tracer-atlas",
        "Infrastructure": "agent-tracer-infrastructure",
    }


def test_every_metric_is_in_the_reference_or_is_recorded() -> None:
    reference = (ROOT / "docs/reference/metrics.md").read_text()
    known = set(re.findall(r"^\| `(\w+)`", reference, re.MULTILINE)) | {"up", "ALERTS"}
    known |= {f"{name}_bucket" for name in known}
    rules = yaml.safe_load((ROOT / "config/prometheus/rules.yml").read_text())
    known |= {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    asked = [
        target.get("expr", "") for name in FILES for panel in panels(checked_in(name)) for target in panel["targets"]
    ]
    assert {metric for expr in asked for metric in METRIC.findall(expr)} - known == set()


def test_provisioning_has_a_data_source_for_every_variable() -> None:
    folder = ROOT / "dashboards/provisioning"
    there = yaml.safe_load((folder / "datasources/agent-tracer.yaml").read_text())["datasources"]
    wanted = [source for source in vars(sources).values() if isinstance(source, sources.Source)]
    assert len(wanted) == 6
    for source in wanted:
        found = [
            each
            for each in there
            if each["type"] == source.plugin and re.search(source.name_regex.strip("/"), each["name"])
        ]
        assert len(found) == 1, f"{source.label}: {[each['name'] for each in found]}"
    uids = [each["uid"] for each in there]
    assert len(set(uids)) == len(uids)
    referred = re.findall(r"datasourceUid: ([\w-]+)", (folder / "datasources/agent-tracer.yaml").read_text())
    assert set(referred) <= set(uids)
