"""The reference says what there is, and everything public says what it is for."""

from __future__ import annotations

import pytest

import zraft
from tests.reference.page import laid_out, pages, problems, there
from tests.reference.reading import exported, members, signature
from tests.reference.topics import TOPICS, WITHIN, Topic

pytestmark = pytest.mark.uncounted  # nothing of zraft runs here

MIN_LINES, MAX_LINES = 5, 12


def test_every_public_name_has_a_page_and_a_docstring() -> None:
    """And each of its methods, without an example that nothing runs."""
    assert problems(exported()) == []


def test_the_pages_are_up_to_date() -> None:
    """`python -m tests.reference.page` makes them anew."""
    old, new = there(), pages()
    assert [name for name in sorted(old | new) if old.get(name) != new.get(name)] == []


def test_each_page_begins_with_one_short_program() -> None:
    """That tests/stack runs; blank lines and the name of the file do not count."""
    for topic in TOPICS:
        assert topic.head.count("```python\n") == 1, topic.file
        program = topic.head.partition("```python\n")[2].partition("```")[0].splitlines()[1:]
        assert MIN_LINES <= len([line for line in program if line]) <= MAX_LINES, topic.file


def test_what_is_missing_is_named() -> None:
    """A page, a docstring of a name, one of a method, a second entry."""
    bad = Topic("x.md", "", (f"{__name__}.Untold", f"{__name__}.Untold"), "")
    assert sorted(set(problems(["zraft.write"], [bad]))) == [
        f"{__name__}.Untold.method: an example in its docstring",
        f"{__name__}.Untold.shown: no docstring",
        f"{__name__}.Untold: no docstring",
        f"{__name__}.Untold: on 2 pages",
        "zraft.write: on no page",
    ]


def test_a_signature_is_what_a_user_writes() -> None:
    """Without `self` and paths, with defaults, a line for each parameter where it is long."""
    assert members(Untold)["method"][0] == 'async method(many: dict[str, int], *, name: str = "x") -> PeerId'
    assert signature("Untold", Untold) == "Untold()"
    head = f"f(first: dict[str, {'x' * 50}], *, second: tuple[int, ...] = (), third: str = {'y' * 50!r}) -> int"
    assert laid_out(head).splitlines() == [
        "f(",
        f"    first: dict[str, {'x' * 50}],",
        "    *,",
        "    second: tuple[int, ...] = (),",
        f"    third: str = {'y' * 50!r},",
        ") -> int",
    ]


def test_what_is_left_out_is_there() -> None:
    """The list of what only the library calls describes the classes that there are."""
    for name in WITHIN:
        kind, _, method = name.partition(".")
        assert hasattr(getattr(zraft, kind), method), name


class Untold:
    async def method(self, many: dict[str, int], *, name: str = "x") -> zraft.types.PeerId:
        """What it does:

        Untold().method()
            print("example")
        """
        raise NotImplementedError

    @property
    def shown(self) -> int:
        return 0
