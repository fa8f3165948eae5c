"""What machines can hold of the house style: sizes, docstrings, reasons, and what has no place in the repository."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FILE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
REASON_CHARACTERS_MIN: Final = 20

OURS: Final = ("server", "clients", "scripts", "tests", "dashboards")
LIMITS: Final = "server/agent_tracer/server/limits.py"

# Put together here, so that this file does not hold what it looks for.
MACHINE_PATHS: Final = tuple("/" + path for path in ("work/", "tmp/", "root/", "home/", "Users/"))
REGISTRIES: Final = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
        ("maven", "org"), ("maven", "apache"), ("proxy", "golang"), ("sum", "golang"), ("crates", "io"),
        ("rubygems", "org"), ("docker", "io"), ("docker", "com"), ("ghcr", "io"), ("quay", "io"), ("gcr", "io"),
        ("conda", "anaconda"), ("huggingface", "co"),
    )
)  # fmt: skip


@cache
def files() -> tuple[str, ...]:
    """Everything that is, or would be, in the repository."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    ).stdout.decode()
    return tuple(sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file()))


def modules(*folders: str) -> list[str]:
    return [name for name in files() if name.endswith(".py") and name.split("/")[0] in folders]


def protos() -> list[str]:
    return [name for name in files() if name.endswith(".proto")]


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(), name)


@pytest.fixture(scope="module", autouse=True)
def _trees_are_let_go() -> Iterator[None]:
    """Millions of objects, at which every collection of garbage in the tests after these would look."""
    yield
    tree.cache_clear()


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From its first statement to its end: a signature is a declaration, as long as its options are many."""
    return (function.end_lineno or 0) - function.body[0].lineno + 1


def occurrences(patterns: tuple[str, ...], names: list[str]) -> list[str]:
    found = []
    for name in names:
        text = (ROOT / name).read_bytes().decode(errors="ignore")
        held = [pattern for pattern in patterns if pattern in text]  # a tenth of the time of one expression for all
        found += [f"{name}: {p}" for p in held if re.search(rf"(?<![\w.~$}}]){re.escape(p)}", text)]
    return found


def test_there_is_something_to_look_at() -> None:
    assert LIMITS in modules(*OURS)
    assert "README.md" in files()


def test_no_file_is_so_long_that_it_should_be_two() -> None:
    # One flat table that must not be two: a bound is looked for in one place.
    sized = [name for name in (*modules(*OURS), *protos()) if name != LIMITS]
    long = {name: (ROOT / name).read_text().count("\n") for name in sized}
    assert {name: lines for name, lines in long.items() if lines >= FILE_LINES_MAX} == {}


def test_no_function_is_so_long_that_nobody_can_hold_it() -> None:
    long = {f"{name}:{f.name}": body_lines(f) for name in modules(*OURS) for f in functions(name)}
    assert {place: lines for place, lines in long.items() if lines >= FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name in modules(*OURS) if tree(name).body and ast.get_docstring(tree(name)) is None]
    assert silent == []


def test_nothing_depends_on_the_machine_it_was_written_on() -> None:
    assert occurrences(MACHINE_PATHS, [name for name in files() if not name.startswith("gen/")]) == []


def test_no_package_registry_is_named_for_whoever_installs_chooses_it() -> None:
    assert occurrences(REGISTRIES, list(files())) == []


def limits() -> list[tuple[str, ast.expr | None]]:
    """Each constant with the expression below it."""
    body = tree(LIMITS).body
    pairs = zip(body, [*body[1:], None], strict=True)
    return [
        (node.target.id, below.value if isinstance(below, ast.Expr) else None)
        for node, below in pairs
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def test_every_limit_has_its_reason() -> None:
    def is_reason(value: ast.expr | None) -> bool:
        return isinstance(value, ast.Constant) and len(str(value.value)) >= REASON_CHARACTERS_MIN

    assert [name for name, below in limits() if not is_reason(below)] == []
    plain = [node for node in tree(LIMITS).body if isinstance(node, ast.Assign)]
    assert plain == [], "a limit is declared Final"


def test_no_limit_is_set_twice_for_the_second_would_win_in_silence() -> None:
    names = [name for name, _ in limits()]
    assert sorted(names) == sorted(set(names))


def test_every_limit_bounds_something() -> None:
    used = {
        node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else node.name
        for name in modules("server")
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
        or isinstance(node, ast.Attribute | ast.alias)
    }
    assert sorted({name for name, _ in limits()} - used) == []


def called(node: ast.AST) -> Iterator[str]:
    """Bare names of everything that is called, or entered, below the node."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            target = inner.func
            yield target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


@cache
def checking_helpers() -> frozenset[str]:
    """Functions of the tests that assert, and those that call one of them."""
    bodies = [(f.name, f) for name in modules("tests") for f in functions(name) if not f.name.startswith("test_")]
    found = {"raises", "warns", "fail"} | {name for name, f in bodies if has_assert(f)}
    while more := {name for name, f in bodies if name not in found and found & set(called(f))}:
        found |= more
    return frozenset(found)


def has_assert(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node))


@pytest.mark.parametrize("name", [name for name in modules("tests") if Path(name).name.startswith("test_")])
def test_every_test_can_fail(name: str) -> None:
    tests = [f for f in functions(name) if f.name.startswith("test_")]
    assert tests, "a file of tests without a test"
    idle = [f.name for f in tests if not has_assert(f) and not checking_helpers() & set(called(f))]
    assert idle == []
