"""What the disk has proved, against a disk that is asked directly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zraft.core.saves import Saves


def test_old_completion_does_not_vouch_for_a_newer_entry() -> None:
    """BM-025: entry 5 was written, truncated, written anew: the first completion says nothing of the second write."""
    saves = Saves(4)
    saves.issue(5, 0)
    saves.truncated_from(5)
    second = saves.issue(5, 0)
    saves.complete(1)
    assert saves.durable_index == 4
    saves.complete(second)
    assert saves.durable_index == 5


def test_truncation_takes_durability_back() -> None:
    """What was durable is gone from the log, so it is not vouched for."""
    saves = Saves(9)
    saves.truncated_from(7)
    assert saves.durable_index == 6


def test_reset_begins_at_the_snapshot() -> None:
    """Saves that were under way cannot vouch for less or more than it."""
    saves = Saves(3)
    saves.issue(8, 0)
    saves.reset_to(20)
    saves.issue(20, 0)
    saves.complete(1)
    assert saves.durable_index == 20
    saves.issue(22, 0)
    saves.complete(3)
    assert saves.durable_index == 22


def test_stall_is_the_age_of_the_oldest_save() -> None:
    """BM-099: none under way, no stall."""
    saves = Saves(0)
    assert saves.stalled_for(500) == 0
    saves.issue(1, 100)
    saves.issue(2, 400)
    assert saves.stalled_for(500) == 400
    saves.complete(1)
    assert saves.stalled_for(500) == 100


@given(st.lists(st.tuples(st.sampled_from(["append", "truncate", "complete"]), st.integers(0, 9)), max_size=60))
def test_durable_index_never_exceeds_what_the_disk_holds(steps: list[tuple[str, int]]) -> None:
    """The disk performs saves in order: the prefix that it shares with the log is what is durable, at least."""
    saves, log, disk = Saves(0), list[int](), list[int]()
    pending: list[tuple[int, list[int]]] = []
    fresh = 0
    for kind, number in steps:
        if kind == "complete":
            if pending:
                issued, disk = pending.pop(0)
                saves.complete(issued)
        else:
            if kind == "truncate" and log:
                keep = number % len(log)
                saves.truncated_from(keep + 1)
                log = log[:keep]
            fresh += 1
            log = [*log, fresh]
            pending.append((saves.issue(len(log), 0), log))
        assert log[: saves.durable_index] == disk[: saves.durable_index]
    for issued, _ in pending:
        saves.complete(issued)
    assert saves.durable_index == len(log)
