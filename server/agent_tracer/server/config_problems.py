"""What is wrong with the settings, in words: by key, with what to write instead. Pure."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

ENV_PREFIX: Final = "AGENT_TRACER__"
ENV_DELIMITER: Final = "__"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: the key (or variable, or file), what is wrong with it, what to write."""

    key: str
    wrong: str
    write: str

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}; {self.write}"


class ConfigError(Exception):
    """The settings cannot be used. The text lists every problem, and no value, for one may be a secret."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.key))
        lines = (f"  {problem}" for problem in self.problems)
        super().__init__("\n".join(["the configuration cannot be used:", *lines]))


@dataclass(frozen=True, slots=True)
class Row:
    """One setting: its dotted key, default, environment variable, meaning, and a value it may have."""

    key: str
    default: str
    env: str
    description: str
    example: str


def rows(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Row]:
    """Every setting of the section, in the order of its fields."""
    for name, field in section.model_fields.items():
        inner = (*path, name)
        below = _section_of(field)
        if below is not None:
            yield from rows(below, inner)
        else:
            default = _default(field)
            dotted = ".".join(inner)
            example = str(field.examples[0]) if field.examples else default
            yield Row(dotted, default, variable_of(dotted), field.description or "", example)


def problem_of(error: ErrorDetails, known: Mapping[str, Row]) -> Problem:
    """A pydantic error as a problem. `known` are the settings by key."""
    key = ".".join(str(part) for part in error["loc"])
    wrong = _WRONG.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    wrong = re.sub(r"^(Input|Value) should be", "must be", wrong)
    if error["type"] == "extra_forbidden":
        near = nearest(key, [*known, *_sections(known)])
        return Problem(key, wrong, f"did you mean {near}?" if near else "take it out")
    if key in known:
        return Problem(key, wrong, f"write for example `{key}: {known[key].example}`")
    return Problem(key, wrong, _what_is_below(key, known))


def unknown_variables(environment: Iterable[str], known: Iterable[str]) -> dict[str, Problem]:
    """Problems of the variables that begin as ours do and name no setting, by their dotted key."""
    keys = list(known)
    found: dict[str, Problem] = {}
    for variable in environment:
        if variable.upper().startswith(ENV_PREFIX):
            key = variable[len(ENV_PREFIX) :].lower().replace(ENV_DELIMITER, ".")
            if not _leads_to_setting(key, keys):
                near = nearest(key, keys)
                write = f"did you mean {variable_of(near)}?" if near else "unset it"
                found[key] = Problem(variable, "names no setting", write)
    return found


def variable_of(key: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key that was most likely meant: same ends, else most alike, else the same last part."""
    keys = list(known)
    first, last = key.split(".", maxsplit=1)[0], key.rsplit(".", maxsplit=1)[-1]
    same_last = [k for k in keys if k.split(".")[-1] == last]
    same_ends = [k for k in same_last if k.split(".")[0] == first]
    return next(iter([*same_ends, *difflib.get_close_matches(key, keys, n=1), *same_last]), None)


_WRONG: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is no setting",
    "int_parsing": "is no whole number",
    "int_type": "is no whole number",
    "int_from_float": "is no whole number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is no text",
    "model_type": "is a section, not a value",
    "model_attributes_type": "is a section, not a value",
    "dict_type": "is a table, not a value",
    "byte_size": "is no number of bytes",
    "byte_size_unit": "has no known unit",
}
"""pydantic's error types in our words; others keep pydantic's message."""


def _what_is_below(key: str, known: Iterable[str]) -> str:
    names = [k.removeprefix(f"{key}.") for k in known if k.startswith(f"{key}.")]
    return f"write one of its keys below it: {', '.join(names)}" if names else "write text"


def _sections(keys: Iterable[str]) -> set[str]:
    return {key[:at] for key in keys for at, char in enumerate(key) if char == "."}


def _leads_to_setting(key: str, known: Iterable[str]) -> bool:
    """Whether it is a setting, a section (given as JSON), or an entry of a setting that is a table."""
    return any(key == k or k.startswith(f"{key}.") or key.startswith(f"{k}.") for k in known)


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that the field is, where it is one (or one or None). A table of sections is a setting."""
    alternatives = get_args(field.annotation) if get_origin(field.annotation) in {Union, UnionType} else ()
    for kind in (field.annotation, *alternatives):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _default(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return str(extra["default"])
    if field.is_required():
        return "(required)"
    if field.default is None:
        return "(none)"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
