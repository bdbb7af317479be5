"""Bugs put back: each mutant replaces a piece of one function's source and must be found by the simulator.

The changed function is compiled and its code takes the place of the old one, wherever that is already referred to. A piece
that is not there exactly once is an error, so that a mutant which no longer mutates anything is noticed.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType

from zraft.sim.run import Report, run_seed


@dataclass(frozen=True)
class Mutant:
    """`function` is `module:qualified.name`; each `(old, new)` is replaced in its source."""

    name: str
    what: str
    function: str
    changes: tuple[tuple[str, str], ...]
    profile: str = "default"


@contextmanager
def put_back(mutant: Mutant) -> Iterator[None]:
    """The bug is there within this block, and nowhere else."""
    function = _function(mutant.function)
    original = function.__code__
    function.__code__ = _mutated(function, mutant.changes)
    try:
        yield
    finally:
        function.__code__ = original


def _function(path: str) -> FunctionType:
    module, _, name = path.partition(":")
    found: object = import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, staticmethod):
        found = found.__func__
    if not isinstance(found, FunctionType):
        raise TypeError(f"{path} is no function: {found!r}")
    return found


def _mutated(function: FunctionType, changes: tuple[tuple[str, str], ...]) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"{function.__qualname__} has {source.count(old)} times: {old!r}")
        source = source.replace(old, new)
    tree = ast.parse(source)
    definition = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    definition.decorator_list = []
    module = compile(tree, f"<mutant of {function.__qualname__}>", "exec", flags=function.__code__.co_flags & 0x1000000)
    return next(
        constant
        for constant in module.co_consts
        if isinstance(constant, CodeType) and constant.co_name == definition.name
    )


def hunt(mutant: Mutant, first: int, last: int) -> Report | None:
    """The first failing run of the seeds `first` to `last`; None where the net caught nothing."""
    with put_back(mutant):
        for seed in range(first, last + 1):
            report = run_seed(seed, mutant.profile)
            if report.failure:
                return report
    return None


def main() -> None:
    """`python -m tests.sim.mutants.mutation [NAME...]`: how many seeds each mutant takes, from several beginnings."""
    from tests.sim.mutants.mutants import MUTANTS

    for mutant in MUTANTS:
        if len(sys.argv) > 1 and mutant.name not in sys.argv[1:]:
            continue
        needed: list[int] = []
        report = None
        for first in range(1, 1501, 300):
            report = hunt(mutant, first, first + 299)
            needed.append(report.seed - first + 1 if report is not None else 999)
        needed.sort()
        print(
            f"{mutant.name:8} median {needed[2]:3} of {needed}  {report.failure[:100] if report else 'NOT FOUND'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
