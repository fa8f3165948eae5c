"""What was fitted to the alarms of recorded systems in their own words: a file that scripts/train.py writes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

MODEL_FILE: Final = "alarm_model.json"


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Kinds of faults told apart in one system: `intercepts` by kind, `weights` by feature and kind.

    `known`: the usual alarm words of the system, weighed or not.
    """

    intercepts: Mapping[str, float]
    weights: Mapping[str, Mapping[str, float]]
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class AlarmModel:
    """`known`: what is added to the weights where words are known; `taxonomies` by the recording they come from."""

    known: Mapping[str, float]
    taxonomies: Mapping[str, Taxonomy]


@cache
def fitted() -> AlarmModel:
    """As shipped."""
    read = json.loads(files(__package__).joinpath(MODEL_FILE).read_text(encoding="utf-8"))
    taxonomies = {
        name: Taxonomy(each["intercepts"], each["weights"], frozenset(each["known"]))
        for name, each in read["taxonomies"].items()
    }
    return AlarmModel(read["known"], taxonomies)


def to_json(model: AlarmModel) -> str:
    """One feature a line, to be read and compared."""
    parts = [f'{{"known": {_lines(model.known)},\n"taxonomies": {{']
    for at, (name, each) in enumerate(model.taxonomies.items()):
        known = json.dumps(sorted(each.known))
        parts.append(
            f'{"," if at else ""}{json.dumps(name)}: {{"intercepts": {json.dumps(each.intercepts)},\n'
            f'"weights": {_lines(each.weights)},\n"known": {known}}}'
        )
    return "\n".join([*parts, "}}", ""])


def _lines(values: Mapping[str, object]) -> str:
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()) + "}"
