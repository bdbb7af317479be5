"""Purity: what decides has no clock, chance, I/O, tasks or hidden state, and src never runs code from data.

`for x in {...}` is caught in the forms that a syntax tree shows: set displays, calls of set and frozenset, and names
or fields that the same file annotates or assigns as sets. A set may be asked, sorted, or folded by something that
does not see the order.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.source import called_builtin, called_name, functions, imports, parse, room_of
from tests.house.tables import (
    DYNAMIC_BUILTINS,
    DYNAMIC_EXCEPTIONS,
    DYNAMIC_MODULES,
    IMPURE_BUILTINS,
    IMPURE_MODULES,
    PURE_ROOMS,
    PURITY_EXCEPTIONS,
)

SET_TYPES = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})
ORDER_BLIND = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"})
ORDER_SEEING = frozenset({"enumerate", "fromkeys", "iter", "join", "list", "tuple"})
MUTABLE_CALLS = frozenset(
    "bytearray count Counter defaultdict deque dict list OrderedDict set SortedDict SortedList SortedSet".split()
)
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def check_world(path: str, source: str) -> list[str]:
    """Imports and builtins of a pure room that reach the world or differ between two runs, and coroutines."""
    if room_of(path) not in PURE_ROOMS:
        return []
    used = [(item.line, item.module.split(".")[0]) for item in imports(path, source)]
    found = [(line, name) for line, name in used if name in IMPURE_MODULES]
    hashers = {id(node) for name, node in functions(source) if name.endswith("__hash__")}
    for node in _walk_outside(parse(source), hashers):
        if called_builtin(node) in IMPURE_BUILTINS:
            found.append((_line(node), called_builtin(node)))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
        ):
            found.append((node.lineno, ast.unparse(node.func)))
        elif isinstance(node, ast.AsyncFunctionDef):
            found.append((node.lineno, "async def"))
    return [
        f"{path}:{line}: {name} in a pure room" for line, name in sorted(found) if (path, name) not in PURITY_EXCEPTIONS
    ]


def _walk_outside(root: ast.AST, left_out: set[int]) -> Iterator[ast.AST]:
    if id(root) not in left_out:
        yield root
        for child in ast.iter_child_nodes(root):
            yield from _walk_outside(child, left_out)


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 1))


def check_set_order(path: str, source: str) -> list[str]:
    """Places of a pure room where the order of a set would reach a decision."""
    if room_of(path) not in PURE_ROOMS:
        return []
    tree = parse(source)
    known = _names_of_sets(tree)
    blind = {
        id(argument)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called_name(node) in ORDER_BLIND
        for argument in node.args
        if isinstance(argument, COMPREHENSIONS)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.For):
            iterated = [node.iter]
        elif isinstance(node, COMPREHENSIONS) and id(node) not in blind and not isinstance(node, ast.SetComp):
            iterated = [generator.iter for generator in node.generators]
        elif isinstance(node, ast.Call) and called_name(node) in ORDER_SEEING:
            iterated = node.args[:1]
        elif isinstance(node, ast.Starred):
            iterated = [node.value]
        else:
            continue
        found += [(item.lineno, ast.unparse(item)) for item in iterated if _is_set(item, known)]
    return [f"{path}:{line}: the order of the set {text} is chance: sort it" for line, text in sorted(found)]


def _is_set(node: ast.expr, known: set[str]) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left, known) or _is_set(node.right, known)
    if isinstance(node, ast.Name | ast.Attribute):
        return _key(node) in known
    return isinstance(node, ast.Set | ast.SetComp) or called_builtin(node) in {"set", "frozenset"}


def _names_of_sets(tree: ast.Module) -> set[str]:
    """Names that this file binds to sets; a field is known as `.name`. A name that is also something else is not."""
    sets: set[str] = set()
    others: set[str] = set()
    fields = {id(item) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for item in node.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            name = f".{ast.unparse(node.target)}" if id(node) in fields else _key(node.target)
            (sets if _is_set_type(node.annotation) else others).add(name)
        elif isinstance(node, ast.arg):
            annotated = node.annotation is not None and _is_set_type(node.annotation)
            (sets if annotated else others).add(node.arg)
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Name | ast.Attribute):
            (sets if _is_set(node.value, set()) else others).update(_key(target) for target in node.targets)
    return sets - others


def _key(target: ast.expr) -> str:
    return f".{target.attr}" if isinstance(target, ast.Attribute) else ast.unparse(target)


def _is_set_type(annotation: ast.expr) -> bool:
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    return isinstance(text, str) and text.split("[")[0].split(".")[-1] in SET_TYPES


def check_module_state(path: str, source: str) -> list[str]:
    """Mutable values of a pure room's modules: two clusters in one process would share them."""
    if room_of(path) not in PURE_ROOMS:
        return []
    found = [
        f"{path}:{node.lineno}: global {', '.join(node.names)}: state belongs to an object"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Global)
    ]
    for node in parse(source).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        names = [ast.unparse(target) for target in targets]
        if value is not None and _is_mutable(value):
            found += [
                f"{path}:{node.lineno}: {name} is mutable module state; a constant table has an UPPER_CASE name"
                for name in names
                if not name.lstrip("_").isupper() and not name.startswith("__")
            ]
    return found


def _is_mutable(value: ast.expr) -> bool:
    display = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    return isinstance(value, display) or called_name(value) in MUTABLE_CALLS


def check_no_assert(path: str, source: str) -> list[str]:
    """`assert` statements of src: -O removes them, so a safety check is an if and a raise."""
    return [
        f"{path}:{node.lineno}: assert vanishes under -O: raise InvariantViolation"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Assert)
    ]


def check_no_code_from_data(path: str, source: str) -> list[str]:
    """Imports and builtins that turn data into code."""
    found = []
    for item in imports(path, source):
        full = f"{item.module}.{item.name}" if item.module == "importlib" and item.name else item.module
        if full.split(".")[0] in DYNAMIC_MODULES and not _dynamic_is_excused(path, full):
            found.append((item.line, full))
    for node in ast.walk(parse(source)):
        if called_builtin(node) in DYNAMIC_BUILTINS:
            found.append((_line(node), called_builtin(node)))
    return [f"{path}:{line}: {name} makes code of data" for line, name in sorted(found)]


def _dynamic_is_excused(path: str, module: str) -> bool:
    return any(path.startswith(folder) and module == allowed for folder, allowed in DYNAMIC_EXCEPTIONS)
