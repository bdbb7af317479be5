"""Tests: each claims something, says it in a sentence, and does not wait for real time outside tests/stack."""

from __future__ import annotations

import ast

from tests.house.source import called_name, functions, imports, parse

PROVING_CALLS = frozenset({"fail", "raises", "warns"})
PROVING_PREFIXES = ("check_", "expect_")


def check_tests_claim(path: str, source: str) -> list[str]:
    """Test functions that could not fail, or that do not say what they claim."""
    found = []
    every = dict(functions(source))
    for name, node in every.items():
        if not node.name.startswith("test_") or name.rpartition(".")[0] in every:
            continue  # a function inside a function is not collected
        if not any(map(_proves, ast.walk(node))):
            found.append(f"{path}:{node.lineno}: {name} asserts nothing")
        if not (ast.get_docstring(node) or "").strip():
            found.append(f"{path}:{node.lineno}: {name} has no docstring: one sentence, with the section")
    return found


def _proves(node: ast.AST) -> bool:
    name = called_name(node)
    return isinstance(node, ast.Assert) or name in PROVING_CALLS or name.startswith(PROVING_PREFIXES)


def check_no_sleep(path: str, source: str) -> list[str]:
    """Real waiting: `time.sleep`, `asyncio.sleep` of more than 0. Only tests/stack has real time."""
    if path.startswith("tests/stack/"):
        return []
    bound = {
        item.bound for item in imports(path, source) if item.name == "sleep" and item.module in ("asyncio", "time")
    }
    found = []
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Call) and (
            ast.unparse(node.func) in ("asyncio.sleep", "time.sleep")
            or (isinstance(node.func, ast.Name) and node.func.id in bound)
        ):
            yields_only = [ast.unparse(argument) for argument in node.args] == ["0"]
            if not yields_only:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}: tests outside tests/stack do not wait")
    return found
