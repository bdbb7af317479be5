"""Dependencies: each is bounded, has its reason on record, and is pinned by the lock with a hash."""

from __future__ import annotations

import re
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def declared(project: dict[str, Any]) -> list[Requirement]:
    """Every requirement of a parsed pyproject.toml: to build, to run, of each extra and each group."""
    parts = [project["build-system"]["requires"], project["project"]["dependencies"]]
    parts += project["project"].get("optional-dependencies", {}).values()
    parts += project.get("dependency-groups", {}).values()
    return [Requirement(text) for part in parts for text in part]


def check_bounds(requirements: list[Requirement]) -> list[str]:
    """Requirements that a future release could break: no lower or no upper bound."""
    return [
        f"{item.name}: needs a lower and an upper bound, has {str(item.specifier) or 'none'}"
        for item in requirements
        if not {one.operator for one in item.specifier} >= {">=", "<"}
    ]


def check_reasons(requirements: list[Requirement], record: str) -> list[str]:
    """Requirements without a row in the decision record: `| name | ... |`."""
    rows = set(re.findall(r"^\|\s*`?([\w.-]+)`?\s*\|", record, re.MULTILINE))
    return [f"{name}: no row with its reason" for name in sorted({item.name for item in requirements} - rows)]


def check_pins(requirements: list[Requirement], lock: str) -> list[str]:
    """Requirements that the lock does not pin within their bounds, and pins without a hash."""
    pins = {canonicalize_name(name): version for name, version in PIN.findall(lock)}
    found = []
    for item in requirements:
        version = pins.get(canonicalize_name(item.name))
        if version is None:
            found.append(f"{item.name}: not in the lock")
        elif not item.specifier.contains(version):
            found.append(f"{item.name}: the lock has {version}, outside {item.specifier}")
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return found + [f"{block.split()[0]}: no hash" for block in blocks if PIN.match(block) and "--hash=" not in block]
