"""`zraft.blocking` offers what `zraft` offers: the same names, the same arguments, without `async`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import zraft
from zraft import blocking, recipes
from zraft.blocking import recipes as plain_recipes
from zraft.client import functions

NAMES_OF_ASYNC = {"aclose": "close", "stop": "stop"}


def public(kind: type) -> dict[str, Any]:
    return {name: getattr(kind, name) for name in vars(kind) if not name.startswith("_")}


def arguments(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


@pytest.mark.parametrize("name", ["Client", "LightSession", "Node", "Session"])
def test_every_public_method_is_there_with_the_same_arguments(name: str) -> None:
    """So that the documentation of one is that of the other."""
    asynchronous, plain = getattr(zraft, name), getattr(blocking, name)
    assert asynchronous.__init__ is not plain.__init__
    for method, its in public(asynchronous).items():
        ours = getattr(plain, NAMES_OF_ASYNC.get(method, method))
        assert not inspect.iscoroutinefunction(ours), method
        if callable(its):
            assert arguments(ours) == arguments(its), method


def test_there_are_as_many_recipes() -> None:
    """Of one sort and of the other."""
    assert plain_recipes.__all__ == recipes.__all__


@pytest.mark.parametrize("name", recipes.__all__)
def test_every_recipe_is_there_with_the_same_methods(name: str) -> None:
    """For sessions without `async`."""
    ours = dict(inspect.getmembers(getattr(plain_recipes, name)))
    for method, its in inspect.getmembers(getattr(recipes, name)):
        if not method.startswith("_"):
            assert not callable(its) or arguments(ours[method]) == arguments(its), method
            assert not inspect.iscoroutinefunction(ours[method])


def test_every_function_is_there_with_the_same_arguments() -> None:
    """Those of the package that talk to nodes."""
    names = [
        name
        for name, value in vars(functions).items()
        if inspect.isfunction(value) and value.__module__ == functions.__name__
    ]
    for name in names:
        if name not in ("default_client",) and not name.startswith("_"):
            assert arguments(getattr(blocking, name)) == arguments(getattr(functions, name)), name
            assert name in blocking.__all__, name
    assert len(names) > 9
