"""A disk without space: others lead, or writes are refused; reads go on; it ends when space is back."""

from __future__ import annotations

import errno

from tests.unit.peer.world import ALONE, World, host_settings, read, wrote
from zraft.errors import Overloaded, RequestError
from zraft.storage.disk import CreateFile, Operation
from zraft.wire.failures import Failed


def full(operation: Operation) -> int:
    return errno.ENOSPC if isinstance(operation, CreateFile) else 0


def fill_segments(world: World, node: str) -> None:
    """Writes until the next journal segment is wanted, for which there is no space."""
    world[node].disk.fail = full
    for place in range(40):
        if world[node].it.store.is_short_of_space or not world[node].peer().is_leader:
            return
        wrote(world, node, "k", b"x" * 200 + bytes([place]))
    raise AssertionError("the segment does not end")


def test_bm_098_alone_with_a_full_disk_it_refuses_writes_until_there_is_space() -> None:
    """`Overloaded`, "disk_full", not run; nothing that was acknowledged is gone, and queries are answered."""
    world = World(ALONE, host_settings(segment_bytes=4096))
    world.found()
    wrote(world, "n1:1", "first", 1)
    fill_segments(world, "n1:1")
    world.advance(2000)
    number = world.write("n1:1", ("k", 1))
    world.settle()
    error = world.asker.error(number)
    assert isinstance(error, Overloaded)
    assert (error.reason, error.executed) == ("disk_full", "no")
    assert read(world, "n1:1", "first") == 1
    world["n1:1"].disk.fail = lambda operation: 0
    world.advance(3000)
    assert wrote(world, "n1:1", "k", 2) == "ok"
    texts = [note.text for note in world["n1:1"].notes]
    assert sum("the disk is full" in text for text in texts) == 1
    assert texts[-1] == "there is space on the disk again"


def test_bm_098_a_leader_with_a_full_disk_hands_over() -> None:
    """The others have space: the group goes on under one of them, and nobody is refused for long."""
    world = World(settings=host_settings(segment_bytes=4096))
    leader = world.found()
    wrote(world, leader, "first", 1)
    fill_segments(world, leader)
    world.until(lambda: world.leader() not in (None, leader))
    assert wrote(world, world.lead(), "k", 1) == "ok"
    assert read(world, world.lead(), "first") == 1


def test_where_all_disks_are_full_writes_are_refused() -> None:
    """Whoever leads: it says that it did not run, and why, until somebody has space."""
    world = World(settings=host_settings(segment_bytes=1 << 16))
    world.found()
    for node in world.nodes.values():
        node.disk.fail = full
    reasons: list[str] = []
    while "disk_full" not in reasons:
        assert len(reasons) < 60
        world.until(lambda: world.leader() is not None)
        number = world.write(world.lead(), ("k", b"x" * 1000))
        world.advance(300)
        reasons.append("ok")
        if isinstance(world.asker.replies[number], Failed):
            error = world.asker.error(number)
            assert isinstance(error, RequestError)
            assert error.executed == "no"
            reasons[-1] = getattr(error, "reason", "")
    terms = world[world.lead()].peer().raft.current_term
    world.advance(100_000)
    assert world[world.lead()].peer().raft.current_term < terms + 12, "it goes round seldom"
    for node in world.nodes.values():
        node.disk.fail = lambda operation: 0
    world.advance(5000)
    world.until(lambda: world.leader() is not None)
    assert wrote(world, world.lead(), "k", 1) == "ok"
