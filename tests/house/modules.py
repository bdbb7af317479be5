"""Modules: each says what it is for and has a noun for a name; what zraft exports exists and is documented."""

from __future__ import annotations

import ast
from pathlib import PurePosixPath
from types import ModuleType

from tests.house.source import SRC, parse
from tests.house.tables import REFUSED_NAMES


def check_docstring(path: str, source: str) -> list[str]:
    """A module without a docstring, or with an empty one."""
    return [] if (ast.get_docstring(parse(source)) or "").strip() else [f"{path}:1: no docstring: what is it for?"]


def check_room_name(path: str, source: str) -> list[str]:
    """A file or folder whose name says nothing about what is in it."""
    words = {
        word
        for part in PurePosixPath(path.removeprefix(SRC)).with_suffix("").parts
        for word in part.lower().strip("_").split("_")
    }
    return [f"{path}:1: a room without a noun is no room: {word}" for word in sorted(words & REFUSED_NAMES)]


def check_packages(paths: list[str]) -> list[str]:
    """Folders of Python files without an `__init__.py`: tools would not see them."""
    folders = {str(PurePosixPath(path).parent) for path in paths}
    return [f"{folder}: no __init__.py" for folder in sorted(folders) if f"{folder}/__init__.py" not in paths]


def check_exports(module: ModuleType) -> list[str]:
    """Names in `__all__` that are missing, twice there, or without a docstring of their own."""
    names: list[str] = list(getattr(module, "__all__", []))
    found = [f"{name}: twice in __all__" for name in sorted(set(names)) if names.count(name) > 1]
    for name in names:
        if not hasattr(module, name):
            found.append(f"{name}: in __all__, but not there")
        elif not _is_documented(getattr(module, name), name):
            found.append(f"{name}: no docstring")
    return found


def _is_documented(value: object, name: str) -> bool:
    """A class speaks for itself; a value through its type; the signature that a dataclass writes says nothing."""
    if isinstance(value, str | int | float | tuple | frozenset):
        return True
    text = vars(value).get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
    return bool(text and text.strip()) and not str(text).startswith(f"{name}(")
