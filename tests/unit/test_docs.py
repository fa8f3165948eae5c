"""The documents against what they speak of: links, files, tests, settings, and lines to copy."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml
from google.api import annotations_pb2, http_pb2
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from typer.main import get_command

from agent_tracer.server.adapters.envoy.bootstrap import descriptor_set
from agent_tracer.server.cli import root
from agent_tracer.server.config import describe, load_settings
from agent_tracer.v1 import correlation_pb2, trace_pb2
from scripts.reference import PAGES

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
MADE: Final = "Made by scripts/reference.py"
BODIES: Final = {
    "/api/v1/correlations": correlation_pb2.FindCorrelationsRequest,
    "/api/v1/rca": correlation_pb2.AnalyzeRootCauseRequest,
    "/api/v1/traces": trace_pb2.CreateTraceRequest,
    "/api/v1/traces/{trace_id}/evaluations": trace_pb2.Evaluation,
}

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE: Final = re.compile(r"`((?:server|clients|scripts|tests|docs|proto|gen|envoy|config)/[\w./-]+)`")
_TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (name_of(path), text) for path in DOCS for kind, text in _FENCE.findall(path.read_text()) if kind == language
    ]


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """As the common hosts make them of headings."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(path)):
        target, _, anchor = link.partition("#")
        if urlsplit(link).scheme:
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_every_document_is_found_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in seen or path.suffix != ".md":
            continue
        seen.add(path)
        targets = (link.partition("#")[0] for link in _LINK.findall(prose(path)) if not urlsplit(link).scheme)
        ahead += [(path.parent / target).resolve() for target in targets if target]
    assert [name_of(path) for path in DOCS if path not in seen] == []


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    assert [name for name in _FILE.findall(prose(path)) if not (ROOT / name).exists()] == []


def test_every_promise_names_tests_that_exist() -> None:
    promises = (ROOT / "docs/promises.md").read_text()
    named = _TEST.findall(promises)
    assert len(named) > 20
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not re.search(rf"^\s*(async )?def {test.rpartition('::')[2]}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
    kept = re.split(r"^### ", promises.partition("## Not built yet")[0], flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in kept if "`tests/" not in part] == []


def test_the_reference_is_all_made_and_nothing_else_is_there() -> None:
    pages = sorted((ROOT / "docs/reference").iterdir())
    assert [page.name for page in pages] == sorted(PAGES)
    assert [page.name for page in pages if MADE not in page.read_text()] == []


def test_decisions_are_numbered_without_gaps_and_have_their_parts() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]}: ")
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE)[:2] == ["Context", "Decision"]
        assert "## Consequences" in text


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    for place, text in blocks("console"):
        for line in text.splitlines():
            if line:
                yield f"{place}: {line}", shlex.split(line)


ENVIRONMENTS = {words[3] for _, words in shell_lines() if words[:3] == ["python3", "-m", "venv"]}


def test_there_are_lines_to_copy_for_the_start_and_the_tests() -> None:
    lines = [words for place, words in shell_lines() if place.startswith("README.md")]
    assert ["make", "run"] in lines
    assert ["make", "test"] in lines


@pytest.mark.parametrize(("place", "words"), [pytest.param(p, w, id=p) for p, w in shell_lines()])
def test_every_line_to_copy_is_one_that_works(place: str, words: list[str]) -> None:
    checks = {
        "make": check_make,
        "agent-tracer": check_command,
        "curl": check_curl,
        "pip": check_pip,
        "python3": check_python,
        ".": check_activation,
        "alias": check_alias,
    }
    known = {"export", "grpcurl"}
    assert words[0] in checks or words[0] in known, place
    if words[0] in checks:
        checks[words[0]](words[1:])


def check_python(words: list[str]) -> None:
    assert words[:2] == ["-m", "venv"]


def check_activation(words: list[str]) -> None:
    (script,) = words
    assert any(made in script.removesuffix("/bin/activate") for made in ENVIRONMENTS), script


def check_alias(words: list[str]) -> None:
    name, _, program = words[0].partition("=")
    assert program == f"$PWD/.venv/bin/{name}"
    assert name in re.findall(r"^([\w-]+) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [word for word in words if "=" not in word and word not in targets] == []


def runs_by_itself(group: Any, words: list[str]) -> bool:
    """Whether a group is meant, and not one of its commands."""
    return group.invoke_without_command and (not words or words[0].startswith("-"))


def check_command(words: list[str]) -> None:
    command: Any = get_command(root.build())
    while getattr(command, "commands", None) and not runs_by_itself(command, words):
        command = command.commands[words.pop(0)]
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    if not options:  # loaded when it is called
        return
    left = iter(words)
    for word in left:
        if word.startswith("-"):
            assert word in options, word
            if not options[word].is_flag:
                next(left)


def check_curl(words: list[str]) -> None:
    url = next(urlsplit(word) for word in words if word.startswith("http://127.0.0.1:"))
    body = words[words.index("-d") + 1] if "-d" in words else None
    verb = "get" if body is None else "post"
    template = next((t for v, t in rest_paths() if v == verb and matches(t, url.path)), None)
    assert template is not None, f"no {verb} {url.path}"
    if body is not None:
        json_format.ParseDict(json.loads(body), BODIES[template]())


def matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(template)), path) is not None


def rest_paths() -> Iterator[tuple[str, str]]:
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        for service in file.service:
            for method in service.method:
                rule: http_pb2.HttpRule = method.options.Extensions[annotations_pb2.http]  # type: ignore[index]
                verb = rule.WhichOneof("pattern")
                if verb is not None:
                    yield verb, getattr(rule, verb)


def check_pip(words: list[str]) -> None:
    """From the clone only: another project has the name in the public index. Others are those that tests run with."""
    assert words[0] == "install"
    match = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[1])
    assert match is not None
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set((match[1] or "server").split(",")) <= set(extras)
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE)
    assert set(words[2:]) <= set(locked)


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_nobody_is_told_to_install_the_other_project_of_this_name(path: Path) -> None:
    assert re.findall(r"pip install ['\"]?agent-tracer", path.read_text()) == []


@pytest.mark.parametrize(("place", "text"), blocks("yaml"))
def test_every_configuration_shown_can_be_used(place: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "tracer.yaml"
    file.write_text(text)
    settings = load_settings(file)
    assert yaml.safe_load(text).keys() <= set(type(settings).model_fields), place


@pytest.mark.parametrize(("place", "text"), blocks("python"))
def test_every_program_shown_compiles(place: str, text: str) -> None:
    assert compile(text, place, "exec").co_names


def test_ports_and_settings_that_are_named_exist() -> None:
    defaults = {row.key: row.default for row in describe()}
    rows = re.findall(r"^\| (\d+) \|.*\| `([\w.]+)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 7
    assert {(port, key) for port, key in rows if defaults.get(key) != port} == set()
    sections = {key.partition(".")[0] for key in defaults}
    text = "\n".join(prose(path) for path in DOCS if MADE not in path.read_text())
    named = re.findall(r"`(\w+\.\w+(?:\.\w+)?)`", text)
    unknown = {key for key in named if key.partition(".")[0] in sections - {"log"} and not key.endswith((".py", ".md"))}
    assert {key for key in unknown if not any(k.startswith(key) for k in defaults)} == set()
