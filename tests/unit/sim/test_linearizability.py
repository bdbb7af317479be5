"""The checker itself: cases known by hand, and agreement with every possible order on small histories."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.sim.history import Get, Input, Operation, Put, Register, Remove, Swap
from zraft.sim.linearizability import Answer, check_history


def op(call: int, returned: int | None, asked: Input, output: object = None, key: str = "k") -> Operation:
    return Operation(client="c", key=key, call=call, returned=returned, input=asked, output=output)


CASES = {
    "stale read after a write returned": (
        [op(0, 1, Put(1), "ok"), op(2, 3, Put(2), "ok"), op(4, 5, Get(), 1)],
        Answer.BAD,
    ),
    "two readers see new, then old": (
        [op(0, 1, Put(1), "ok"), op(2, 9, Put(2), "ok"), op(3, 4, Get(), 2), op(5, 6, Get(), 1)],
        Answer.BAD,
    ),
    "two readers at once see new and old": (
        [op(0, 1, Put(1), "ok"), op(2, 9, Put(2), "ok"), op(3, 6, Get(), 2), op(4, 5, Get(), 1)],
        Answer.OK,
    ),
    "a pending write is seen": ([op(0, None, Put(1)), op(5, 6, Get(), 1)], Answer.OK),
    "a pending write never takes effect": ([op(0, None, Put(1)), op(5, 6, Get(), None)], Answer.OK),
    "a pending write is seen and then not": (
        [op(0, None, Put(1)), op(5, 6, Get(), 1), op(7, 8, Get(), None)],
        Answer.BAD,
    ),
    "a pending write takes effect long after": (
        [op(0, None, Put(1)), op(5, 6, Put(2), "ok"), op(7, 8, Get(), 2), op(9, 10, Get(), 1)],
        Answer.OK,
    ),
    "a pending write is seen before its call": ([op(5, None, Put(1)), op(1, 2, Get(), 1)], Answer.BAD),
    "two swaps of one value both succeed": (
        [op(0, 1, Put(0), "ok"), op(2, 6, Swap(0, 1), True), op(3, 7, Swap(0, 2), True)],
        Answer.BAD,
    ),
    "two swaps of one value, one succeeds": (
        [op(0, 1, Put(0), "ok"), op(2, 6, Swap(0, 1), True), op(3, 7, Swap(0, 2), False), op(8, 9, Get(), 1)],
        Answer.OK,
    ),
    "intervals of zero length at one moment": ([op(1, 1, Get(), 1), op(1, 1, Put(1), "ok")], Answer.OK),
    "a removed value is gone": (
        [op(0, 1, Put(1), "ok"), op(2, 3, Remove(), "ok"), op(4, 5, Get(), None), op(6, 7, Remove(), None)],
        Answer.OK,
    ),
    "a removal answers ok where nothing was": ([op(0, 1, Remove(), "ok")], Answer.BAD),
    "an unanswered read constrains nothing": ([op(0, None, Get())], Answer.OK),
    "nothing happened": ([], Answer.OK),
}


@pytest.mark.parametrize("name", CASES)
def test_known_case(name: str) -> None:
    """Each verdict can be checked by hand."""
    history, answer = CASES[name]
    assert check_history(history, Register()).answer is answer


def test_keys_are_judged_apart_and_one_bad_key_is_enough() -> None:
    """The key is named, with the longest order that was legal and what could not follow it."""
    verdict = check_history(
        [
            op(0, 1, Put(1), "ok", key="good"),
            op(0, 1, Put(1), "ok", key="bad"),
            op(2, 3, Get(), 1, key="bad"),
            op(4, 5, Get(), 7, key="bad"),
        ],
        Register(),
    )
    assert verdict.answer is Answer.BAD
    assert "key 'bad' is not linearizable: after the longest legal order of 2 operations" in verdict.explanation
    assert verdict.explanation.endswith("c 'bad' Get() -> 7")


def test_gives_up_after_its_budget_and_says_so() -> None:
    """Unknown is neither good nor bad."""
    history = [op(0, 100, Put(number), "ok") for number in range(8)] + [op(101, 102, Get(), 99)]
    verdict = check_history(history, Register(), budget=20)
    assert verdict.answer is Answer.UNKNOWN
    assert "gave up" in verdict.explanation


def legal_in_some_order(history: Sequence[Operation], model: Register) -> bool:
    """Every order of every choice of pending operations, tried one by one."""
    done = [operation for operation in history if operation.returned is not None]
    pending = [operation for operation in history if operation.returned is None]
    chosen = [pending[place] for place in range(len(pending))]
    for mask in range(1 << len(chosen)):
        subset = done + [operation for place, operation in enumerate(chosen) if mask >> place & 1]
        if any(is_legal(order, model) for order in permutations(subset)):
            return True
    return False


def is_legal(order: Sequence[Operation], model: Register) -> bool:
    state = model.initial
    for place, operation in enumerate(order):
        if any(other.returned is not None and other.returned < operation.call for other in order[place + 1 :]):
            return False
        output, state = model.step(state, operation.input)
        if operation.returned is not None and output != operation.output:
            return False
    return True


values = st.integers(0, 2)
inputs = st.one_of(
    st.builds(Put, values), st.just(Get()), st.just(Remove()), st.builds(Swap, st.one_of(st.none(), values), values)
)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    asked = draw(inputs)
    call = draw(st.integers(0, 8))
    length = draw(st.one_of(st.none(), st.integers(0, 6)))
    outputs = {Put: st.just("ok"), Remove: st.sampled_from(["ok", None]), Swap: st.booleans()}
    output = draw(outputs.get(type(asked), st.one_of(st.none(), values)))
    return op(call, None if length is None else call + length, asked, output)


@given(st.lists(operations(), max_size=5))
def test_agrees_with_every_possible_order(history: list[Operation]) -> None:
    """The search and brute force give one verdict on random small histories with pending operations."""
    expected = Answer.OK if legal_in_some_order(history, Register()) else Answer.BAD
    assert check_history(history, Register()).answer is expected
