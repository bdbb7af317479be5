"""What coverage counts of a test is what its marks say."""

from __future__ import annotations

import pytest

from tests.house.counting import FOR_CHILDREN, counting, counts_processes, is_counted


class Counter:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self) -> None:
        self.told.append("start")

    def stop(self) -> None:
        self.told.append("stop")


@pytest.mark.parametrize(
    ("marks", "here", "in_processes"),
    [
        ([], True, False),
        (["counts_processes"], True, True),
        (["uncounted"], False, False),
        (["hypothesis"], False, False),
        (["counts_processes", "uncounted"], False, False),
    ],
)
def test_marks_say_what_is_counted(
    marks: list[str], here: bool, in_processes: bool, request: pytest.FixtureRequest
) -> None:
    """A test is counted unless it is marked; its processes only where it is marked."""
    item = request.node
    for mark in marks:
        item.add_marker(mark)
    assert (is_counted(item), counts_processes(item)) == (here, in_processes)


def test_counting_goes_on_after_a_test_that_is_not_counted() -> None:
    """Also where it failed; its processes are not told to count."""
    counter, variables = Counter(), {FOR_CHILDREN: "{}", "PATH": "/bin"}

    def fail() -> None:
        with counting(counter, variables, here=False, in_processes=False):
            assert (counter.told, variables) == (["stop"], {"PATH": "/bin"})
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert (counter.told, variables) == (["stop", "start"], {FOR_CHILDREN: "{}", "PATH": "/bin"})


def test_counting_is_left_alone_where_all_is_counted_or_nothing() -> None:
    """A test that counts, and a run without coverage."""
    counter, variables = Counter(), {FOR_CHILDREN: "{}"}
    with counting(counter, variables, here=True, in_processes=True):
        assert (counter.told, variables) == ([], {FOR_CHILDREN: "{}"})
    with counting(None, variables, here=False, in_processes=False):
        assert (counter.told, variables) == ([], {FOR_CHILDREN: "{}"})
