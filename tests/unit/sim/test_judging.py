"""The verdict on a history: by the log, and without what the log says never happened."""

from __future__ import annotations

import pytest

from zraft.core.entries import Batch, Kind
from zraft.session.items import encode_items
from zraft.sim.checks.ghost import Trail, Violation, mark_after
from zraft.sim.checks.witness import Command
from zraft.sim.history import Get, Input, Operation, Put, Remove
from zraft.sim.judging import commands, judge, resolved
from zraft.sim.speech import SPEECHES
from zraft.wire.values import encode_value


def op(
    call: int, returned: int | None, asked: Input, output: object = None, index: int | None = None, key: str = "k"
) -> Operation:
    return Operation(client="c", key=key, call=call, returned=returned, input=asked, output=output, index=index)


def committed(*batches: list[tuple[str, ...]]) -> Trail:
    """A no-op, and a batch of each of these commands."""
    trail = Trail()
    trail.append(mark_after(trail.end, Batch(1, 1, 1, 0, 0, Kind.NOOP, b"")))
    for items in batches:
        payload = encode_items([encode_value(item) for item in items])
        batch = Batch(trail.end.last + 1, len(items), 1, 0, 0, Kind.COMMANDS, payload)
        trail.append(mark_after(trail.end, batch))
    return trail


LOG = committed([("k", "a"), ("k",)], [("k", "b")])


def test_commands_are_read_from_the_committed_log() -> None:
    """With the index of each, whatever batch it is in."""
    assert commands(LOG, SPEECHES["dict"]) == [
        Command(2, "k", Put("a")),
        Command(3, "k", Remove()),
        Command(4, "k", Put("b")),
    ]


def test_a_good_history_passes_and_a_bad_one_is_a_violation() -> None:
    """The index witness first, the search on its own."""
    good = [op(0, 1, Put("a"), "ok", 2), op(2, 3, Remove(), "ok", 3), op(4, None, Put("b")), op(5, 6, Get(), "b", 4)]
    assert judge(good, LOG) == ""
    with pytest.raises(Violation, match="witness"):
        judge([*good, op(7, 8, Get(), "a", 2)], LOG)


def test_unanswered_operations_that_the_log_rules_out_are_left_out() -> None:
    """A put whose value is not there, and removals where every one has its acknowledgement."""
    acknowledged = op(2, 3, Remove(), "ok", 3)
    ruled_out = [op(4, None, Put("never")), op(4, None, Remove()), op(4, None, Get())]
    possible = [op(4, None, Put("b")), op(4, None, Put("a"))]
    assert resolved([acknowledged, *ruled_out, *possible], commands(LOG, SPEECHES["dict"])) == [acknowledged, *possible]
    assert resolved([ruled_out[1]], commands(LOG, SPEECHES["dict"])) == [ruled_out[1]]
