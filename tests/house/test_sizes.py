"""Sizes and broad handlers: the rules hold, and their checkers see what breaks them."""

from __future__ import annotations

import pytest

from tests.house import sizes
from tests.house.handlers import broad_handlers, check_broad_handlers
from tests.house.sizes import check_file_size, check_function_sizes, function_sizes
from tests.house.source import expect_clean, python_files, read
from tests.house.tables import BROAD_EXCEPTS, FILE_LINES, FUNCTION_LINES, HOT_LOOP_LINES, HOT_LOOPS, HOT_LOOPS_AT_MOST

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here


def long_function(lines: int) -> str:
    """A function with this many lines of code, and many that are not counted."""
    body = "    # why\n\n    x = 1\n" * (lines - 1)
    return f'def step():\n    """First line.\n\n    More.\n    """\n{body}'


def test_no_file_is_too_long() -> None:
    """There is no god file, from the first day."""
    expect_clean(check_file_size, python_files("src/", "tests/", "bench/"))


def test_no_function_is_too_long() -> None:
    """A function fits a screen; the few hot loops are listed."""
    expect_clean(check_function_sizes, python_files("src/", "tests/", "bench/"))


def test_hot_loops_are_few_and_needed() -> None:
    """At most five, each with a reason, each there and really longer than other functions may be."""
    assert len(HOT_LOOPS) <= HOT_LOOPS_AT_MOST
    for entry, reason in HOT_LOOPS.items():
        path, name = entry.split("::")
        assert [lines > FUNCTION_LINES for found, lines, _ in function_sizes(read(path)) if found == name] == [True], (
            entry
        )
        assert len(reason) > 20, entry


def test_a_long_file_is_seen() -> None:
    """Every line counts in a file."""
    assert check_file_size("src/zraft/core/log.py", "x = 1\n" * FILE_LINES) == []
    assert len(check_file_size("src/zraft/core/log.py", "x = 1\n" * (FILE_LINES + 1))) == 1


def test_a_long_function_is_seen() -> None:
    """Docstrings, comments and blank lines are free; one line of code too many is not."""
    assert check_function_sizes("src/zraft/core/log.py", long_function(FUNCTION_LINES)) == []
    assert len(check_function_sizes("src/zraft/core/log.py", long_function(FUNCTION_LINES + 1))) == 1


def test_a_hot_loop_has_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row in the table buys room, not freedom."""
    monkeypatch.setattr(sizes, "HOT_LOOPS", {"src/zraft/core/log.py::step": "a reason"})
    assert check_function_sizes("src/zraft/core/log.py", long_function(HOT_LOOP_LINES)) == []
    assert len(check_function_sizes("src/zraft/core/log.py", long_function(HOT_LOOP_LINES + 1))) == 1


def test_long_expressions_count_every_line() -> None:
    """A call or a text over many lines is code on each of them."""
    assert function_sizes('def f():\n    g(\n        1,\n    )\n    return """\n\n"""\n') == [("f", 7, 1)]


def test_broad_handlers_are_listed() -> None:
    """Each `except Exception` of src stands at a boundary that the table names."""
    expect_clean(check_broad_handlers, python_files("src/"))


def test_every_listed_handler_is_there() -> None:
    """A row that nobody needs any more is deleted."""
    for entry, reason in BROAD_EXCEPTS.items():
        path, name = entry.split("::")
        assert name in {found for found, _, _ in broad_handlers(read(path))}, entry
        assert len(reason) > 20, entry


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    try: ...\n    except Exception: ...",
        "def f():\n    try: ...\n    except: ...",
        "def f():\n    try: ...\n    except (OSError, BaseException) as e: ...",
        "def f():\n    try: ...\n    except* builtins.Exception: ...",
        "def f():\n    with contextlib.suppress(Exception): ...",
    ],
)
def test_a_broad_handler_is_seen(source: str) -> None:
    """Bare, named, in a tuple, of a group, or as suppress."""
    assert [name for name, _, _ in broad_handlers(source)] == ["f"]
    assert len(check_broad_handlers("src/zraft/node/loop.py", source)) == 1


def test_a_narrow_handler_is_allowed() -> None:
    """Catching what one expects needs no row."""
    assert check_broad_handlers("src/zraft/node/loop.py", "try: ...\nexcept (OSError, ValueError): ...") == []
