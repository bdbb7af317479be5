"""What the product says of itself: public names, signatures, docstrings, members. `page` makes a reference of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from functools import cache
from typing import Any

from tests.reference.topics import WITHIN

MODULES = (
    "zraft",
    "zraft.table",
    "zraft.recipes",
    "zraft.blocking",
    "zraft.blocking.recipes",
    "zraft.testing",
    "zraft.sim",
)
HOMES = ("zraft.types", "zraft.machine.table_types")
"""Where names that are no class and no function have their docstrings."""
MODULE_PATH = re.compile(r"\b[a-z_]+\.(?=[\w.]*[A-Z])")


def exported() -> list[str]:
    """Every public name, as a user writes it."""
    return [f"{module}.{name}" for module in MODULES for name in importlib.import_module(module).__all__]


def thing_of(name: str) -> Any:
    """The class or function of that name; None: it is neither."""
    module, _, last = name.rpartition(".")
    return None if assignment(name) else inspect.unwrap(getattr(importlib.import_module(module), last))


def docstring(name: str) -> str:
    """What is said of a public name, by its own docstring; "": nothing."""
    if found := assignment(name):
        return found[1]
    said = inspect.cleandoc(thing_of(name).__doc__ or "")
    return "" if said.startswith(f"{name.rpartition('.')[2]}(") else said  # what a dataclass says of itself


@cache
def members(kind: type) -> dict[str, tuple[str, str]]:
    """Headline and docstring of each public method and property, and of attributes that have a docstring.

    With those that it inherits, but for what is told of a class that has an entry of its own.
    """
    found: dict[str, tuple[str, str]] = {}
    for owner in owners(kind):
        for name, value in vars(owner).items():
            if isinstance(value, classmethod):
                head = signature(f"{kind.__name__}.{name}", getattr(kind, name))
            elif inspect.isfunction(value):
                head = signature(name, value, is_method=True)
            elif isinstance(value, property) and value.fget:
                head = f"{name}: {inspect.signature(value.fget).return_annotation}"
            else:
                continue
            found.setdefault(name, (head, inspect.cleandoc(value.__doc__ or "")))
        for name, one in attributes(owner).items():
            found.setdefault(name, one)
    return {
        name: one for name, one in found.items() if not name.startswith("_") and f"{kind.__name__}.{name}" not in WITHIN
    }


def owners(kind: type) -> list[type]:
    """The class and those that it inherits from, up to the first that has an entry of its own."""
    above = {base for other in _classes() if other is not kind and other in kind.__mro__ for base in other.__mro__}
    return [owner for owner in kind.__mro__ if owner not in above and _is_ours(owner)]


def _is_ours(owner: type) -> bool:
    return owner.__module__.partition(".")[0] in ("zraft", "tests")


@cache
def _classes() -> list[type]:
    return [thing for name in exported() if inspect.isclass(thing := thing_of(name))]


def signature(name: str, thing: Any, *, is_method: bool = False) -> str:
    """One line: without module paths, with defaults; "async " before what is awaited."""
    if inspect.isclass(thing) and issubclass(thing, Exception) and not inspect.isfunction(thing.__init__):
        return f'{name}(message: str = "")'  # versions of Python tell different things of this constructor
    found = inspect.signature(thing)
    fields: dict[str, Any] = {}
    if inspect.isclass(thing) and "__init__" not in vars(thing):
        for owner in reversed(thing.__mro__):
            fields |= inspect.get_annotations(owner)
    parameters = list(found.parameters.values())[1 if is_method else 0 :]
    shown = found.replace(
        parameters=[one.replace(annotation=fields.get(one.name, one.annotation)) for one in parameters],
        return_annotation=inspect.Signature.empty if inspect.isclass(thing) else found.return_annotation,
    )
    text = MODULE_PATH.sub("", re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(shown)).replace("'", '"'))
    return f"{'async ' if inspect.iscoroutinefunction(thing) else ''}{name}{text}"


def assignment(name: str) -> tuple[str, str] | None:
    """What is assigned to this name in one of the homes, and the docstring after it."""
    return _assignments().get(name.rpartition(".")[2])


@cache
def _assignments() -> dict[str, tuple[str, str]]:
    sources = [inspect.getsource(importlib.import_module(home)) for home in HOMES]
    return {name: one for source in sources for name, one in _documented(ast.parse(source).body, " = ").items()}


def attributes(owner: type) -> dict[str, tuple[str, str]]:
    """Headlines and docstrings of the attributes that have one, in the class and in its constructor."""
    body = next(
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        if isinstance(node, ast.ClassDef)
    )
    constructors = [one.body for one in body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    return {name: one for part in [body, *constructors] for name, one in _documented(part, ": ").items() if one[1]}


def _documented(body: list[ast.stmt], sign: str) -> dict[str, tuple[str, str]]:
    """Every annotated assignment, as its annotation (": ") or its value (" = "), with the docstring after it."""
    found = {}
    for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        match statement, after:
            case ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                doc = inspect.cleandoc(text)
            case ast.AnnAssign(), _:
                doc = ""
            case _:
                continue
        name = ast.unparse(statement.target).removeprefix("self.")
        shown = statement.value if sign == " = " else statement.annotation
        found[name] = f"{name}{sign}{ast.unparse(shown) if shown else '...'}", doc
    return found
