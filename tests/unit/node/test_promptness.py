"""When a save is worth waiting for: only on a disk that was quick for a while."""

from __future__ import annotations

import pytest

from zraft.node.promptness import LONGEST_ROW, QUICK_S, ROW, SMALL_BYTES, STALL_S, Promptness, is_small_save
from zraft.storage.disk import CreateFile, Job, Operation, ReadAt, SyncFile, SyncFolder, WriteAt


def quick(promptness: Promptness, count: int) -> bool:
    """Whether the disk counts as prompt after so many quick saves."""
    for _ in range(count):
        promptness.took(QUICK_S / 4, in_loop=False)
    return promptness.is_prompt


def test_a_disk_must_show_first_that_it_is_quick() -> None:
    """A row of saves without a stall, and not one less."""
    promptness = Promptness()
    assert not quick(promptness, ROW - 1)
    assert quick(promptness, 1)


def test_a_disk_that_is_slow_on_average_is_never_waited_for() -> None:
    """However steadily it works; and it is once it has become quick."""
    promptness = Promptness()
    for _ in range(10 * ROW):
        promptness.took(2 * QUICK_S, in_loop=False)
    assert not promptness.is_prompt
    assert quick(promptness, ROW)


def test_each_stall_that_was_waited_for_doubles_the_row() -> None:
    """Up to a bound; a stall of the thread costs nobody anything and only begins the row anew."""
    promptness = Promptness()
    promptness.took(2 * STALL_S, in_loop=False)
    assert quick(promptness, ROW)
    promptness.took(2 * STALL_S, in_loop=True)
    assert not quick(promptness, 2 * ROW - 1)
    assert quick(promptness, 1)
    for _ in range(40):
        promptness.took(2 * STALL_S, in_loop=True)
    assert quick(promptness, LONGEST_ROW)


@pytest.mark.parametrize(
    ("operations", "is_small"),
    [
        ((WriteAt("a", 0, b"x"), SyncFile("a")), True),
        ((WriteAt("a", 0, b"x"),), True),
        ((WriteAt("a", 0, bytes(SMALL_BYTES + 1)), SyncFile("a")), False),
        ((WriteAt("a", 0, b"x"), SyncFile("a"), WriteAt("b", 0, b"x"), SyncFile("b")), False),
        ((CreateFile("a", 1), SyncFolder()), False),
        ((ReadAt("a", 0, 1),), False),
    ],
)
def test_only_small_saves_are_waited_for(operations: tuple[Operation, ...], is_small: bool) -> None:
    """One sync, few bytes, and nothing that the file system has to think about."""
    assert is_small_save(Job(1, operations)) is is_small
