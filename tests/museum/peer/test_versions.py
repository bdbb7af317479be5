"""Old and new nodes in one group: who does not know an entry stops, is whole, and comes back with a newer program."""

from __future__ import annotations

import pytest

from tests.unit.peer.world import GROUP, World, read, wrote
from zraft.core import following
from zraft.core.entries import Batch, Kind
from zraft.core.messages import AppendEntries
from zraft.types import GroupId

NEWER = max(Kind) + 1
OTHER = GroupId(b"another group!!!")


def newer_entry(world: World, leader: str, follower: str) -> AppendEntries:
    """What a leader of a newer version would send next: an entry of a kind that it alone knows."""
    here, there = world[leader].peer().raft, world[follower].peer().raft
    last, term = there.log.last_index, here.current_term
    batch = Batch(last + 1, 1, term, here.replica.time_seen, 0, NEWER, b"what it means is not known here")
    return AppendEntries(here.me, there.me, term, last, there.log.last_term, here.commit_index, 0, [batch])


def test_bm_117_an_old_node_stops_one_replica_and_the_group_goes_on() -> None:
    """With the reason; its other replicas serve, the newer majority commits, nothing of the entry is on its disk."""
    world = World()
    leader = world.found()
    world.found("q", group=OTHER)
    wrote(world, leader, "k", 1)
    old = world.followers()[0]
    before = world[old].peer().raft.log.last_index
    world[old].it.receive(world.now, GROUP, newer_entry(world, leader, old))
    world.settle()
    failed = world[old].it.failed["p"]
    assert "upgrade it" in failed.fault
    assert f"kind {NEWER}" in failed.fault
    assert "q" in world[old].it.peers, "the other replica of the node lives"
    assert wrote(world, leader, "k", 2) == "ok"
    assert read(world, leader, "k") == 2
    world[old].crash("killed")
    world[old].start()
    assert world[old].peer().raft.log.last_index == before, "the entry was not written"


def test_bm_117_an_old_node_stops_again_and_again_until_it_is_upgraded() -> None:
    """It never votes or acknowledges beyond what it understands; a newer program takes the entry, and catches up."""
    world = World()
    leader = world.found()
    old = world.followers()[0]
    for _ in range(2):
        commit = world[old].peer().raft.commit_index
        world[old].it.receive(world.now, GROUP, newer_entry(world, leader, old))
        world[old].turn()
        assert "p" in world[old].it.failed
        world[old].crash("killed")
        world[old].start()
        assert world[old].peer().raft.commit_index <= commit
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(following, "_NEWEST_KIND", NEWER)
        message = newer_entry(world, leader, old)
        world[old].it.receive(world.now, GROUP, message)
        world[old].turn()
        assert "p" not in world[old].it.failed
        assert world[old].peer().raft.log.last_index == message.last_index


def test_bm_117_a_committed_entry_that_the_machine_does_not_know_stops_its_replica() -> None:
    """Also where the core let it in: what cannot be applied is never passed over."""
    world = World()
    leader = world.found()
    old = world.followers()[0]
    with pytest.MonkeyPatch.context() as newer:
        newer.setattr(following, "_NEWEST_KIND", NEWER)
        message = newer_entry(world, leader, old)
        raft = world[leader].peer().raft
        committed = AppendEntries(
            raft.me, message.to, raft.current_term, message.last_index, raft.current_term, message.last_index, 0, []
        )
        world[old].it.receive(world.now, GROUP, message)
        world[old].it.receive(world.now, GROUP, committed)
        world[old].turn()
        world[old].sync()
        world[old].turn()
    failed = world[old].it.failed["p"]
    assert "unknown to this version" in failed.fault
    assert f"index {message.last_index} is of kind {NEWER}" in failed.fault
