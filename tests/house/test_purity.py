"""Purity: the rules hold in src, and their checkers see what breaks them."""

from __future__ import annotations

import pytest

from tests.house.purity import (
    check_module_state,
    check_no_assert,
    check_no_code_from_data,
    check_set_order,
    check_world,
)
from tests.house.source import Checker, expect_clean, python_files, read
from tests.house.tables import PURITY_EXCEPTIONS

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here

PURE = "src/zraft/core/log.py"


@pytest.mark.parametrize(
    "checker", [check_world, check_set_order, check_module_state, check_no_assert, check_no_code_from_data]
)
def test_src_is_pure_where_it_must_be(checker: Checker) -> None:
    """No clock, chance, I/O, task, hidden state or order of a set in a pure room; no code from data anywhere."""
    expect_clean(checker, python_files("src/"))


def test_every_exception_from_purity_is_of_sim_and_used() -> None:
    """A row that nobody needs any more is deleted."""
    for path, name in PURITY_EXCEPTIONS:
        assert path.startswith("src/zraft/sim/")
        assert name in read(path)


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import os.path",
        "from time import monotonic",
        "from concurrent.futures import Future",
        "def f():\n    import random",
        "async def f(): ...",
        "class A:\n    async def f(self): ...",
        "open('x')",
        "print(1)",
        "x = hash('a')",
        "x = datetime.datetime.now()",
    ],
)
def test_the_world_in_a_pure_room_is_seen(source: str) -> None:
    """Clock, chance, threads, files and coroutines, at the top or inside a function; elsewhere they are free."""
    assert len(check_world(PURE, source)) == 1
    assert check_world("src/zraft/node/loop.py", source) == []


def test_what_only_looks_like_the_world_is_allowed() -> None:
    """A port has an `open`, a value has a hash."""
    source = "import hashlib\ndirectory.open('x')\nclass A:\n    def __hash__(self):\n        return hash((1,))\n"
    assert check_world(PURE, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "for x in {1, 2}: ...",
        "for x in set(y): ...",
        "for x in frozenset(y): ...",
        "for x in {y for y in z}: ...",
        "a = [x for x in set(y)]",
        "a = {x: 1 for x in set(y)}",
        "f(x for x in {1, 2})",
        "a = list({1, 2})",
        "a = next(iter(set(y)))",
        "a = (*set(y),)",
        "for x in set(a) | b: ...",
        "def f(a: set[int]):\n    for x in a: ...",
        "class A:\n    votes: frozenset[int]\n    def f(self):\n        for x in self.votes: ...",
        "def f(self):\n    self.votes = set()\n    return [x for x in self.votes - self.gone]",
    ],
)
def test_the_order_of_a_set_is_seen(source: str) -> None:
    """Displays, calls, comprehensions, operators, and names that the file itself calls sets."""
    assert len(check_set_order(PURE, source)) == 1
    assert check_set_order("src/zraft/app/cli.py", source) == []


@pytest.mark.parametrize(
    "source",
    [
        "for x in sorted({1, 2}): ...",
        "a = any(x > 1 for x in {1, 2})",
        "a = {x + 1 for x in set(y)}",
        "a = 1 in {1, 2}",
        "for x in {1: 2}: ...",
        "def f(a: list[int]):\n    for x in a: ...",
        "def f(a: set[int]): ...\ndef g(a: list[int]):\n    for x in a: ...",
    ],
)
def test_a_set_without_its_order_is_allowed(source: str) -> None:
    """Asked, sorted, or folded by something that does not see the order."""
    assert check_set_order(PURE, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "cache = {}",
        "_seen: set[int] = set()",
        "queue = deque()",
        "next_id = itertools.count()",
        "squares = [x * x for x in range(3)]",
        "def f():\n    global term",
    ],
)
def test_hidden_state_is_seen(source: str) -> None:
    """Displays, comprehensions and calls that make something mutable at module level."""
    assert len(check_module_state(PURE, source)) == 1


def test_a_constant_table_is_allowed() -> None:
    """An UPPER_CASE name says that nobody writes to it; what lies in a function or a class is not module state."""
    source = "__all__ = ['A']\nHANDLERS = {1: 2}\n_BY_KIND: dict[int, int] = {}\ndef f():\n    found = []\n"
    assert check_module_state(PURE, source) == []


def test_an_assert_in_src_is_seen() -> None:
    """Everywhere in src, pure or not."""
    assert len(check_no_assert("src/zraft/app/cli.py", "def f(x):\n    assert x\n")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import importlib",
        "from importlib import import_module",
        "import yaml",
        "eval('1')",
        "exec('x')",
        "__import__(name)",
    ],
)
def test_code_from_data_is_seen(source: str) -> None:
    """Everywhere in src: a remote party can never make a node import or run anything."""
    assert len(check_no_code_from_data("src/zraft/node/backends.py", source)) == 1


def test_entry_points_are_for_node_only() -> None:
    """The operator's installed backends are found by node, and by nobody else."""
    source = "from importlib.metadata import entry_points\nimport importlib.metadata\nfrom importlib import metadata\n"
    assert check_no_code_from_data("src/zraft/node/backends.py", source) == []
    assert len(check_no_code_from_data("src/zraft/wire/frames.py", source)) == 3
