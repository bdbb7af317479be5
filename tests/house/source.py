"""The files that the house looks at, and what every checker needs to know about one: its room, imports and functions.

A checker is a function `(path, source) -> list of violations`, so that a test can hand it a bad snippet and see it
speak. Nothing here knows a rule.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SRC = "src/zraft/"

# Folders that a build, a tool or a run makes at the top of the repository; caches lie anywhere.
MADE = frozenset({".git", ".venv", ".hypothesis", "build", "data", "dist"})

Checker = Callable[[str, str], list[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Import(NamedTuple):
    """One imported thing: `from a.b import c as d` is module a.b, name c, bound d; `import a.b` has no name."""

    line: int
    module: str
    name: str
    bound: str


def repository_files(*suffixes: str) -> list[str]:
    """Every file of the project that ends in one of the suffixes (any file without them), made ones left out."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        made = MADE if Path(folder) == ROOT else frozenset()
        folders[:] = [name for name in folders if name not in made and not name.endswith(("_cache", "__pycache__"))]
        found += [Path(folder, name).relative_to(ROOT).as_posix() for name in names if name not in made]
    return sorted(path for path in found if not suffixes or path.endswith(suffixes))


def python_files(*folders: str) -> list[str]:
    """The Python files below these folders of the repository."""
    return [path for path in repository_files(".py") if path.startswith(folders)]


def expect_clean(checker: Checker, paths: list[str]) -> None:
    """Raises AssertionError with everything that the checker says about these files."""
    expect_nothing([line for path in paths for line in checker(path, read(path))])


def expect_nothing(found: list[str]) -> None:
    """Raises AssertionError with every violation on a line of its own."""
    assert not found, "\n" + "\n".join(found)


@cache
def read(path: str) -> str:
    """The text of one file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@cache
def parse(source: str) -> ast.Module:
    """The syntax tree of a text, parsed once for all checkers."""
    return ast.parse(source)


def room_of(path: str) -> str:
    """`src/zraft/core/log.py` is in room "core"; `src/zraft/limits.py` is the room "limits". "" is outside src."""
    if not path.startswith(SRC):
        return ""
    return path.removeprefix(SRC).split("/")[0].removesuffix(".py")


def imports(path: str, source: str) -> Iterator[Import]:
    """Everything that a file imports, at its top or inside a function; relative imports are made absolute."""
    package = path.removeprefix("src/").split("/")[:-1]
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, "", alias.asname or alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, alias.asname or alias.name)


def functions(source: str) -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name in the file: `Raft.step`, `outer.inner`."""
    yield from _functions(parse(source), "")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}.{child.name}" if prefix else child.name
        if isinstance(child, Function):
            yield name, child
        yield from _functions(child, name)


def called_name(node: ast.AST) -> str:
    """`f(...)` and `a.b.f(...)` are both called "f"; "" is not a call of a named thing."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return node.func.id
        if isinstance(node.func, ast.Attribute):
            return node.func.attr
    return ""


def called_builtin(node: ast.AST) -> str:
    """The name of a call without a dot before it: `open(...)`, but not `directory.open(...)`."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
