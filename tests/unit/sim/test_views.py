"""States as text: equal states look the same, and a difference is shown where it is."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from sortedcontainers import SortedDict

from zraft.sim.trials.views import difference, text_of, view_of


class Pair(msgspec.Struct):
    """With an order."""

    first: int
    second: Any = None


class Slotted:
    """Without a dict."""

    __slots__ = ("peer_id", "x")

    def __init__(self, x: int) -> None:
        self.peer_id, self.x = object(), x


@dataclass
class Plain:
    """With one."""

    items: dict[str, int] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({8, 0, 16}, {16, 8, 0}),
        ((1, [2]), [1, (2,)]),
        (deque([1]), [1]),
        (SortedDict({2: 1, 1: 2}), {1: 2, 2: 1}),
        (Pair(1, {1: 2}), Pair(1, {1: 2})),
        (bytearray(b"x"), b"x"),
    ],
)
def test_equal_states_have_equal_texts(one: object, other: object) -> None:
    """Whatever order a dict or set has come to."""
    assert text_of(one) == text_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), ("1", 1), ([1, 2], [2, 1]), (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)), (Pair(1), Pair(2))],
)
def test_other_states_have_other_texts(one: object, other: object) -> None:
    """Also where only an order differs that is part of the state."""
    assert text_of(one) != text_of(other)


def test_a_view_has_every_field_but_who_it_is() -> None:
    """In slots or not; or what the user says."""
    assert view_of(Slotted(7), None) == {"x": "7"}
    assert view_of(Plain({"a": 1}), None) == {"items": "{'a': 1}"}
    assert view_of(Plain({"a": 1}), len_of) == {"state": "1"}


def len_of(plain: Plain) -> int:
    return len(plain.items)


def test_an_object_that_holds_itself_and_a_function_have_a_text() -> None:
    """Neither ends the run."""
    items: list[object] = [print]
    items.append(items)
    assert text_of(items) == "[builtin_function_or_method(), …]"


def test_a_difference_shows_both_sides_near_the_place() -> None:
    """Of a long field only what is around it."""
    assert difference({"x": "1", "y": "2"}, {"x": "1", "y": "3"}) == "y is 2, the log gives 3"
    assert difference({"x": "1"}, {"x": "1"}) == ""
    assert difference({}, {"x": "1"}) == "x is nothing, the log gives 1"
    long = difference({"x": "a" * 5000 + "b" + "a" * 5000}, {"x": "a" * 10001})
    assert "b" in long
    assert len(long) < 1000
