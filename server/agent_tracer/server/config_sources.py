"""Where settings come from: a YAML file, the environment, flags. As nested tables, not yet checked."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from agent_tracer.server.config_problems import ConfigError, Problem

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def read_file(path: Path | None, problems: list[Problem]) -> dict[str, Any]:
    """The file's settings, `${NAME}` and `${NAME:-default}` expanded in every text.

    An unset variable without a default is added to the problems. Raises ConfigError where the file is none.
    """
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        wrong = f"cannot be read ({error.strerror})"
        raise ConfigError([Problem(str(path), wrong, "give the path of a file, or none")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), "is no UTF-8 text", "save it as UTF-8")]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(str(path), f"is no YAML{_place(error)}", "mend that line")]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError([Problem(str(path), "holds no sections", "begin with `tracer:`, for example")])
    return _expanded(content, (), problems)


def from_flags(flags: Mapping[str, object]) -> dict[str, Any]:
    """Flags by dotted key as nested tables; those that are None were not given."""
    nested: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            nested = merged(nested, _branch(key.split("."), value))
    return nested


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables' entries; where both have one, the second's, and tables entry by entry."""
    both = dict(under)
    for key, value in over.items():
        below = both.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            both[key] = merged(below, value)
        else:
            both[key] = value
    return both


def without(table: dict[str, Any], path: Sequence[str]) -> None:
    """Takes the entry at the path out of the nested table, where there is one."""
    *sections, last = path
    for section in sections:
        below = table.get(section)
        if not isinstance(below, dict):
            return
        table = below
    table.pop(last, None)


def map_texts(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - whatever YAML or JSON holds
    """The value with every text in it changed; keys stay."""
    match value:
        case str():
            return change(value)
        case dict():
            return {k: map_texts(v, change) for k, v in value.items()}
        case list():
            return [map_texts(v, change) for v in value]
        case _:
            return value


def _branch(path: Sequence[str], value: object) -> dict[str, Any]:
    first, *rest = path
    return {first: _branch(rest, value) if rest else value}


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


def _expanded(table: Mapping[object, Any], path: tuple[str, ...], problems: list[Problem]) -> dict[str, Any]:
    """Every reference replaced; a section with nothing below it is one that was left out."""
    expanded: dict[str, Any] = {}
    for key, value in table.items():
        inner = (*path, str(key))
        dotted = ".".join(inner)
        if isinstance(value, dict):
            expanded[str(key)] = _expanded(value, inner, problems)
        elif value is not None:
            expanded[str(key)] = map_texts(value, partial(_expand, dotted, problems))
    return expanded


def _expand(key: str, problems: list[Problem], text: str) -> str:
    def value_of(reference: re.Match[str]) -> str:
        name, default = reference[1], reference[2]
        value = os.environ.get(name)
        if value is None and default is None:
            write = f"set the environment variable {name}, or write ${{{name}:-default}}"
            problems.append(Problem(key, f"refers to ${{{name}}}, which is not set", write))
            return reference[0]
        # As in a shell, `:-` stands in for an empty variable too.
        return value or default or ""

    return _REFERENCE.sub(value_of, text)
