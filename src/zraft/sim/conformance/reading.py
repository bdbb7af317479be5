"""Where a source goes by the order of a set, or by `hash` and `id`: what the syntax tree shows, and no more.

That alone is no fault, a set of small numbers always has one order; where two processes differ it is the likely cause.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Final

import msgspec

_BLIND: Final = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"})
_SEEING: Final = frozenset({"enumerate", "fromkeys", "iter", "join", "list", "map", "next", "tuple", "zip"})
_SET_TYPES: Final = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
_COMPREHENSIONS: Final = ast.ListComp | ast.DictComp | ast.GeneratorExp


class Place(msgspec.Struct, frozen=True):
    """A line, and what stands there."""

    where: str
    what: str


def places_of(kind: type) -> list[Place]:
    """In the class and its bases, but for zraft's own."""
    found: list[Place] = []
    for each in kind.__mro__:
        if each is not object and each.__module__.partition(".")[0] not in ("zraft", *sys.stdlib_module_names):
            found += _places_in(each)
    return found


def places_around(kind: type) -> list[Place]:
    """In the whole file that has it."""
    module = sys.modules.get(kind.__module__)
    return _places_in(module) if module is not None else []


def _places_in(thing: object) -> list[Place]:
    try:
        lines, first = inspect.getsourcelines(thing)  # type: ignore[arg-type]  # a class or a module
        path = inspect.getsourcefile(thing) or "?"  # type: ignore[arg-type]  # the same
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # made at run time, or without its source
        return []
    before = max(first, 1) - 1
    return [Place(f"{path}:{line + before}", what) for line, what in sorted(_suspects(tree))]


def _suspects(tree: ast.Module) -> Iterator[tuple[int, str]]:
    sets = _names_of_sets(tree)
    blind = {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _called(node) in _BLIND
        for argument in node.args
        if isinstance(argument, _COMPREHENSIONS)
    }
    hashers = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == "__hash__"]
    within = {node for each in hashers for node in ast.walk(each)}
    for node in ast.walk(tree):
        for item in () if node in blind else _iterated(node):
            if _is_set(item, sets):
                yield item.lineno, f"goes by the order of the set {ast.unparse(item)}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hash", "id") and node not in within:
            yield node.lineno, f"calls {ast.unparse(node)}"


def _iterated(node: ast.AST) -> list[ast.expr]:
    """What is taken in its order there."""
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, _COMPREHENSIONS):
        return [generator.iter for generator in node.generators]
    if isinstance(node, ast.Call) and _called(node) in _SEEING:
        return node.args
    if isinstance(node, ast.Call) and _called(node) == "pop" and not node.args:
        return [node.func.value] if isinstance(node.func, ast.Attribute) else []
    return [node.value] if isinstance(node, ast.Starred) else []


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_set(node: ast.expr, sets: frozenset[str]) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left, sets) or _is_set(node.right, sets)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset") or (node.func.id == "iter" and _is_set(node.args[0], sets))
    return isinstance(node, ast.Set | ast.SetComp) or ast.unparse(node) in sets


def _names_of_sets(tree: ast.Module) -> frozenset[str]:
    """Names and fields that are sets wherever they are bound."""
    sets: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            (sets if _is_set_type(node.annotation) else others).add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign):
            (sets if _is_set(node.value, frozenset()) else others).update(map(ast.unparse, node.targets))
    return frozenset(sets - others)


def _is_set_type(annotation: ast.expr) -> bool:
    return ast.unparse(annotation).strip("'\"").split("[")[0].split(".")[-1] in _SET_TYPES
