"""The rules of the house: floors, sizes, names, docstrings, and words that must not occur."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "fleetprobe"
SOURCES = sorted(PACKAGE.rglob("*.py"))
EVERYTHING = sorted(
    path
    for path in ROOT.rglob("*")
    if path.is_file()
    and path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".cfg", ".sh", ".svg", ".csv", ""}
    and not {".venv", ".git", "results", "__pycache__", ".hypothesis"} & set(path.relative_to(ROOT).parts)
    and not path.relative_to(ROOT).parts[0].endswith("_cache")
)

MOST_LINES, MOST_FUNCTION_LINES = 400, 60
FORBIDDEN_MODULES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
FORBIDDEN_WORDS = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
MACHINE_PATHS = re.compile(r"/(?:wor[k]|roo[t]|tmp/brie[f]|home/\w+)/")
FORBIDDEN_CALLS = {"getaddrinfo", "create_connection", "open_connection", "connect_tcp", "gethostbyname"}

ids = [str(path.relative_to(ROOT)) for path in SOURCES]


def definitions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def test_the_floors_hold_and_every_module_stands_on_one() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_file_is_one_idea_of_bounded_size_that_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says in one sentence what it is"
    assert text.count("\n") <= MOST_LINES
    assert path.stem not in FORBIDDEN_MODULES
    if path.name == "__init__.py":
        assert len(tree.body) == 1, "a package's __init__ holds its docstring alone"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_functions_are_short_and_what_is_public_says_what_it_does(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in definitions(tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if not isinstance(node, ast.ClassDef):
            assert lines <= MOST_FUNCTION_LINES, f"{node.name} has {lines} lines"
        if node in tree.body and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} says nothing about itself"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_nothing_is_imported_through_a_package(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fleetprobe":
            assert node.level == 0
            place = ROOT.joinpath(*node.module.split("."))
            if place.is_dir():
                for alias in node.names:
                    inside = (place / f"{alias.name}.py").exists() or (place / alias.name).is_dir()
                    assert inside, f"{node.module} is a package; import {alias.name} from where it is defined"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_nobody_dials_but_by_our_own_sockets(path: Path) -> None:
    """Names are resolved and addresses dialled one by one, so that each is reported by itself (design §5)."""
    if path.is_relative_to(PACKAGE / "lab"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert name not in FORBIDDEN_CALLS


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_every_silenced_warning_says_why(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = re.search(r"# (?:type: ignore|noqa)(?:[:\[][\w\-, \]]*)?(.*)", line)
        if found:
            assert len(found.group(1).strip(" #-")) > 8, f"line {number} silences without a reason"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_broad_except_raises_again_or_says_why_it_does_not(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type):
            again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in node.body)
            assert again or "#" in lines[node.lineno - 1], f"line {node.lineno}: a broad except without a reason"


def _is_broad(kind: ast.expr | None) -> bool:
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def test_nothing_speaks_of_this_machine_or_of_work_left_undone() -> None:
    assert len(EVERYTHING) > 100
    for path in EVERYTHING:
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not FORBIDDEN_WORDS.search(text), path
        assert not MACHINE_PATHS.search(text), path


def test_every_layer_has_a_test_file_and_every_room_a_folder_of_tests() -> None:
    tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for layer in ("dns", "tcp", "tls", "http", "app"):
        assert any(name.startswith(f"test_{layer}") for name in tests), layer
    for room in ("audit", "codes", "cli", "engine", "inventory", "lab", "layers", "net", "sinks", "vantage"):
        assert list((ROOT / "tests" / room).glob("test_*.py")), room
