"""Bugs put back: each mutant replaces a piece of one function's source and must be found by the simulator.

The changed function is compiled and its code takes the place of the old one, wherever that is already referred to. A
piece that is not there exactly once is an error, so that a mutant which no longer mutates anything is noticed.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import CodeType, FunctionType

from zraft.sim.run import Report, run_seed


@dataclass(frozen=True)
class Change:
    """In the source of `function`, which is `module:qualified.name`, `old` becomes `new`."""

    function: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """`profile` steers the chaos. `median`: of the seeds that it took to find it, from three or five beginnings.

    `near`: a seed shortly before one that finds it, so that the test is quick while nothing changes. Where no seeds
    find it, `played` is the test that does, as `module:function`, with its `arguments`.
    """

    name: str
    what: str
    changes: tuple[Change, ...]
    profile: str = "default"
    median: int = 0
    near: int = 1
    played: str = ""
    arguments: tuple[object, ...] = ()


@contextmanager
def put_back(mutant: Mutant) -> Iterator[None]:
    """The bug is there within this block, and nowhere else."""
    with ExitStack() as undo:
        for path in dict.fromkeys(change.function for change in mutant.changes):
            function = _function(path)
            undo.callback(setattr, function, "__code__", function.__code__)
            changes = [change for change in mutant.changes if change.function == path]
            function.__code__ = _mutated(function, changes)
        yield


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


def _mutated(function: FunctionType, changes: Sequence[Change]) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    for change in changes:
        if source.count(change.old) != 1:
            raise ValueError(f"{change.function} has {source.count(change.old)} times: {change.old!r}")
        source = source.replace(change.old, change.new)
    tree = ast.parse(source)
    definition = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    definition.decorator_list = []
    module = compile(tree, f"<mutant of {function.__qualname__}>", "exec", flags=function.__code__.co_flags & 0x1000000)
    return next(
        constant
        for constant in module.co_consts
        if isinstance(constant, CodeType) and constant.co_name == definition.name
    )


def play(mutant: Mutant) -> str:
    """How the test that plays the moment ends while the bug is there; empty where it passes."""
    test = _function(mutant.played)
    test(*mutant.arguments)
    with put_back(mutant):
        try:
            test(*mutant.arguments)
        except (AttributeError, NameError, SyntaxError, KeyboardInterrupt):
            raise
        except BaseException as error:
            return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def hunt(mutant: Mutant, first: int, last: int) -> Report | None:
    """The first failing run of the seeds `first` to `last`; None where the net caught nothing.

    The same seed must hold without the bug: else it is not the bug that was found, and ValueError says so.
    """
    for seed in range(first, last + 1):
        with put_back(mutant):
            report = run_seed(seed, mutant.profile)
        if re.match(r"\w+(Error|Exception):", report.failure):
            raise ValueError(f"{mutant.name} is broken itself: {report.failure}")
        if report.failure:
            alone = run_seed(seed, mutant.profile)
            if alone.failure:
                raise ValueError(f"{alone.command} fails without {mutant.name}, too: {alone.failure}")
            return report
    return None
