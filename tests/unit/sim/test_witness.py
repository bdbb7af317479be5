"""The index witness: each way in which a reply can contradict the committed log."""

from __future__ import annotations

import pytest

from zraft.sim.checks.witness import Command, check_witness
from zraft.sim.history import Get, Input, Operation, Put, Register


def op(
    call: int, returned: int | None, asked: Input, output: object, index: int | None, *, is_refused: bool = False
) -> Operation:
    return Operation(
        client="c",
        key="k",
        call=call,
        returned=returned,
        input=asked,
        output=output,
        index=index,
        is_refused=is_refused,
    )


LOG = [Command(3, "k", Put(1)), Command(5, "k", Put(2)), Command(9, "other", Put(9))]


def test_a_history_that_the_log_explains_is_good() -> None:
    """Writes at their index, reads of the state at theirs, unknown outcomes there or not, refused ones not."""
    history = [
        op(0, 1, Put(1), "ok", 3),
        op(2, 9, Put(2), "ok", 5),
        op(3, 4, Get(), 1, 4),
        op(5, 6, Get(), 2, 8),
        op(7, None, Put(7), None, None),
        op(7, 8, Put(8), None, None, is_refused=True),
        op(0, 1, Get(), None, 2),
    ]
    assert check_witness(history, LOG, Register()) == ""


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ([op(0, 1, Put(4), "ok", 4)], "acknowledged, the log has None"),
        ([op(0, 1, Put(1), "ok", 5)], "acknowledged, the log has Command(index=5"),
        ([op(0, 1, Put(1), "no", 3)], "the log gives 'ok'"),
        ([op(0, 1, Get(), 2, 4)], "the log gives 1"),
        ([op(0, 1, Get(), 2, None)], "no index in the reply"),
        ([op(0, 1, Put(2), None, None, is_refused=True)], "refused, and in the log"),
        ([op(0, 1, Put(2), "ok", 5), op(2, 3, Get(), 1, 4)], "was called after this had returned"),
        ([op(0, 1, Get(), 1, 3), op(2, 3, Put(1), "ok", 3)], "was called after this had returned"),
    ],
)
def test_a_reply_that_contradicts_the_log_is_named(history: list[Operation], problem: str) -> None:
    """(a) to (d), one by one."""
    assert problem in check_witness(history, LOG, Register())


def test_a_value_is_put_once_and_indexes_rise() -> None:
    """(d), and a log that is one."""
    assert "took effect at 3 and again at 10" in check_witness([], [*LOG, Command(10, "k", Put(1))], Register())
    assert "after 9" in check_witness([], [*LOG, Command(9, "k", Put(3))], Register())
