"""Layers: an import goes down, never up or sideways; the simulator replaces ports and inherits no decisions."""

from __future__ import annotations

import ast
import sys

from tests.house.source import imports, parse, room_of
from tests.house.tables import LAYERS, LIBRARIES, SHARED

# What sim must use as it is: a simulated copy of a decision would prove the copy.
NOT_TO_INHERIT = ("zraft.core", "zraft.peer", "zraft.session", "zraft.storage")


def check_layers(path: str, source: str) -> list[str]:
    """Imports of zraft's own rooms and of libraries that this file's room may not have."""
    room = room_of(path)
    if room not in LAYERS and room not in SHARED:
        return [f"{path}:1: room {room!r} is in no layer: give it a row in LAYERS"]
    found = []
    for item in imports(path, source):
        top = item.module.split(".")[0]
        if top == "zraft":
            if not _is_below(room, target := _target(item.module, item.name)):
                found.append(f"{path}:{item.line}: {room} may not import {target}")
        elif top not in sys.stdlib_module_names and not {"*", room} & LIBRARIES.get(top, frozenset()):
            found.append(f"{path}:{item.line}: {room} may not import the library {top}")
    return found


def _target(module: str, name: str) -> str:
    """The room that an import enters; `from zraft import x` enters room x, or the whole package if x is no room."""
    parts = module.split(".")[1:] or [name]
    return parts[0] if parts[0] in LAYERS or parts[0] in SHARED else "__init__"


def _is_below(room: str, target: str) -> bool:
    if target == room or target in SHARED:
        return True
    return room not in SHARED and bool({"*", target} & LAYERS[room])


def check_sim_inherits_nothing(path: str, source: str) -> list[str]:
    """Classes of sim that have a base from the rooms which they are there to examine."""
    if room_of(path) != "sim":
        return []
    foreign = {item.bound for item in imports(path, source) if _comes_from_examined(item.module, item.name)}
    return [
        f"{path}:{node.lineno}: {node.name} subclasses {ast.unparse(base)}: sim replaces ports only"
        for node in ast.walk(parse(source))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
        if _root_name(base) in foreign
    ]


def _comes_from_examined(module: str, name: str) -> bool:
    full = f"{module}.{name}" if name else module
    return full.startswith(tuple(f"{room}." for room in NOT_TO_INHERIT)) or full in NOT_TO_INHERIT


def _root_name(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
