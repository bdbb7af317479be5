"""Broad handlers: `except Exception` hides bugs, except at a boundary that ends a task, a peer or a connection."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.source import Function, called_name, parse
from tests.house.tables import BROAD_EXCEPTS

BROAD = frozenset({"BaseException", "BaseExceptionGroup", "Exception", "ExceptionGroup"})


def check_broad_handlers(path: str, source: str) -> list[str]:
    """Broad handlers in functions that the table does not name."""
    return [
        f"{path}:{line}: {what} in {name or 'the module'}: catch narrowly, or give it a row in BROAD_EXCEPTS"
        for name, line, what in broad_handlers(source)
        if f"{path}::{name}" not in BROAD_EXCEPTS
    ]


def broad_handlers(source: str) -> Iterator[tuple[str, int, str]]:
    """(function, line, text) of every bare or broad except and every suppress of the same."""
    yield from _broad_handlers(parse(source), "")


def _broad_handlers(node: ast.AST, name: str) -> Iterator[tuple[str, int, str]]:
    for child in ast.iter_child_nodes(node):
        inner = name
        if isinstance(child, Function | ast.ClassDef):
            inner = f"{name}.{child.name}" if name else child.name
        elif isinstance(child, ast.ExceptHandler) and (child.type is None or _is_broad(child.type)):
            yield name, child.lineno, f"except {ast.unparse(child.type)}" if child.type else "a bare except"
        elif isinstance(child, ast.Call) and called_name(child) == "suppress" and any(map(_is_broad, child.args)):
            yield name, child.lineno, ast.unparse(child)
        yield from _broad_handlers(child, inner)


def _is_broad(caught: ast.expr) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(_is_broad, caught.elts))
    return ast.unparse(caught).split(".")[-1] in BROAD
